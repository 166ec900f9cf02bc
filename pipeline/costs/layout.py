"""One way to spread a model over GPUs."""

from __future__ import annotations

from dataclasses import dataclass

WIDTHS = {"fp32": 4, "bf16": 2}
"""Bytes of a number, by format."""


@dataclass(frozen=True, kw_only=True)
class ParallelLayout:
    """How a run is spread: `pipeline` stages times `data` replicas, one process a GPU."""

    pipeline: int
    data: int
    zero: int
    micro: int
    """Sequences of one forward pass."""
    reduce_dtype: str = "fp32"
    """Format in which replicas average gradients."""
    checkpointing: bool = False
    """Blocks keep their inputs only, and are computed again in the backward pass."""
    blocks_per_stage: tuple[int, ...] | None = None
    """Blocks of each stage; None: as the engine balances them."""

    @property
    def gpus(self) -> int:
        """All of them."""
        return self.pipeline * self.data

    def micro_batches(self, sequences: int) -> int:
        """Micro-batches of one replica in a step of so many sequences."""
        return sequences // (self.micro * self.data)
