"""What `outbound eval` leaves in a run: `RUN/evaluations/.../results.json`, and samples, a row a document.

`results.json` has lm-eval's layout, for tools that know it, and beside that what stands here: a `Score` for
each task, protocol, number of shots and measure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from dataprep.store import decompress
from pipeline.errors import RunError

EVALUATIONS = "evaluations"
RESULTS = "results.json"
SAMPLES = "samples"
LONGEST_BYTES = 1 << 28


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A measure over some of the documents, with its 95 % interval; None where there is none."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0


class PaperScore(msgspec.Struct, frozen=True, kw_only=True):
    """A published value of the same task, measure and shots.

    size: parameters as the paper prints them. non_embedding: those without embeddings. checked: the day on
    which the number was compared with the paper; empty: not yet. nearest: whether no other size of this paper
    is nearer to the model.
    """

    model: str
    size: str
    non_embedding: int
    protocol: str
    value: float
    source: str
    checked: str = ""
    nearest: bool = False

    @property
    def name(self) -> str:
        return f"{self.model} {self.size}"


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """One measure of one task under one protocol.

    main: whether tables and pictures show it first. n: documents; units: what of them is independent. clean,
    dirty: documents that share no text with the corpus, and those that do; short: documents that are too
    short to tell, which count as clean; clean_less_all: the difference of the values.
    """

    task: str
    family: str
    shots: int
    protocol: str
    measure: str
    main: bool
    higher_is_better: bool
    value: float | None
    low: float | None = None
    high: float | None = None
    stderr: float | None = None
    n: int
    units: int
    clean: Part | None = None
    dirty: Part | None = None
    short: Part | None = None
    clean_less_all: Part | None = None
    paper: tuple[PaperScore, ...] = ()

    @property
    def key(self) -> str:
        """Name of the task with its shots and protocol, as in lm-eval's part of the file."""
        return f"{self.task}/{self.shots}/{self.protocol}"

    @property
    def nearest(self) -> PaperScore | None:
        """The published value of the model of about the same size."""
        return next((each for each in self.paper if each.nearest), None)


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The model that was evaluated.

    run: name of its directory. weights, tokenizer: their hashes. non_embedding: parameters without
    embeddings. step, tokens, loss: where in its training it stands, and the held-out loss there in nats a
    token; None for a model from elsewhere.
    """

    run: str
    weights: str
    dtype: str
    tokenizer: str
    parameters: int
    non_embedding: int
    step: int | None = None
    tokens: int | None = None
    loss: float | None = None

    @property
    def compute(self) -> float | None:
        """Operations of its training, 6ND (Kaplan et al. 2020, section 2.1)."""
        return None if self.tokens is None else 6.0 * self.non_embedding * self.tokens


class Caveats(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader of a task's scores must know.

    boundary_merges: continuations whose first token would have merged with the context. truncated: contexts
    that lost their beginning. ties: share of documents whose best choices have equal scores; None where there
    are no choices. shown: mean number of solved examples that fitted into the context.
    """

    boundary_merges: int = 0
    truncated: int = 0
    ties: float | None = None
    shown: float = 0.0


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """What `results.json` holds beside lm-eval's part. sets: hash of each file. software: versions."""

    model: ModelFacts
    scores: tuple[Score, ...]
    configs: dict[str, dict[str, Any]]
    caveats: dict[str, Caveats]
    sets: dict[str, str]
    seed: int
    limit: int | None = None
    software: dict[str, str] = {}


def read_results(path: Path) -> Results:
    """Read `results.json`, or that of a directory. Raises RunError when it is missing or damaged."""
    path = path / RESULTS if path.is_dir() else path
    try:
        return msgspec.json.decode(path.read_bytes(), type=Results)
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror}); `outbound eval` writes it") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RunError(f"{path}: are no results of `outbound eval` ({error}); evaluate again") from None


def of_run(run: Path) -> dict[Path, Results]:
    """The evaluations of a run by their directories, in the order of steps."""
    folder = run / EVALUATIONS
    found = sorted([*folder.glob(f"*/{RESULTS}"), *folder.glob(f"*/*/{RESULTS}")])
    read = {path.parent: read_results(path) for path in found}
    return dict(sorted(read.items(), key=lambda item: (item[1].model.step or 0, item[0])))


def read_samples(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a task's samples, a document each. Raises RunError when the file is missing or damaged."""
    try:
        with path.open("rb") as file:
            for line in decompress.lines(file, LONGEST_BYTES):
                yield json.loads(line)
    except (OSError, ValueError, decompress.Unreadable) as error:
        raise RunError(f"{path}: cannot be read ({error}); evaluate again") from None


def first_samples(folder: Path, tasks: Iterable[str], count: int) -> list[dict[str, Any]]:
    """The first rows of each task's samples that are there."""
    paths = (folder / SAMPLES / f"{task}.jsonl.zst" for task in tasks)
    return [row for path in paths if path.exists() for row in islice(read_samples(path), count)]
