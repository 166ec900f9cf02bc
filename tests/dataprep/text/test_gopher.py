"""Gopher's repetition measures equal their definitions, word by word."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dataprep.text import c4, fineweb, gopher

TEXTS = st.one_of(
    st.lists(st.sampled_from(["a", "bc", "the", "x.", "#", "-"]), max_size=60).map(" ".join),
    st.lists(st.sampled_from(["a b", "•  c", "d...", "", " ", "{e} f.", "[1]. g h"]), max_size=20).map(
        "\n".join
    ),
    st.text(alphabet="ab .\n…", max_size=80),
)


def top_gram(words: list[str], n: int) -> int:
    """Characters in all occurrences of the most frequent n-gram, of the first of several."""
    grams = [" ".join(words[place : place + n]) for place in range(len(words) - n + 1)]
    return max((len(gram) * count for gram, count in Counter(grams).most_common(1)), default=0)


def duplicate_grams(words: list[str], n: int) -> int:
    """Characters of n-grams that were seen before, left to right, each stepped over."""
    seen, total, place = set(), 0, 0
    while place + n <= len(words):
        gram = tuple(words[place : place + n])
        if gram in seen:
            total += sum(map(len, gram))
            place += n
        else:
            seen.add(gram)
            place += 1
    return total


@given(TEXTS)
@example("a b c d e f a b c d e f a b c d e f")
@example("a a a a a a a a a a a a a a a a a a a a a a a")
def test_repeated_grams_are_what_a_plain_count_finds(text: str) -> None:
    words = text.split()
    found = gopher.measure(text, words)
    for n in gopher.TOP:
        assert found[f"gopher_top_{n}_gram"] == pytest.approx(top_gram(words, n) / max(len(text), 1))
    for n in gopher.DUPLICATE:
        assert found[f"gopher_duplicate_{n}_grams"] == pytest.approx(
            duplicate_grams(words, n) / max(len(text), 1)
        )


@given(TEXTS)
def test_lines_and_paragraphs_are_what_newlines_separate(text: str) -> None:
    assert gopher.lines(text) == re.split(r"\n+", text)
    assert gopher.paragraphs(text) == re.split(r"\n{2,}", text.strip())


@given(TEXTS)
def test_every_measure_is_there_and_every_share_within_bounds(text: str) -> None:
    words = text.split()
    found = {**gopher.measure(text, words), **c4.measure(text), **fineweb.measure(text, words)}
    assert list(found) == [name for name, _ in [*gopher.COLUMNS, *c4.COLUMNS, *fineweb.COLUMNS]]
    shares = [name for name in found if re.search("duplicate|_lines$|alphabetic", name)]
    assert all(0 <= found[name] <= 1 for name in shares), found


@given(TEXTS)
def test_c4s_loose_counts_hold_the_strict_ones(text: str) -> None:
    found = c4.measure(text)
    for name in ("lorem_ipsum", "curly_brackets", "sentences", "lines"):
        assert found[f"c4_{name}"] <= found[f"c4_any_end_{name}"]
