"""A text as hashed token counts: Spark's Tokenizer and HashingTF, which GPT-3's classifier used.

Tokens are what white space separates, in lower case. Each falls into one of 2^18 buckets by its xxh3_64. A
text's counts are scaled to unit length, so that a long text is no surer than a short one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import xxhash

VERSION = 1
"""Stands in every model; a change of tokens, hashes or scale raises it."""
BUCKETS = 1 << 18


@dataclass(frozen=True)
class Features:
    """One text: (k,) int32 buckets in order, and (k,) float32 weights of unit length."""

    buckets: npt.NDArray[np.int32]
    weights: npt.NDArray[np.float32]


def features(text: str) -> Features:
    """The features of a text; none for one without tokens."""
    tokens = Counter(text.lower().split())
    hashed = np.fromiter(map(_bucket, tokens), np.int32, len(tokens))
    buckets, places = np.unique(hashed, return_inverse=True)
    weights = np.bincount(places, np.fromiter(tokens.values(), np.float64, len(tokens)))
    length = max(float(np.linalg.norm(weights)), 1.0)
    return Features(buckets, (weights / length).astype(np.float32))


def logits(
    batch: Sequence[Features], weights: npt.NDArray[np.float32], bias: float
) -> npt.NDArray[np.float64]:
    """(n,) log odds of n texts; weights: (BUCKETS,)."""
    terms = [weights[text.buckets].astype(np.float64) @ text.weights for text in batch]
    return np.array(terms, np.float64) + bias


@lru_cache(maxsize=1 << 17)
def _bucket(token: str) -> int:
    return xxhash.xxh3_64_intdigest(token.encode("utf-8", "replace")) & (BUCKETS - 1)
