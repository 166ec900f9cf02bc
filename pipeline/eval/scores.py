"""From measured documents to scores: value, interval, clean and dirty parts, and what the papers report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.eval import overlapped, papers
from pipeline.eval.documents import Document
from pipeline.eval.intervals import ends, finite, interval, value
from pipeline.eval.measures import MEASURES, Sums
from pipeline.eval.overlapped import Overlap
from pipeline.eval.tasks import ProtocolFile, TaskFile
from pipeline.monitor.evaluations import Caveats, Part, Score

TIES = "ties"
"""[1 if several choices have the best score, else 0; 1], wherever a document has choices."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one task gave under one protocol and with so many shots.

    documents: in the set's order. examples: those that the set has, also beyond a limit. boundary_merges,
    truncated: see `Caveats`.
    """

    task: TaskFile
    protocol: str
    shots: int
    documents: Sequence[Document]
    examples: int
    boundary_merges: int = 0
    truncated: int = 0

    @property
    def key(self) -> str:
        return f"{self.task.name}/{self.shots}/{self.protocol}"

    @property
    def asked(self) -> ProtocolFile:
        return self.task.protocols[self.protocol]


def scores(outcome: Outcome, overlap: Overlap | None, non_embedding: int, seed: int) -> Iterator[Score]:
    """The scores of an outcome, the protocol's first measure first.

    overlap: None where it is not known what the corpus holds. non_embedding: the model's parameters without
    embeddings, for the comparison with papers. seed: of the resamples.
    """
    documents = outcome.documents
    masks = overlapped.masks(outcome.task.name, documents, overlap) if overlap else None
    for name in outcome.asked.measures:
        measure = MEASURES[name]
        measured = np.array([name in document.values for document in documents], np.bool_)
        numbers = _numbers(outcome, name)
        units = [document.example.unit for document in documents if name in document.values]
        parts: dict[str, Part] = {}
        if masks and len(numbers):
            chosen = overlapped.Masks(masks.dirty[measured], masks.short[measured])
            parts = overlapped.parts(measure, numbers, units, chosen, seed)
        low, high, stderr = ends(interval(measure, numbers, units, seed))
        yield Score(
            task=outcome.task.name,
            family=outcome.task.family,
            shots=outcome.shots,
            protocol=outcome.protocol,
            measure=name,
            main=name == outcome.asked.measures[0],
            higher_is_better=measure.higher_is_better,
            value=finite(value(measure, numbers)) if len(numbers) else None,
            low=low,
            high=high,
            stderr=stderr,
            n=int(numbers.any(axis=1).sum()),  # a question that a set's own rule leaves out adds nothing
            units=len(set(units)),
            paper=papers.published(outcome.task, outcome.protocol, outcome.shots, name, non_embedding),
            **parts,
        )


def caveats(outcome: Outcome) -> Caveats:
    """What a reader of an outcome's scores must know."""
    documents = outcome.documents
    ties = _numbers(outcome, TIES)[:, 0]
    shown = sum(document.shown for document in documents) / max(len(documents), 1)
    return Caveats(
        boundary_merges=outcome.boundary_merges,
        truncated=outcome.truncated,
        ties=float(ties.mean()) if len(ties) else None,
        shown=shown,
    )


def _numbers(outcome: Outcome, measure: str) -> Sums:
    """(documents that have the measure, k): what each adds to it."""
    rows = [document.values[measure] for document in outcome.documents if measure in document.values]
    return np.array(rows, np.float64) if rows else np.empty((0, 1))
