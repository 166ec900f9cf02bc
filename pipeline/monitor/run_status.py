"""Where a training run is at this moment, from small files and the end of its metrics; without torch."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import yaml

from pipeline.checkpoint import attempts
from pipeline.checkpoint.attempts import Link
from pipeline.checkpoint.format import MANIFEST, newest, step_of
from pipeline.errors import RunError
from pipeline.monitor.run_files import METRICS
from pipeline.monitor.wandb_address import base_url, run_url
from slurm.codes import RESUME_EXIT, SUPERSEDED_EXIT

BLOCK_BYTES = 1 << 16
"""Metrics are read from their end, so much at once."""
SILENT_S = 1800.0
"""Longest silence of an attempt that has no watchdog (`guards.stall_timeout_s: 0`)."""


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """A run, by its newest attempt.

    job: Slurm's id, "" without Slurm. step, tokens, loss, tokens_per_s: those of the last step, which an
    earlier attempt took when this one has taken none yet. of_tokens: tokens of the whole run. left_s: how
    long the rest takes at that pace. told_s: seconds since that step. checkpoint, checkpoint_age_s: the step
    of the newest one, and seconds since it was saved. code, reason: how the attempt ended; None and "" while
    it trains, and after a kill. scores: those of a fine-tuning's last evaluation on its dev set. is_silent:
    it has not ended, and has written nothing for so long that it must have been killed. log: its log file.
    wandb: where Weights & Biases shows the run, in words; "" where it is disabled.
    """

    attempt: int
    job: str
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
    checkpoint_age_s: float | None
    code: int | None
    reason: str
    scores: dict[str, float]
    is_silent: bool
    log: str
    wandb: str

    @property
    def is_stopped(self) -> bool:
        """Whether it was asked to stop; the same command continues."""
        return self.code in (RESUME_EXIT, SUPERSEDED_EXIT)

    @property
    def has_failed(self) -> bool:
        return not self.is_stopped and self.code not in (None, 0)

    @property
    def is_at_work(self) -> bool:
        return self.code is None and not self.is_silent

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
    row = _last_row(run, chain)
    scored = _last_row(run, chain, evaluation=True) if "finetune" in config else {}
    tokens, pace = row.get("tokens", 0), row.get("tokens_per_s")
    saved = next(newest(run), None)
    of_tokens = int(config["train"]["tokens"])
    left = max(of_tokens - tokens, 0)
    return RunStatus(
        attempt=number,
        job=record.job,
        host=record.host,
        nodes=record.nodes,
        step=row.get("step", record.origin.step if record.origin else 0),
        tokens=tokens,
        of_tokens=of_tokens,
        loss=row.get("loss"),
        tokens_per_s=pace,
        left_s=left / pace if pace else None,
        told_s=time.time() - row["time"] if "time" in row else None,
        checkpoint=step_of(saved) if saved else None,
        checkpoint_age_s=_age_s(saved / MANIFEST) if saved else None,
        code=record.ended.code if record.ended else None,
        reason=record.ended.reason if record.ended else "",
        scores={name: score for name, score in scored.items() if name.startswith("dev/")},
        is_silent=not record.ended and _silent_s(folder) > _longest_silence_s(config),
        log=str(folder.resolve() / "log.txt"),
        wandb=_wandb(run, config.get("wandb") or {}),
    )


def _age_s(path: Path) -> float | None:
    with suppress(OSError):  # training lets go of old checkpoints
        return time.time() - path.stat().st_mtime
    return None


def _silent_s(folder: Path) -> float:
    """Seconds since anything was written to an attempt's folder."""
    return min((age for path in folder.iterdir() if (age := _age_s(path)) is not None), default=inf)


def _longest_silence_s(config: dict[str, Any]) -> float:
    """How long an attempt may write nothing: its watchdog would end it."""
    stall_s = (config.get("guards") or {}).get("stall_timeout_s")
    return float(stall_s or SILENT_S)


def _wandb(run: Path, config: dict[str, Any]) -> str:
    """Where Weights & Biases shows a run, by its files and the environment; the server is not contacted."""
    if config.get("mode") == "disabled" or not (run / "wandb_id").exists():
        return ""
    way = f"`outbound wandb-sync {run}`"
    entity = os.environ.get("WANDB_ENTITY")
    if not entity:
        return f"{way} prints the link; with WANDB_ENTITY set, this command does as well"
    try:
        base = base_url()
    except RunError as error:
        return str(error)
    url = run_url(base, entity, config.get("project", "outbound"), (run / "wandb_id").read_text().strip())
    return f"{url} (sent by {way})" if config.get("mode", "offline") == "offline" else url


def _last_row(run: Path, chain: Sequence[Link], evaluation: bool = False) -> dict[str, Any]:
    """The row of the last step, or evaluation, of the run as it stands; empty before the first.

    After a resume it is in the metrics of an earlier attempt, and not their last.
    """
    for link in chain:
        for line in _lines_backwards(attempts.folder(run, link.number) / METRICS):
            with suppress(ValueError):  # torn by a full disk or a kill
                row: dict[str, Any] = json.loads(line)
                is_wanted = "tokens" in row and ("val_loss" in row) == evaluation
                if is_wanted and (link.until is None or row["step"] <= link.until):
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
