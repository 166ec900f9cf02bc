"""A run's metrics to Weights & Biases: what the server lacks, however often and from wherever it is sent.

Nothing is noted on our side: what the server reports and what the metrics hold decide what is sent
(`wandb_history.due`). `outbound wandb-sync` does this for any run. A run that is online does it by itself, in
a process of its own, so that no slow server and no broken network reaches the training.
"""

from __future__ import annotations

import select
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from dataprep.errors import DataError
from pipeline.checkpoint import attempts
from pipeline.errors import RunError
from pipeline.monitor import evaluations, generated, helper_process
from pipeline.monitor.evaluations import Evaluation
from pipeline.monitor.generated import Generated
from pipeline.monitor.run_files import all_metrics, display_name, joined_samples, read_json, read_summary
from pipeline.monitor.wandb_history import (
    EVALUATED,
    UNDONE,
    Due,
    Evaluated,
    Metrics,
    Row,
    due,
    format_ranges,
    parse_ranges,
    summary_after,
)
from pipeline.monitor.wandb_server import NotBegun, TryLater, WandbRun
from slurm.submissions import of_directory

NO_ATTEMPT = "the first attempt has not begun yet"
CHUNK_LINES = 500
"""History lines in a request: under 1 MB."""
POLL_S = 10.0
"""Shortest time between two looks at a run that goes on."""
SHARE = 0.1
"""Highest share of a core that following a run takes."""
HEARTBEAT_S = 30.0
"""A run that is silent for minutes is shown as crashed."""
FINISH_TIMEOUT_S = 60.0
"""How long the end of a run waits until the last steps have been sent."""
STOP_TIMEOUT_S = 10.0
"""How long a stop waits for that: a job near its limit must leave, and its next attempt sends the rest."""


@dataclass(frozen=True)
class _Made:
    """What was made of a run's checkpoints after they were saved, by ids."""

    evaluations: dict[str, Evaluation]
    texts: dict[str, Generated]

    def all(self) -> list[Evaluated]:
        found = [
            Evaluated(each.id, each.results.model.step or 0, each.scalars)
            for each in self.evaluations.values()
        ]
        return found + [Evaluated(each.id, each.step, {}) for each in self.texts.values()]

    def of(self, line: Row) -> tuple[list[Evaluation], list[Generated]]:
        """Those that a history line names."""
        ids = line.get(EVALUATED, "").split()
        return [self.evaluations[id_] for id_ in ids if id_ in self.evaluations], [
            self.texts[id_] for id_ in ids if id_ in self.texts
        ]


@dataclass
class WandbSync:
    """One run on its way to the server."""

    run: Path
    on_sent: Callable[[int], None] = lambda steps: None
    """Called with the number of steps that each request has brought there."""
    sent: int = 0
    """Steps sent by this process."""
    undone: list[int] = field(default_factory=list)
    """Steps found to be undone after they had been sent."""
    evaluations: int = 0
    """Evaluations sent by this process."""
    _server: WandbRun | None = None
    _complete: bool = False
    _spoke_at: float = 0.0

    def update(self) -> bool:
        """Send what is due; return whether the run is trained to its end.

        Raises RunError when there is no run or the server refuses, TryLater when the problem may go away by
        itself (server or filesystem). The next update then begins with what the server has.
        """
        try:
            return self._update()
        except TryLater:
            self._server = None
            raise
        except OSError as error:
            self._server = None
            raise TryLater(f"{self.run}: cannot be read ({error})") from None

    def report(self) -> dict[str, Any] | None:
        """What has been done; None when the server has not been reached."""
        if self._server is None:
            return None
        last = self._server.known.last_line.get("_step", 0)
        found = {"run": str(self.run), "url": self._server.url, "sent": self.sent, "last_step": last}
        return found | {"undone": format_ranges(self.undone), "evaluations": self.evaluations}

    def _update(self) -> bool:
        if not (self.run / "attempts").is_dir() and of_directory(self.run):  # its job waits
            raise NotBegun(f"{self.run}: {NO_ATTEMPT}")
        ended = read_summary(self.run)  # before the metrics: all of them precede it
        made = _Made(
            {each.id: each for each in evaluations.of_run(self.run)},
            {each.id: each for each in generated.of_run(self.run)},
        )
        metrics = Metrics(all_metrics(self.run), bool(ended), joined_samples(self.run), made.all())
        server = self._server = self._server or open_run(self.run)
        if self._complete and due(metrics, server.known).any:  # another attempt runs, or it was evaluated
            server = self._server = open_run(self.run)
            self._complete = False
        if due(metrics, server.known).any:
            server.catch_up()  # an online run and somebody's `wandb-sync` may both send it
        self._send(server, due(metrics, server.known), made)
        if ended and not self._complete:
            server.stream(complete=True)
            self._complete = True
        elif not ended and time.monotonic() - self._spoke_at > HEARTBEAT_S:
            self._stream(server)
        return bool(ended and not ended["stopped"])

    def _send(self, server: WandbRun, found: Due, made: _Made) -> None:
        summary: Row = server.known.summary or funnel_row(attempts.latest_file(self.run, "funnel.json"))
        if found.undone:
            listed = [*parse_ranges(summary.get(UNDONE, "")), *found.undone]
            summary = summary | {UNDONE: format_ranges(listed)}
            self._stream(server, summary=summary)
            self.undone += found.undone
        for first in range(0, len(found.lines), CHUNK_LINES):
            due_lines = found.lines[first : first + CHUNK_LINES]
            lines = [_with_tables(server, line, made) for line in due_lines]
            for line in lines:
                summary = summary_after(line, summary)
                self.evaluations += len(made.of(line)[0])
            summary["_wandb"] = {"runtime": int(summary.get("_runtime", 0))}
            self._stream(server, lines, found.offset + first, summary)
            self.sent += len(lines)
            self.on_sent(len(lines))
        for place, line in found.again:
            line = _with_tables(server, line, made)
            summary = summary_after(line, summary, again=True)
            self._stream(server, [line], place, summary)
            self.evaluations += len(made.of(line)[0])

    def _stream(self, server: WandbRun, *what: Any, **named: Any) -> None:
        server.stream(*what, **named)
        self._spoke_at = time.monotonic()


def open_run(run: Path, once: bool = False) -> WandbRun:
    """Open a run at the server by its one id, if need be in several tries. Raises RunError."""
    paths = (attempts.folder(run, number) / "config.yaml" for number in reversed(attempts.numbers(run)))
    path = next((path for path in paths if path.exists()), None)
    if path is None or not (run / "wandb_id").exists():
        raise NotBegun(f"{run}: {NO_ATTEMPT}")
    config = yaml.safe_load(path.read_text())
    run_id, name = (run / "wandb_id").read_text().strip(), display_name(run.resolve())
    return WandbRun(run_id, name, config["wandb"]["project"], config, once=once)


def funnel_row(path: Path | None) -> dict[str, int]:
    """Read an attempt's funnel.json, if there is one.

    Returns "funnel/SOURCE/STAGE/passed" and each stage's reasons of loss -> counts.
    """
    row: dict[str, int] = {}
    for source, stages in read_json(path).items() if path and path.exists() else ():
        for stage in stages:
            name = "/".join(part for part in ("funnel", source, stage["stage"]) if part)
            row |= {f"{name}/entered": stage["entered"], f"{name}/passed": stage["passed"]}
            row |= {f"{name}/{reason}": count for reason, count in stage["reasons"].items()}
    return row


def _with_tables(server: WandbRun, line: Row, made: _Made) -> Row:
    """The line with its samples, evaluations' scores and samples, and texts, as tables at the server."""
    evaluated, texts = made.of(line)
    tables = evaluations.tables(evaluated) | generated.tables(texts)
    if "samples" in line:
        data = [[row["step"], row["prompt"], row["text"]] for row in line["samples"]]
        tables["samples"] = (["of_step", "prompt", "text"], data)
    return line | {key: server.upload_table(key, *table) for key, table in tables.items()}


def pause_s(reading_s: float) -> float:
    """How long to wait after an update that took so long, so that long metrics do not keep a core busy.

    >>> pause_s(0.1), pause_s(5)
    (10.0, 50.0)
    """
    return max(POLL_S, reading_s / SHARE)


class Uploader:
    """The process that sends a run which is online."""

    def __init__(self, run: Path, log: Path) -> None:
        self._run = run
        self._log = log
        self._process = self._start()

    def restart(self) -> bool:
        """Start the process again if it has died; return whether it had."""
        died = self._process.poll() is not None
        if died:
            self._process = self._start()
        return died

    def finish(self, stopped: bool) -> bool:
        """Let it send the rest; return whether that has been done in time."""
        timeout_s = STOP_TIMEOUT_S if stopped else FINISH_TIMEOUT_S
        self.restart()
        code = self._end(timeout_s)
        if code < 0:  # by a signal to all processes of the job, which are at their end
            self.restart()
            code = self._end(timeout_s)
        return code == 0

    def _end(self, timeout_s: float) -> int:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return 1

    def _start(self) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE  # closes with this process, whatever ends it
        return helper_process.start(__name__, str(self._run), log=self._log, stdin=pipe)


def main(run: Path) -> int:
    """Send a run's metrics until standard input closes, and then the rest of them; exit code 0 or 1."""
    sync, closed, problem = WandbSync(run), False, ""
    while True:
        began = time.process_time()
        try:
            sync.update()
            problem = ""
        except (DataError, RunError) as error:
            if problem != str(error):
                problem = str(error)
                print(time.strftime("%F %T"), problem, file=sys.stderr, flush=True)
        if closed:
            return 1 if problem else 0
        readable, _, _ = select.select([0], [], [], pause_s(time.process_time() - began))
        closed = bool(readable)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
