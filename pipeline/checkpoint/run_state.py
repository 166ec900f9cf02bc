"""The state of a run in a checkpoint, besides the tensors."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class RunState:
    """All that a run is besides its tensors; with them, enough to resume it as if it had never stopped.

    The defaults are those of a run before its first step.
    """

    attempt: int = 0
    """Attempt that saved it."""
    step: int = 0
    samples: int = 0
    """Samples consumed: the whole state of the data order."""
    tokens: int = 0
    updates: int = 0
    """Updates of the optimizer: steps less those skipped."""
    stream_hash: int = 0
    """Sum modulo 2^64 of the hashes of all samples so far."""
    seconds: float = 0.0
    """Training time, over all attempts."""
    loss: float = math.nan
    val_loss: float | None = None
    config: dict[str, Any] = field(default_factory=dict)
    generations: dict[str, int] = field(default_factory=dict)
    """Name of a source -> its pinned generation."""
    sources_fingerprint: str = ""
    tokenizer_fingerprint: str = ""
    wandb_id: str = ""
    resumes: list[int] = field(default_factory=list)
    """Steps after which the run was resumed."""
    skipped: int = 0
    """Steps whose gradient was not finite."""
    skipped_in_a_row: int = 0
    recent_losses: list[float] = field(default_factory=list)
    """Losses of the last steps, as many as the spike guard looks at."""
    skipped_ranges: list[list[int]] = field(default_factory=list)
    """Ranges of the data order that are skipped."""
    spikes: int = 0
    processes: int = 0
    stages: int = 0
