"""One evaluation: a model, the tasks that it is asked, and the folder that both determine.

    EVALUATIONS/step-00000100-WEIGHTS/TASKS-HASH/results.json   EVALUATIONS is RUN/evaluations, or --out
                                                 samples/
                                                 answers/ ...   of the steps (`steps.py`)
                                                 held/          the checkpoint, while it is needed
    EVALUATIONS/jobs/...                                        plans, claims and workers (`dataprep.store`)

The folder differs when the weights, the tokenizer, the number format, the kind of device, a task, a setting
or a set differ. So stored answers always belong to the questions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path

import msgspec
import xxhash

from pipeline.eval.tasks import ProtocolFile, TaskFile
from pipeline.eval.trained_model import TrainedModel

SHOWN_TASKS = 3
"""Largest number of tasks that a folder's name lists; of more it has only the number."""


@dataclass(frozen=True, kw_only=True)
class Asking:
    """One task under one protocol, with so many solved examples before each question.

    test, train: the files of its set, as paths in the directory of sets.
    """

    task: TaskFile
    protocol: str
    shots: int
    test: tuple[str, ...]
    train: tuple[str, ...]

    @property
    def name(self) -> str:
        """Unique name, for people."""
        return f"{self.task.name}/{self.shots}/{self.protocol}"

    @property
    def rules(self) -> ProtocolFile:
        return self.task.protocols[self.protocol]


VERSION = 1
"""Of the code that answers requests: raise it when a model would answer otherwise."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The scope of the steps of an evaluation.

    root: the directory of all evaluations. data: the directory of the sets. dtype: number format of the
    weights. device: kind of device that computes. sets: hash of each file. limit: number of examples of each
    task, from the first. overlap: the file of `outbound corpus overlap`, and its hash.
    """

    root: Path
    data: Path
    model: TrainedModel
    dtype: str
    device: str
    askings: tuple[Asking, ...]
    sets: dict[str, str]
    limit: int | None
    seed: int
    overlap: tuple[Path, str] | None = None

    @property
    def places(self) -> dict[str, Path]:
        return {"evaluation": self.folder}

    @property
    def of_model(self) -> Path:
        """The folder of all evaluations that may share answers.

        They have the same weights, tokenizer, number format and kind of device.
        """
        same = _hash([VERSION, self.model.weights, self.model.tokenizer, self.dtype, self.device])
        return self.root / f"{self.model.name}-{same}"

    @cached_property
    def folder(self) -> Path:
        """The folder of this evaluation."""
        tasks = dict.fromkeys(asking.task.name for asking in self.askings)
        named = "-".join(tasks) if len(tasks) <= SHOWN_TASKS else f"{len(tasks)}-tasks"
        decides = [
            [(each.name, each.task.model_dump_json(), each.test, each.train) for each in self.askings],
            sorted(self.sets.items()),
            self.limit,
            self.seed,
            self.overlap and self.overlap[1],
            sorted(software().items()),
        ]
        return self.of_model / f"{named}-{_hash(decides)}"

    @property
    def held(self) -> Path:
        """Where the checkpoint is kept, since a training may let go of it."""
        return self.folder / "held"


def software() -> dict[str, str]:
    """Versions of the packages that decide what is asked and how answers are judged."""
    found = {}
    for name in ("outbound-gpt", "lm-eval"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _hash(parts: object) -> str:
    return xxhash.xxh3_64_hexdigest(msgspec.json.encode(parts))[:12]
