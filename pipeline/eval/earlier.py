"""Answers that earlier evaluations of the same weights have stored."""

from __future__ import annotations

from collections.abc import Set

from dataprep.errors import DataError
from dataprep.store.records import records_in
from pipeline.eval import record
from pipeline.eval.evaluation import Evaluation
from pipeline.eval.requests import Answer


def earlier_answers(evaluation: Evaluation, keys: Set[str]) -> dict[str, Answer]:
    """The answers to some requests that other evaluations of the same model have committed, by key, sorted.

    The folder of these evaluations has the hashes of weights and tokenizer and the number format in its name.
    Files that are damaged, or removed meanwhile, are left out: their requests are asked again.
    """
    found: dict[str, Answer] = {}
    for folder in sorted(evaluation.of_model.glob("*/answers")):
        if folder.parent == evaluation.folder:
            continue
        for part in records_in(folder):
            for output in part.outputs.values():
                try:
                    answers = record.read(evaluation.root, output, Answer)
                except DataError:
                    continue
                found |= {answer.key: answer for answer in answers if answer.key in keys}
    return dict(sorted(found.items()))
