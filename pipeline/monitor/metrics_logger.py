"""Metrics to the attempt's metrics.jsonl, Weights & Biases and the terminal, from the first rank only."""

from __future__ import annotations

import json
import logging
import os
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from dataprep.store import files
from pipeline.checkpoint.attempts import Attempt
from pipeline.config.sections import Wandb
from pipeline.data.sources import Sources
from pipeline.errors import RunError
from pipeline.monitor.run_files import METRICS, display_name, read_json
from pipeline.monitor.samples import Sampler
from pipeline.monitor.step_metrics import format_step
from pipeline.monitor.wandb_server import TryLater
from pipeline.monitor.wandb_sync import Uploader, funnel_row, open_run

LINE_INTERVAL_S = 15.0
"""Shortest time between two lines of progress where there is no terminal."""

log = logging.getLogger("outbound")


class MetricsLogger:
    """Receives numbers after each step and each evaluation, and puts them where people look."""

    def __init__(
        self,
        attempt: Attempt,
        wandb_id: str,
        *,
        wandb: Wandb,
        config: dict[str, Any],
        tokens: int,
        prompts: Sequence[str] = (),
    ) -> None:
        """Metrics are appended below the attempt's folder, in the format that `run_files` describes.

        config: what Weights & Biases shows of it. tokens: of the whole training. prompts: see `Sampler`.
        Raises RunError when Weights & Biases refuses the run.
        """
        self._attempt = attempt
        self._metrics = (attempt.folder / METRICS).open("a", buffering=1)
        self._wandb = _start_wandb(attempt, wandb_id, wandb, config)
        self._uploader: Uploader | None = None
        self._online = wandb.mode == "online"
        if self._online:
            _check_server(attempt.run)
        self._terminal = _Terminal(tokens)
        self._sampler = Sampler(attempt, list(prompts))

    def begin(self) -> None:
        """Start to send a run that is online, once the attempt owns it."""
        if self._online:
            self._uploader = Uploader(self._attempt.run, self._attempt.folder / "wandb.log")

    def step(self, row: dict[str, Any]) -> None:
        """Record one step, and what the checkpoints have written meanwhile."""
        self._record(row)
        self._terminal.step(row)
        self._samples(row["step"], self._sampler.new())

    def evaluation(self, row: dict[str, Any], text: str) -> None:
        """Record one evaluation, and print its text."""
        self._record(row)
        self._terminal.print(f"step {row['step']}: {text}")

    def roll_back(self, since: int, to: int) -> None:
        """Note that what was recorded beyond step `to` is undone, from `since` on, and taken again."""
        self._append({"rollback": {"from": since, "to": to}})

    def sync(self) -> None:
        """Bring all rows to the disk: a checkpoint must not outlive the metrics of its steps."""
        os.fsync(self._metrics.fileno())

    def saved(self) -> None:
        """A checkpoint stands that can be sampled."""
        self._sampler.start()
        if self._uploader and self._uploader.restart():
            self.report("the process that sends to Weights & Biases has died, and is started again")

    def report(self, text: str) -> None:
        """Print a line on the terminal and in log.txt."""
        log.info(text)
        self._terminal.print(text)

    def close(self, step: int) -> None:
        """Finish all three; W&B's file is whole only after this."""
        self._terminal.close()
        self._samples(step, self._sampler.finish())
        self._metrics.close()
        self._to_wandb(lambda run: run.finish())

    def send_rest(self, stopped: bool) -> None:
        """Wait until an online run has sent its last steps; summary.json, which ends it, is there."""
        if self._uploader and not self._uploader.finish(stopped):
            run = self._attempt.run
            self.report(f"Weights & Biases lacks the last steps: outbound wandb-sync {run} sends them")

    def _append(self, row: dict[str, Any]) -> None:
        whole = {"attempt": self._attempt.number, "time": round(time.time(), 3), **row}
        self._metrics.write(json.dumps(whole, allow_nan=False) + "\n")

    def _record(self, row: dict[str, Any]) -> None:
        self._append(row)
        # The SDK cannot take a step back: of those undone by a spike but the last it keeps the first values.
        self._to_wandb(lambda run: run.log(row, step=row["step"]))

    def _samples(self, step: int, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            log.info("step %d writes: %s%s", row["step"], row["prompt"], row["text"])
        if rows and self._wandb is not None:
            import wandb

            data = [[row["step"], row["prompt"], row["text"]] for row in rows]
            table = wandb.Table(columns=["step", "prompt", "text"], data=data)
            # Its count is ahead when a spike was undone, and it ignores values of an earlier step.
            self._to_wandb(lambda run: run.log({"samples": table}, step=max(step, run.step)))

    def _to_wandb(self, log_to: Callable[[Any], None]) -> None:
        """W&B works in a process of its own: when that dies, the training goes on without it."""
        if self._wandb is None:
            return
        try:
            log_to(self._wandb)
        except Exception as error:  # W&B has several for it, most of them of its own
            self._wandb = None
            import wandb

            with suppress(Exception):
                wandb.teardown()  # or it would try, and complain, at the end
            reason = str(error) or type(error).__name__
            self.report(f"Weights & Biases is gone ({reason}) until the next start; metrics.jsonl goes on")


def wandb_id(run: Path) -> str:
    """Return the run's one W&B id: made at its first start, the same after every requeue."""
    path = run / "wandb_id"
    files.write_once(path, f"{secrets.token_hex(4)}\n".encode())
    return path.read_text().strip()


def keep_funnel(folder: Path, sources: Sources) -> None:
    """Copy the funnels of the corpora that the tokens were packed from to funnel.json, by source.

    `outbound pack` leaves them beside its generations; of tokens from elsewhere there are none.
    """
    funnels = {}
    for name, source in sources.by_name.items():
        path = source.generation.directory / f"funnel-{source.generation.number}.json"
        if path.exists():
            funnels[name] = read_json(path)
        else:
            log.info("no corpus funnel is shown: %s is not there", path)
    if funnels:
        files.replace(folder / "funnel.json", json.dumps(funnels).encode())


def _start_wandb(attempt: Attempt, run_id: str, settings: Wandb, config: dict[str, Any]) -> Any:
    """The SDK's offline run, with its files in the attempt's folder, or None; RunError when it refuses."""
    mode, folder = settings.mode, attempt.folder
    other = os.environ.get("WANDB_MODE")
    if other and other != mode:
        log.warning("WANDB_MODE=%s is not heeded: wandb.mode says %s", other, mode)
    if mode != "offline":
        return None
    os.environ["WANDB_SILENT"] = "true"
    import wandb

    try:
        run = wandb.init(
            mode="offline",
            project=settings.project,
            id=run_id,
            name=display_name(attempt.run),
            dir=folder,
            config=config,
            settings=wandb.Settings(console="off"),
        )
    except (wandb.Error, ValueError) as error:  # a variable that makes no sense
        reason = " ".join(str(error).split())
        raise RunError(
            f"Weights & Biases does not start: {reason}; wandb.mode=disabled does without"
        ) from None
    run.define_metric("tokens")
    run.define_metric("*", step_metric="tokens")
    run.summary.update(funnel_row(folder / "funnel.json"))
    return run


def _check_server(run: Path) -> None:
    """Raise RunError when the server refuses a run; one that is away or slow only gets a warning."""
    try:
        open_run(run, once=True)
    except TryLater as error:
        log.warning("%s: the steps are sent as soon as it answers", error)
    except RunError as error:
        raise RunError(
            f"Weights & Biases does not start: {error}; wandb.mode=offline needs neither account nor network"
        ) from None


class _Terminal:
    """A progress bar on a terminal, a line every LINE_INTERVAL_S elsewhere."""

    def __init__(self, total_tokens: int) -> None:
        self._console = Console(stderr=True)
        self._total = total_tokens
        self._printed_at = time.monotonic()
        columns = (
            TextColumn("train"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=self._console, disable=not self._console.is_terminal)
        self._task = self._bar.add_task("", total=total_tokens)
        self._bar.start()

    def step(self, row: dict[str, Any]) -> None:
        text = format_step(row)
        self._bar.update(self._task, completed=row["tokens"], description=text)
        if not self._console.is_terminal and time.monotonic() - self._printed_at > LINE_INTERVAL_S:
            self.print(f"{row['tokens'] / self._total:4.0%}  {text}")

    def print(self, text: str) -> None:
        self._printed_at = time.monotonic()
        self._bar.console.print(text, highlight=False)

    def close(self) -> None:
        self._bar.stop()
