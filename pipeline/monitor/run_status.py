"""Where a training run is at this moment, from small files and the end of its metrics; without torch."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipeline.checkpoint import attempts
from pipeline.checkpoint.attempts import Link
from pipeline.checkpoint.format import saved_in, step_of
from pipeline.monitor.run_files import METRICS
from slurm.codes import RESUME_EXIT, SUPERSEDED_EXIT

BLOCK_BYTES = 1 << 16
"""Metrics are read from their end, so much at once."""


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """A run, by its newest attempt.

    step, tokens, loss, tokens_per_s: those of the last step, which an earlier attempt took when this one has
    taken none yet. of_tokens: tokens of the whole run. left_s: how long the rest takes at that pace. told_s:
    seconds since that step. checkpoint: the step of the newest one. code, reason: how the attempt ended; None
    and "" while it trains, and after a kill.
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
    chain = attempts.chain(run)
    if not chain:
        return None
    number = chain[0].number
    record, folder = attempts.read(run, number), attempts.folder(run, number)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    row = _last_step(run, chain)
    tokens, pace = row.get("tokens", 0), row.get("tokens_per_s")
    saved = saved_in(folder)
    left = max(int(config["train"]["tokens"]) - tokens, 0)
    return RunStatus(
        attempt=number,
        host=record.host,
        nodes=record.nodes,
        step=row.get("step", record.origin.step if record.origin else 0),
        tokens=tokens,
        of_tokens=int(config["train"]["tokens"]),
        loss=row.get("loss"),
        tokens_per_s=pace,
        left_s=left / pace if pace else None,
        told_s=time.time() - row["time"] if "time" in row else None,
        checkpoint=step_of(saved[0]) if saved else None,
        code=record.ended.code if record.ended else None,
        reason=record.ended.reason if record.ended else "",
    )


def _last_step(run: Path, chain: Sequence[Link]) -> dict[str, Any]:
    """The row of the last step of the run as it stands; empty before the first.

    After a resume it is in the metrics of an earlier attempt, and not their last.
    """
    for link in chain:
        for line in _lines_backwards(attempts.folder(run, link.number) / METRICS):
            with suppress(ValueError):  # torn by a full disk or a kill
                row: dict[str, Any] = json.loads(line)
                is_step = "tokens" in row and "val_loss" not in row
                if is_step and (link.until is None or row["step"] <= link.until):
                    return row
    return {}


def _lines_backwards(path: Path) -> Iterator[bytes]:
    """The lines of a file, which may be missing, the last first."""
    if not path.exists():
        return
    with path.open("rb") as file:
        end, rest = file.seek(0, os.SEEK_END), b""
        while end:
            begin = max(end - BLOCK_BYTES, 0)
            file.seek(begin)
            rest, *lines = (file.read(end - begin) + rest).split(b"\n")
            yield from reversed(lines)
            end = begin
        yield rest
