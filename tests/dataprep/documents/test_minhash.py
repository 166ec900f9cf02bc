"""Shingles and signatures."""

from __future__ import annotations

import numpy as np
import pytest
import xxhash

from dataprep.documents import minhash

RANDOM = np.random.default_rng(7)


def text_of(words: int) -> list[str]:
    return [f"w{n}" for n in RANDOM.integers(0, 10_000, words)]


def pair_of_similarity(share: float) -> tuple[minhash.U64, minhash.U64]:
    """Two sets of 1,000 shingles of which a share is common, so J = share / (2 - share)."""
    pool = np.sort(RANDOM.integers(0, 1 << 63, 2000).astype(np.uint64))
    common = int(1000 * share)
    return np.sort(pool[:1000]), np.sort(np.concatenate([pool[:common], pool[1000 : 2000 - common]]))


def test_signatures_estimate_jaccard_within_theory() -> None:
    errors = []
    for share in np.linspace(0.1, 0.98, 60):
        one, other = pair_of_similarity(float(share))
        true = minhash.jaccards(one, [other])[0]
        estimate = float(np.mean(minhash.signature(one) == minhash.signature(other)))
        errors.append(estimate - true)
    assert np.sqrt(np.mean(np.square(errors))) < 1.3 * 0.5 / np.sqrt(minhash.PERMUTATIONS)
    assert abs(np.mean(errors)) < 0.02


def test_twenty_bands_of_seven_rows_find_near_copies() -> None:
    found = 0
    for _ in range(100):
        one, other = pair_of_similarity(0.9)  # J = 0.82
        signatures = np.stack([minhash.signature(one), minhash.signature(other)])
        found += any(len(set(minhash.bucket(signatures, band, 7).tolist())) == 1 for band in range(20))
    assert found >= 98


def test_order_of_words_matters_and_repeats_do_not() -> None:
    words = text_of(50)
    assert minhash.jaccards(minhash.shingles(words), [minhash.shingles(words[::-1])]) == 0
    twice = minhash.shingles(words + words)
    assert len(twice) <= len(minhash.shingles(words)) + minhash.GRAM - 1


@pytest.mark.parametrize("count", range(minhash.GRAM))
def test_a_short_text_has_no_grams_and_is_like_nothing(count: int) -> None:
    short = minhash.shingles(text_of(count))
    assert len(short) == 0
    assert minhash.jaccards(short, [short]) == 0.0


def test_unspaced_scripts_are_cut_into_characters() -> None:
    assert len(minhash.shingles(minhash.words("東京都は日本の首都です"))) == 7


def test_the_signature_of_a_text_never_changes() -> None:
    grams = minhash.shingles(minhash.words("the quick brown fox jumps over the lazy dog again and again"))
    assert xxhash.xxh3_64_hexdigest(minhash.signature(grams).tobytes()) == "61d6adb629780a30"
