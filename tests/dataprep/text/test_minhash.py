"""Shingles and signatures."""

from __future__ import annotations

import re
import unicodedata

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from dataprep.text import minhash

minhash.shingles("é")  # makes the table of letters, which is no example's time
RANDOM = np.random.default_rng(7)


def text_of(words: int) -> str:
    return " ".join(f"w{n}" for n in RANDOM.integers(0, 10_000, words))


def words_by_hand(text: str) -> list[str]:
    """The rule of words once more, a character at a time."""
    words, inside = [], False
    for character in text:
        if unicodedata.category(character)[0] not in "LMN":
            inside = False
        elif re.match(f"[{minhash.UNSPACED}]", character):
            words.append(character)
            inside = False
        else:
            words[len(words) - inside :] = [(words[-1] if inside else "") + character.lower()[0]]
            inside = True
    return words


def grams_by_hand(text: str) -> set[tuple[str, ...]]:
    words = words_by_hand(text)
    return {tuple(words[place : place + 5]) for place in range(len(words) - 4)}


def pair_of_similarity(share: float, size: int = 1000) -> tuple[minhash.U64, minhash.U64]:
    """Two sets of shingles of which a share is common, so J = share / (2 - share)."""
    pool = RANDOM.integers(0, 1 << 63, 2 * size).astype(np.uint64) * np.uint64(2)
    common = round(size * share)
    return np.sort(pool[:size]), np.sort(np.concatenate([pool[:common], pool[size : 2 * size - common]]))


@given(st.lists(st.text("aB é.ß_İΣς7漢字かกำनम्स्ते𠀀\U0001f600\n", max_size=30)))
def test_shingles_are_the_five_word_runs(texts: list[str]) -> None:
    sets = [minhash.shingles(text) for text in texts]
    by_hand = [grams_by_hand(text) for text in texts]
    assert [len(grams) for grams in sets] == [len(grams) for grams in by_hand]
    if texts:
        expected = [len(by_hand[0] & each) / max(len(by_hand[0] | each), 1) for each in by_hand]
        assert minhash.jaccards(sets[0], sets).tolist() == expected


def test_a_text_has_the_same_shingles_and_signature_alone_and_among_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts = [text_of(words) for words in (400, 0, 3, 5, 6, 40, 200)] + [
        "",
        "é " * 9,
        "東京都は日本の首都です",
        "!",
    ]
    alone = [minhash.shingles(text) for text in texts]
    for size in (1, 60, 700, 1 << 20):
        monkeypatch.setattr(minhash, "BATCH_BYTES", size)
        together, sketches = list(minhash.shingle_sets(texts)), list(minhash.sketches(texts))
        assert [each.tolist() for each in together] == [each.tolist() for each in alone]
        assert [number for number, _ in sketches] == [len(each) for each in alone]
        assert all(np.array_equal(minhash.signature(alone[n]), sketches[n][1]) for n in range(len(texts)))


def test_a_word_of_plain_letters_has_one_hash_whatever_letters_others_have() -> None:
    text = text_of(400).upper()
    assert np.array_equal(minhash.shingles(text), minhash.shingles(f"\U0001f600 {text}"))
    accented = minhash.shingles(f"{text} é")
    assert len(np.setdiff1d(accented, minhash.shingles(text))) == 1


@pytest.mark.parametrize("length", [*range(1, 35), 1000])
@pytest.mark.parametrize("letter", "aé")
def test_every_letter_of_a_word_counts(length: int, letter: str) -> None:
    words = [letter * length] + [
        letter * place + "x" + letter * (length - place - 1) for place in range(length)
    ]
    words += [letter * (length + 1)]
    sets = [minhash.shingles(f"one two three four {word}").tolist() for word in words]
    assert len({tuple(each) for each in sets}) == len(words)


@pytest.mark.parametrize("size", [30, 300, 3000])
def test_signatures_estimate_jaccard_within_theory(size: int) -> None:
    errors = []
    for share in np.linspace(0.1, 0.98, 100):
        one, other = pair_of_similarity(float(share), size)
        true = minhash.jaccards(one, [other])[0]
        estimate = float(np.mean(minhash.signature(one) == minhash.signature(other)))
        errors.append((estimate - true) / np.sqrt(true * (1 - true) / minhash.PERMUTATIONS))
    assert np.sqrt(np.mean(np.square(errors))) < 1.25
    assert abs(np.mean(errors)) < 0.4


def test_order_of_words_matters_and_repeats_do_not() -> None:
    words = text_of(50).split()
    text, backwards = " ".join(words), " ".join(words[::-1])
    assert minhash.jaccards(minhash.shingles(text), [minhash.shingles(backwards)]) == 0
    twice = minhash.shingles(f"{text} {text}")
    assert len(twice) <= len(minhash.shingles(text)) + minhash.GRAM - 1


@pytest.mark.parametrize("count", range(minhash.GRAM))
def test_a_short_text_has_no_shingles_and_is_like_nothing(count: int) -> None:
    short = minhash.shingles(text_of(count))
    assert len(short) == 0
    assert minhash.jaccards(short, [short, minhash.shingles(text_of(9))]).tolist() == [0, 0]


def test_unspaced_scripts_are_cut_into_characters() -> None:
    assert len(minhash.shingles("東京都は日本の首都です")) == 7
    assert len(minhash.shingles("สวัสดีชาวโลก")) == 8
    assert len(minhash.shingles("नमस्ते दुनिया")) == 0  # two words, their vowel signs within


def test_the_signature_of_a_text_never_changes() -> None:
    shingles = minhash.shingles("The quick brown fox jumps over the lazy dog, again and again: 東京都は!")
    assert xxhash.xxh3_64_hexdigest(minhash.signature(shingles).tobytes()) == "e8da13fd0a306f64"
