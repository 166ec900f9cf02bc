"""The keep rule: numpy's Pareto distribution, as a function of the doc_id."""

from __future__ import annotations

import numpy as np
import pytest

from dataprep.selection.pareto import keeps, pareto

IDS = [number.to_bytes(16, "little") for number in range(100_000)]


def ks_distance(one: np.ndarray, other: np.ndarray) -> float:
    """The largest distance between two empirical distribution functions (Kolmogorov and Smirnov)."""
    values = np.concatenate([one, other])
    cdfs = [np.searchsorted(np.sort(each), values, "right") / len(each) for each in (one, other)]
    return float(np.abs(cdfs[0] - cdfs[1]).max())


@pytest.mark.parametrize("alpha", [9, 2.5])
def test_draws_are_distributed_as_numpys(alpha: float) -> None:
    theirs = np.random.default_rng(1).pareto(alpha, len(IDS))
    critical = 1.95 * (2 / len(IDS)) ** 0.5  # at a significance of 0.001
    assert ks_distance(pareto(IDS, alpha), theirs) < critical
    assert ks_distance(pareto(IDS, alpha * 1.05), theirs) > critical


@pytest.mark.parametrize("score", [0.0, 0.5, 0.9, 0.99])
def test_as_many_are_kept_as_numpys_rule_keeps(score: float) -> None:
    kept = keeps(IDS, np.full(len(IDS), score), 9).mean()
    assert kept == pytest.approx((2 - score) ** -9, abs=0.005)
    assert kept == pytest.approx((np.random.default_rng(2).pareto(9, len(IDS)) > 1 - score).mean(), abs=0.007)


def test_a_verdict_depends_on_the_document_alone() -> None:
    scores = np.random.default_rng(3).random(1000)
    whole = keeps(IDS[:1000], scores, 9)
    order = np.random.default_rng(4).permutation(1000)
    parts = [keeps([IDS[row] for row in rows], scores[rows], 9) for rows in np.array_split(order, 7)]
    assert np.array_equal(np.concatenate(parts), whole[order])


def test_a_higher_score_never_loses_a_document() -> None:
    assert not (keeps(IDS, np.full(len(IDS), 0.3), 9) & ~keeps(IDS, np.full(len(IDS), 0.4), 9)).any()


def test_the_draw_of_a_document_does_not_change_between_versions() -> None:
    """A corpus that grows would select by two rules."""
    assert pareto(IDS[:4], 9) == pytest.approx(
        np.array([0.0398536219696326, 0.0536234364898388, 0.0999645834115847, 0.144387111193101]), rel=1e-12
    )
    assert keeps(IDS[:4], np.full(4, 0.923), 9).tolist() == [False, False, True, True]
