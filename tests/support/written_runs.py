"""The files of a run's attempts, written step by step without any training."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.checkpoint import attempts
from pipeline.checkpoint.attempts import Attempt, Origin
from pipeline.monitor.run_files import joined_metrics
from support.servers.wandb import WandbServer

ID = "abcd1234"


@dataclass
class WrittenRun:
    """A run whose n-th row of all has the loss n, so that a loss shows when its step was taken."""

    dir: Path
    rows: int = 0
    taken_by: list[int] = field(default_factory=list)
    """The attempt that took each step of the run as it stands."""
    current: Attempt = field(init=False)

    def __post_init__(self) -> None:
        self.dir.mkdir()
        (self.dir / "wandb_id").write_text(f"{ID}\n")
        self.attempt(0)

    @property
    def step(self) -> int:
        """The last step."""
        return len(self.taken_by)

    def attempt(self, step: int) -> None:
        """Begin another attempt, from the checkpoint of that step."""
        self.current = attempts.claim(self.dir, processes=1)
        (self.current.folder / "config.yaml").write_text(
            "wandb: {project: links}\nrun: {seed: 3}\ntrain: {tokens: 640}\n"
        )
        del self.taken_by[step:]
        self.current.begin(Origin(attempt=self.taken_by[-1] if step else 0, step=step))

    def steps(self, count: int) -> None:
        """Take so many steps."""
        for _ in range(count):
            self.taken_by.append(self.current.number)
            self._note({"step": self.step, "tokens": 64 * self.step, "loss": float(self.rows + 1)})

    def evaluation(self) -> None:
        """Evaluate after the last step."""
        self._note({"step": self.step, "tokens": 64 * self.step, "val_loss": float(self.rows + 1)})

    def roll_back(self, step: int) -> None:
        """Undo a spike."""
        self._note({"rollback": {"from": self.step, "to": step}})
        del self.taken_by[step:]

    def samples(self, step: int) -> None:
        """Let the checkpoint of a step write, only now."""
        with (self.current.folder / "samples.jsonl").open("a") as file:
            file.write(json.dumps({"step": step, "prompt": "the", "text": f" end {step}"}) + "\n")

    def end(self, stopped: bool = False) -> None:
        """Come to the end, or stop as asked."""
        (self.current.folder / "summary.json").write_text(
            json.dumps({"steps": self.step, "stopped": stopped})
        )

    def _note(self, row: dict[str, Any]) -> None:
        self.rows += 1
        row = {"attempt": self.current.number, "time": 1000.0 + self.rows, **row}
        with (self.current.folder / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")


def complete(run: WrittenRun, server: WandbServer) -> None:
    """The server has the run as it stands: each step once, in order, with its values."""
    standing: dict[int, dict[str, Any]] = {}
    for row in joined_metrics(run.dir):
        standing[row["step"]] = row | standing.get(row["step"], {})
    history = server.run.history
    assert [line["_step"] for line in history] == list(standing)
    for line, row in zip(history, standing.values(), strict=True):
        assert row.items() - {("time", row["time"])} <= line.items()
