"""Labels as numbers for a loss, logits as predictions, and labels that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dataprep.errors import DataError
from pipeline.finetune.examples import Example
from pipeline.finetune.settings import Finetune
from pipeline.finetune.targets import Targets, targets_of


def examples(*labels: str | float) -> list[Example]:
    return [Example(("text",), label, Path("set.tsv"), row) for row, label in enumerate(labels, 1)]


def settings(**more: Any) -> Finetune:
    given = {"dir": "x", "init_from": "y", "kind": "classification", "train": "z", "metrics": ["accuracy"]}
    return Finetune.model_validate({**given, **more})


def test_a_grade_is_spread_over_its_neighbours_and_predicted_as_the_mean() -> None:
    targets = Targets("ordinal")
    gold = targets.gold(examples(0.0, 1.25, 4.5, 5.0))
    spread = targets.encode(gold)
    assert spread.tolist() == [
        [1, 0, 0, 0, 0, 0],
        [0, 0.75, 0.25, 0, 0, 0],
        [0, 0, 0, 0, 0.5, 0.5],
        [0, 0, 0, 0, 0, 1],
    ]
    predicted, _ = targets.predict(spread.clamp(min=1e-30).log())
    np.testing.assert_allclose(predicted, gold, atol=1e-6)


def test_classes_are_sorted_unless_they_are_named() -> None:
    assert targets_of(settings(), examples("b", "a", "b", "a")).labels == ("a", "b")
    named = targets_of(settings(labels=["b", "a"]), examples("b", "a", "b"))
    assert named.gold(examples("a", "b")).tolist() == [1, 0]
    predicted, probabilities = named.predict(torch.tensor([[0.0, 0.0], [0.0, np.log(3)]]))
    assert named.named(predicted) == ["b", "a"]
    assert probabilities is not None
    assert probabilities[1].tolist() == pytest.approx([0.25, 0.75])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (("a", "a"), r"set\.tsv:1: like all rows it has the label 'a'"),
        (("a", "b", "a", "b", "B"), r"set\.tsv:5: no other row has the label 'B'"),
    ],
)
def test_a_class_that_cannot_be_learned_is_named(labels: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        targets_of(settings(), examples(*labels))


def test_one_class_alone_is_refused_also_where_the_classes_are_named() -> None:
    with pytest.raises(DataError, match=r"set\.tsv:1: like all rows it has the label 'a'"):
        targets_of(settings(labels=["a", "b"]), examples("a", "a"))


@pytest.mark.parametrize("grade", [-0.5, 5.5])
def test_a_grade_beyond_the_scale_is_named(grade: float) -> None:
    with pytest.raises(DataError, match=r"set\.tsv:2: the label .* is not a grade of 0 to 5"):
        Targets("ordinal").gold(examples(1.0, grade))
