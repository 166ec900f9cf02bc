"""GPT-3's keep rule (Brown et al. 2020, appendix A): np.random.pareto(alpha) > 1 - score, without chance.

Most documents that score high are kept, and a few that score low. The draw is a function of the doc_id: every
run, partition and increment decides alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import xxhash

KEY = 0x9A9E70
"""Seed of the hash, of this rule alone: no other choice by doc_id goes with it."""


def pareto(doc_ids: Sequence[bytes], alpha: float) -> npt.NDArray[np.float64]:
    """(n,) draws from numpy's Pareto II (Lomax) distribution: P(draw > x) = (1 + x)^-alpha."""
    hashes = np.array([xxhash.xxh3_64_intdigest(doc_id, KEY) for doc_id in doc_ids], np.uint64)
    uniform = ((hashes >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53
    return np.expm1(-np.log(uniform) / alpha)


def keeps(doc_ids: Sequence[bytes], scores: npt.NDArray[np.float64], alpha: float) -> npt.NDArray[np.bool_]:
    """Which documents stay, given the scores of their quality."""
    return pareto(doc_ids, alpha) > 1 - scores
