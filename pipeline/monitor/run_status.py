"""Where a training run is at this moment, from small files and the end of its metrics; without torch."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipeline.checkpoint import attempts
from pipeline.monitor.run_files import METRICS
from slurm.codes import RESUME_EXIT, SUPERSEDED_EXIT

TAIL_BYTES = 1 << 16
"""Rows at the end of the metrics, enough for the last step."""


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """A run, by its newest attempt.

    tokens: consumed so far, of `of_tokens`. left_s: how long the rest takes at the last step's pace. told_s:
    seconds since the last row of metrics. checkpoint: the step of the newest one. code, reason: how the
    attempt ended; None and "" while it trains, and after a kill.
    """

    attempt: int
    host: str
    nodes: str
    step: int
    tokens: int
    of_tokens: int
    loss: float | None
    tokens_per_s: float | None
    left_s: float | None
    told_s: float | None
    checkpoint: int | None
    code: int | None
    reason: str

    @property
    def has_failed(self) -> bool:
        return self.code not in (None, 0, RESUME_EXIT, SUPERSEDED_EXIT)

    @property
    def is_done(self) -> bool:
        return self.code == 0


def run_status(run: Path) -> RunStatus | None:
    """Look at a run; None before its first attempt has begun. Raises DataError when a file is damaged."""
    number = attempts.latest(run) if (run / "attempts").is_dir() else None
    if number is None:
        return None
    record, folder = attempts.read(run, number), attempts.folder(run, number)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    row = _last_step(folder / METRICS)
    step = row.get("step", record.origin.step if record.origin else 0)
    tokens, pace = row.get("tokens", 0), row.get("tokens_per_s")
    saved = sorted((folder / "checkpoints").glob("step-[0-9]*"))
    left = max(int(config["train"]["tokens"]) - tokens, 0)
    return RunStatus(
        attempt=number,
        host=record.host,
        nodes=record.nodes,
        step=step,
        tokens=tokens,
        of_tokens=int(config["train"]["tokens"]),
        loss=row.get("loss"),
        tokens_per_s=pace,
        left_s=left / pace if pace else None,
        told_s=time.time() - row["time"] if "time" in row else None,
        checkpoint=int(saved[-1].name.removeprefix("step-")) if saved else None,
        code=record.ended.code if record.ended else None,
        reason=record.ended.reason if record.ended else "",
    )


def _last_step(path: Path) -> dict[str, Any]:
    """The last whole row of a step in an attempt's metrics; empty before the first."""
    if not path.exists():
        return {}
    with path.open("rb") as file:
        begin = max(path.stat().st_size - TAIL_BYTES, 0)
        file.seek(begin)
        lines = file.read().split(b"\n")[1 if begin else 0 : -1]
    for row in map(json.loads, reversed(lines)):
        if "tokens" in row and "val_loss" not in row:
            step: dict[str, Any] = row
            return step
    return {}
