"""Ids of each kind by hand, what is cut, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dataprep.errors import DataError
from pipeline.checkpoint.described import tokenizer_of
from pipeline.finetune.examples import Example
from pipeline.finetune.settings import Kind
from pipeline.finetune.transformations import Specials, Transformation

START, DELIMITER, EXTRACT = SPECIALS = Specials(900, 901, 902)


def example(*texts: str) -> Example:
    return Example(texts, "a", Path("set.tsv"), 3)


def transformation(pretrained: Path, kind: Kind, **more: Any) -> Transformation:
    tokenizer = tokenizer_of(pretrained)
    assert tokenizer is not None
    return Transformation(kind, tokenizer, SPECIALS, **{"length": 16, **more})


# The bytes of printable ASCII have the ids from 0, "!" first.
A, B, C, D = (ord(letter) - ord("!") for letter in "ABCD")
TABLE: list[tuple[Kind, tuple[str, ...], list[list[int]]]] = [
    ("classification", ("AB",), [[START, A, B, EXTRACT]]),
    ("entailment", ("AB", "C"), [[START, A, B, DELIMITER, C, EXTRACT]]),
    (
        "similarity",
        ("AB", "C"),
        [[START, A, B, DELIMITER, C, EXTRACT], [START, C, DELIMITER, A, B, EXTRACT]],
    ),
    (
        "multiple_choice",
        ("A", "B", "CD", "D"),
        [
            [START, A, DELIMITER, B, EXTRACT],
            [START, A, DELIMITER, C, D, EXTRACT],
            [START, A, DELIMITER, D, EXTRACT],
        ],
    ),
]


@pytest.mark.parametrize(("kind", "texts", "sequences"), TABLE, ids=[kind for kind, _, _ in TABLE])
def test_an_example_becomes_the_sequences_of_its_kind(
    pretrained: Path, kind: Kind, texts: tuple[str, ...], sequences: list[list[int]]
) -> None:
    assert transformation(pretrained, kind)(example(*texts)) == (sequences, 0)


def test_a_longer_text_loses_its_end_and_is_counted(pretrained: Path) -> None:
    (single,), cut = transformation(pretrained, "classification")(example("A" * 14 + "B" * 16))
    assert (single, cut) == ([START, *[A] * 14, EXTRACT], 1)
    (pair,), cut = transformation(pretrained, "entailment")(example("A" * 30, "B" * 7))
    assert (pair, cut) == ([START, *[A] * 6, DELIMITER, *[B] * 6, EXTRACT], 2), "n_ctx // 2 - 2 of each part"


def test_a_longer_text_is_refused_where_the_settings_want_it(pretrained: Path) -> None:
    refuse = transformation(pretrained, "classification", too_long="refuse")
    assert refuse(example("A" * 14))[1] == 0
    with pytest.raises(DataError, match=r"set\.tsv:3: text 1 has 15 tokens, and there is room for 14"):
        refuse(example("A" * 15))


def test_a_text_without_tokens_is_named(pretrained: Path) -> None:
    with pytest.raises(DataError, match=r"set\.tsv:3: text 2 is empty"):
        transformation(pretrained, "entailment")(example("A", ""))
