"""`results.json` of a fine-tuning: each seed's scores, and what they come to, from the predictions that lie there.

Beside each measure stands that of the most frequent class of the training set: with 70 % of one class, 70 % is
no success.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, median, stdev

import msgspec
import numpy as np

from dataprep.store import files
from pipeline.errors import RunError
from pipeline.finetune.examples import Example
from pipeline.finetune.metrics import METRICS
from pipeline.finetune.papers import Published, published
from pipeline.finetune.predictions import as_numbers, path_of, read_predictions
from pipeline.finetune.settings import Finetune

RESULTS = "results.json"
PARTS = ("dev", "test")


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One measure of a part.

    seeds: the score of each. deviation: the sample's standard deviation; None of one seed. majority: the score
    of predicting the training set's most frequent class always; None of grades.
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


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """What `results.json` holds.

    labels: the classes in their order; none of grades. counts: examples of each label in each part; of grades,
    under "". paper: what GPT-1's paper reports of the task.
    """

    task: str | None
    kind: str
    target: str
    recipe: str
    init_from: str | None
    from_scratch: bool
    lm_coef: float
    labels: tuple[str, ...]
    counts: dict[str, dict[str, int]]
    scores: tuple[Measured, ...]
    paper: tuple[Published, ...] = ()

    @property
    def seeds(self) -> list[int]:
        """The seeds that have ended."""
        return sorted({seed for each in self.scores for seed in each.seeds})

    @property
    def middle_seed(self) -> int:
        """The seed whose first score is the median, or next below it."""
        seeds = self.scores[0].seeds
        return sorted(seeds, key=lambda seed: seeds[seed])[(len(seeds) - 1) // 2]


def write_results(settings: Finetune, train: Sequence[Example], labels: Sequence[str]) -> Results:
    """Write `results.json` of the seeds that have predictions; it replaces the file whole.

    labels: the classes in their order; none of grades. Raises RunError where a file of predictions is damaged.
    """
    counts = {"train": _counted([example.label for example in train] if labels else [""] * len(train))}
    scores: list[Measured] = []
    for part in PARTS:
        found = {
            seed: read_predictions(path)
            for seed in settings.seeds
            if (path := path_of(settings.dir / f"seed-{seed}", part)).exists()
        }
        if not found:
            continue
        gold, _ = next(iter(found.values()))
        counts[part] = _counted(gold if labels else [""] * len(gold))
        sides = {seed: [as_numbers(side, labels) for side in both] for seed, both in found.items()}
        for measure in settings.metrics:
            each = {seed: METRICS[measure](*both) for seed, both in sides.items()}
            true, _ = next(iter(sides.values()))
            always = as_numbers([max(counts["train"], key=counts["train"].__getitem__)], labels) if labels else []
            majority = METRICS[measure](true, np.repeat(always, len(true))) if labels else None
            scores.append(_measured(part, measure, each, majority))
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


def _counted(labels: Sequence[str | float]) -> dict[str, int]:
    return dict(sorted(Counter(map(str, labels)).items()))
