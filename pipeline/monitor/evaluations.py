"""The files of `outbound eval` in a run: `RUN/evaluations/.../results.json`, and samples, a row a document.

`results.json` has lm-eval's layout, for tools that know it. It also has the fields of `Results`: a `Score`
for each task, protocol, number of shots and measure, and what they were measured with.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from itertools import islice
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import xxhash

from dataprep.store import decompress
from pipeline.errors import RunError

EVALUATIONS = "evaluations"
RESULTS = "results.json"
SAMPLES = "samples"
LONGEST_BYTES = 1 << 28
"""Largest row of samples."""
TABLE_SAMPLES = 50
"""Rows of each task in the table of samples."""

log = logging.getLogger("outbound")


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A measure over some of the documents, with its 95 % interval; None where there is none."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0


class PaperScore(msgspec.Struct, frozen=True, kw_only=True):
    """A published value of the same task, measure and shots.

    size: parameters as the paper prints them. non_embedding: those without embeddings. checked: the day on
    which the number was compared with a quotation of the paper; empty: from memory or from another's copy.
    nearest: whether no other size of this paper is nearer to the model.
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

    main: whether pictures show it. n: number of documents. units: number of independent groups of
    them. clean, dirty: the documents that share no text with the corpus, and those that do. short: those that
    are too short to decide, which count as clean. clean_less_all: the value of the clean ones minus that of
    all.
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
    token; None for a model from elsewhere. no_context: what stands before a text that has no context.
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
    no_context: str = "end of text"

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
    """What `results.json` holds beside lm-eval's part.

    sets: hash of each file. software: versions. unaskable: tasks that this model cannot be given, with the
    reason.
    """

    model: ModelFacts
    scores: tuple[Score, ...]
    configs: dict[str, dict[str, Any]]
    caveats: dict[str, Caveats]
    sets: dict[str, str]
    seed: int
    limit: int | None = None
    software: dict[str, str] = {}
    unaskable: dict[str, str] = {}

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks, also of those that have texts and no score."""
        return list(dict.fromkeys(config["task"] for config in self.configs.values()))


def read_results(path: Path) -> Results:
    """Read `results.json`, or that of a directory. Raises RunError when it is missing or damaged."""
    path = path / RESULTS if path.is_dir() else path
    try:
        return msgspec.json.decode(path.read_bytes(), type=Results)
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror}); `outbound eval` writes it") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RunError(f"{path}: are no results of `outbound eval` ({error}); evaluate again") from None


def folder_of(path: Path) -> Path:
    """The directory of an evaluation: itself, that of its `results.json`, or the only one in a directory.

    Raises RunError when a directory, such as a run's or that of --out, holds none or several.
    """
    if path.is_file():
        return path.parent
    if (path / RESULTS).exists():
        return path
    found = [result.parent for result in (*_results_in(path), *_results_in(path / EVALUATIONS))]
    if len(found) > 1:
        some = ", ".join(str(folder.relative_to(path)) for folder in found[:3])
        raise RunError(f"{path}: holds {len(found)} evaluations; give the directory of one, such as {some}")
    if not found:
        raise RunError(f"{path}: holds no {RESULTS}; `outbound eval` writes it")
    return found[0]


def _results_in(folder: Path) -> list[Path]:
    """The results in a directory of evaluations: of a model, and of its checkpoints."""
    return sorted([*folder.glob(f"*/{RESULTS}"), *folder.glob(f"*/*/{RESULTS}")])


class Evaluation(NamedTuple):
    """One evaluation of a run. id: hash of its place and its results."""

    id: str
    folder: Path
    results: Results

    @property
    def scalars(self) -> dict[str, float]:
        """The scores that have a value, by `eval/TASK/SHOTS/PROTOCOL/MEASURE`."""
        return {
            f"eval/{score.key}/{score.measure}": score.value
            for score in self.results.scores
            if score.value is not None
        }


def of_run(run: Path) -> list[Evaluation]:
    """The evaluations of a run in the order of steps; of a step, those with more documents (--limit) later.

    The log names those that cannot be read.
    """
    folder, found = run / EVALUATIONS, []
    for path in _results_in(folder):
        try:
            results = read_results(path)
            named = str(path.relative_to(folder)).encode() + path.read_bytes()
        except (RunError, OSError) as error:
            log.warning("an evaluation is left out: %s", error)
            continue
        found.append(Evaluation(xxhash.xxh3_64_hexdigest(named), path.parent, results))
    return sorted(found, key=lambda each: (each.results.model.step or 0, each.results.limit or inf))


SCORE_COLUMNS = (
    "task shots protocol metric value low high n clean n_clean paper paper_model paper_checked".split()
)

Table = tuple[list[str], list[list[Any]]]
"""Columns and rows."""


def tables(evaluations: Sequence[Evaluation]) -> dict[str, Table]:
    """The tables `eval/scores` and `eval/samples` of some evaluations; none of none."""
    if not evaluations:
        return {}
    scores = [_score_row(score) for each in evaluations for score in each.results.scores]
    rows = []
    for each in evaluations:
        for task in each.results.tasks:
            for row in first_samples(each.folder, task, TABLE_SAMPLES):
                whole = [json.dumps(row[name], ensure_ascii=False) for name in ("values", "sample")]
                rows.append([task, row["shots"], row["protocol"], row["key"], *whole])
    return {
        "eval/scores": (SCORE_COLUMNS, scores),
        "eval/samples": (["task", "shots", "protocol", "key", "values", "sample"], rows),
    }


def read_samples(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a task's samples, a document each. Raises RunError when the file is missing or damaged."""
    try:
        with path.open("rb") as file:
            for line in decompress.lines(file, LONGEST_BYTES):
                yield json.loads(line)
    except (OSError, ValueError, decompress.Unreadable) as error:
        raise RunError(f"{path}: cannot be read ({error}); evaluate again") from None


def first_samples(folder: Path, task: str, count: int) -> list[dict[str, Any]]:
    """The first rows of a task's samples; none when it has no file."""
    path = folder / SAMPLES / f"{task}.jsonl.zst"
    return [*islice(read_samples(path), count)] if path.exists() else []


def _score_row(score: Score) -> list[Any]:
    """The cells of SCORE_COLUMNS."""
    clean, paper = score.clean, score.nearest
    row = [
        score.task,
        score.shots,
        score.protocol,
        score.measure,
        score.value,
        score.low,
        score.high,
        score.n,
    ]
    row += [clean.value, clean.n] if clean else [None, None]
    return [*row, *([paper.value, paper.name, paper.checked] if paper else [None, None, None])]
