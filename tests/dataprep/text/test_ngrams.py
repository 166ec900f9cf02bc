"""Words and n-grams in bulk are what a plain loop over each text makes of it."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataprep.text import ngrams
from dataprep.text.ngrams import Grams, words

TEXTS = st.lists(
    st.text(st.sampled_from("aAbB éÉ.,'-\n\t\u00a0ß漢字ไ𝒳\u00ad\u0301"), max_size=60), max_size=6
)


def plainly(text: str) -> list[tuple[str, int, int]]:
    """The words of a text with their places, by the paper's rule."""
    found: list[tuple[str, int, int]] = []
    open_word = False
    for place, character in enumerate(text):
        if character.isspace():
            open_word = False
        elif unicodedata.category(character)[0] in "LNM":
            lower = character.lower() if len(character.lower()) == 1 else character
            if character in "漢字ไ":
                found.append((lower, place, place + 1))
                open_word = False
            elif open_word:
                word, start, _ = found[-1]
                found[-1] = (word + lower, start, place + 1)
            else:
                found.append((lower, place, place + 1))
                open_word = True
    return found


def spelled(found: ngrams.Words) -> list[str]:
    return ["".join(map(chr, found.letters[a:b])) for a, b in pairwise(found.bounds)]


@given(TEXTS)
def test_words_in_bulk_are_those_of_a_loop(texts: list[str]) -> None:
    found = words(texts)
    expected = [(number, *word) for number, text in enumerate(texts) for word in plainly(text)]
    rows = zip(found.texts.tolist(), spelled(found), found.starts.tolist(), found.ends.tolist(), strict=True)
    assert list(rows) == expected


@given(TEXTS, TEXTS, st.integers(1, 4))
def test_occurrences_are_those_of_a_loop(collection: list[str], texts: list[str], n: int) -> None:
    def runs(text: str) -> list[tuple[str, ...]]:
        listed = [word for word, _, _ in plainly(text)]
        return [tuple(listed[at : at + n]) for at in range(len(listed) - n + 1)]

    known = {run for text in collection for run in runs(text)}
    table = Grams.of(words(collection), n)
    assert {tuple(table.text(number).split(" ")) for number in range(len(table))} == known
    found = words(texts)
    first, numbers = table.find(found)
    expected = [run for text in texts for run in runs(text) if run in known]
    assert [tuple(table.text(number).split(" ")) for number in numbers] == expected
    assert len(set(first.tolist())) == len(first)


@pytest.mark.parametrize("space", [" ", "\n", " . "])
def test_a_long_text_is_cut_into_slices_between_words(space: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = space.join(f"Word{n}" for n in range(2000)) + "x" * 500
    whole = words([text])
    monkeypatch.setattr(ngrams, "SLICE", 100)
    sliced = words([text])
    for name in ("letters", "bounds", "hashes", "texts", "starts", "ends"):
        assert np.array_equal(getattr(whole, name), getattr(sliced, name)), name


def test_a_gram_is_found_whatever_stands_between_its_words() -> None:
    table = Grams.of(words(["The quick, brown fox!"]), 4)
    first, _ = table.find(
        words(["(“the  QUICK”\n\n— brown fox", "thequick brown fox", "the quick brown box"])
    )
    assert first.tolist() == [0]


def test_grams_that_share_a_hash_are_told_apart_by_their_letters() -> None:
    collection = words(["one two", "three four", "five six"])
    clash = replace(collection, hashes=np.ones(6, np.uint64))
    table = Grams.of(clash, 2)
    assert len(table) == 3
    texts = replace(words(["three four five"]), hashes=np.ones(3, np.uint64))
    first, numbers = table.find(texts)
    assert [(int(at), table.text(number)) for at, number in zip(first, numbers, strict=True)] == [
        (0, "three four")
    ]


def test_a_stream_of_texts_comes_in_lists_of_bounded_size() -> None:
    texts = ["a" * 30_000, "b" * 40_000, "", "c" * 200_000, "d"]
    lists = list(ngrams.batches(texts))
    assert [text for _, batch in lists for text in batch] == texts
    assert [first for first, _ in lists] == [0, 1, 3, 4]


def test_nothing_is_found_by_nothing_and_in_nothing() -> None:
    nothing, something = words([]), words(["a b c", ""])
    assert len(Grams.of(nothing, 3)) == 0
    assert Grams.of(nothing, 3).find(something)[0].tolist() == []
    assert Grams.of(something, 3).find(nothing)[0].tolist() == []
    assert Grams.of(something, 4).find(something)[0].tolist() == []
