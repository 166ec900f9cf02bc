"""`results.json` of a fine-tuning: each seed's scores, from its predictions, and what they come to.

Beside each score stands that of predicting the training set's most frequent class always: where 70 % are of
one class, 70 % is no success.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, median, stdev

import msgspec

from dataprep.store import files
from pipeline.errors import RunError
from pipeline.finetune.metrics import score
from pipeline.finetune.papers import Published, published
from pipeline.finetune.predictions import as_numbers, path_of, read_predictions
from pipeline.finetune.settings import Finetune

RESULTS = "results.json"
PARTS = ("dev", "test")


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Examples of a part, and of each class in it; no classes of grades."""

    examples: int
    classes: dict[str, int]

    @classmethod
    def of(cls, gold: Sequence[str | float], labels: Sequence[str]) -> Counts:
        """Count some labels, those that do not occur too."""
        return cls(examples=len(gold), classes={label: gold.count(label) for label in labels})


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One measure of a part.

    seeds: the score of each. deviation: the sample's standard deviation; None of one seed. majority: the
    score of predicting the training set's most frequent class always; None of grades.
    """

    part: str
    measure: str
    seeds: dict[int, float]
    mean: float
    median: float
    deviation: float | None
    low: float
    high: float
    majority: float | None

    @property
    def middle_seed(self) -> int:
        """The seed whose score is the median, or next below it."""
        return sorted(self.seeds, key=self.seeds.__getitem__)[(len(self.seeds) - 1) // 2]


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """What `results.json` holds; without a dev and a test set there are no scores.

    labels: the classes in their order; none of grades. counts: of each part, train too. paper: what GPT-1's
    paper reports of the task.
    """

    task: str | None
    kind: str
    target: str
    recipe: str
    init_from: str | None
    from_scratch: bool
    lm_coef: float
    labels: tuple[str, ...]
    counts: dict[str, Counts]
    seeds: tuple[int, ...]
    scores: tuple[Measured, ...]
    paper: tuple[Published, ...] = ()

    @property
    def variant(self) -> str:
        """The row of the paper's ablations (table 5) that has these settings."""
        if self.from_scratch:
            return "without pretraining"
        return "as published" if self.lm_coef else "without the language model's loss"


def write_results(settings: Finetune, train: Counts, labels: Sequence[str]) -> Results:
    """Write `results.json` of the seeds that have predictions; it replaces the file whole.

    train: of the training set. labels: the classes in their order; none of grades. Raises RunError for a
    damaged file of predictions.
    """
    counts = {"train": train}
    common = max(labels, key=train.classes.__getitem__, default=None)
    scores: list[Measured] = []
    for part in PARTS:
        paths = {seed: path_of(settings.dir / f"seed-{seed}", part) for seed in settings.seeds}
        found = {seed: read_predictions(path) for seed, path in paths.items() if path.exists()}
        if not found:
            continue
        gold, _ = next(iter(found.values()))
        counts[part] = Counts.of(gold, labels)
        for measure in settings.metrics:
            majority = None if common is None else _score(measure, gold, [common] * len(gold), labels)
            seeds = {seed: _score(measure, *both, labels) for seed, both in found.items()}
            scores.append(_measured(part, measure, seeds, majority))
    results = Results(
        task=settings.task,
        kind=settings.kind,
        target=settings.target,
        recipe=settings.recipe,
        init_from=str(settings.init_from) if settings.init_from else None,
        from_scratch=settings.from_scratch or settings.init_from is None,
        lm_coef=settings.lm_coef,
        labels=tuple(labels),
        counts=counts,
        seeds=tuple(seed for seed in settings.seeds if (settings.dir / f"seed-{seed}").exists()),
        scores=tuple(scores),
        paper=published(settings.task),
    )
    content = msgspec.json.format(msgspec.json.encode(results), indent=1)
    files.replace(settings.dir / RESULTS, content + b"\n")
    return results


def read_results(folder: Path) -> Results:
    """Read `results.json` of a directory. Raises RunError when it is missing or damaged."""
    path = folder / RESULTS
    try:
        return msgspec.json.decode(path.read_bytes(), type=Results)
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror}); `outbound finetune` writes it") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RunError(f"{path}: are no results of `outbound finetune` ({error}); run it again") from None


def _score(measure: str, gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> float:
    return score(measure, as_numbers(gold, labels), as_numbers(predicted, labels), len(labels))


def _measured(part: str, measure: str, seeds: Mapping[int, float], majority: float | None) -> Measured:
    values = list(seeds.values())
    return Measured(
        part=part,
        measure=measure,
        seeds=dict(seeds),
        mean=fmean(values),
        median=median(values),
        deviation=stdev(values) if len(values) > 1 else None,
        low=min(values),
        high=max(values),
        majority=majority,
    )
