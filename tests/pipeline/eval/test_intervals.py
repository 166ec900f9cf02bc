"""Intervals agree with scipy's, hold the truth as often as they claim, and know units from documents."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.eval.intervals import RESAMPLES, difference, interval, resampled, value, wilson
from pipeline.eval.measures import MEASURES

ACC, PERPLEXITY = MEASURES["acc"], MEASURES["perplexity"]


def names(count: int) -> list[str]:
    return [f"d{n}" for n in range(count)]


@pytest.mark.parametrize(("right", "documents"), [(0, 5), (8, 10), (10, 10), (4599, 5153)])
def test_wilson_s_interval_is_scipy_s(right: int, documents: int) -> None:
    from scipy import stats

    theirs = stats.binomtest(right, documents).proportion_ci(method="wilson")
    ours = wilson(right, documents)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_the_bootstrap_s_interval_is_scipy_s() -> None:
    from scipy import stats

    numbers = np.random.default_rng(1).gamma(2, 3, size=(60, 2))

    def ratio(nats: np.ndarray, words: np.ndarray, axis: int) -> np.ndarray:
        return np.asarray(np.exp(nats.sum(axis) / words.sum(axis)))

    theirs = stats.bootstrap(
        (numbers[:, 0], numbers[:, 1]),
        ratio,
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=RESAMPLES,
        rng=0,
    )
    ours = interval(PERPLEXITY, numbers, names(60), seed=3)
    assert ours is not None
    expected = (theirs.confidence_interval.low, theirs.confidence_interval.high, theirs.standard_error)
    assert (ours.low, ours.high, ours.stderr) == pytest.approx(expected, rel=0.03)


def test_a_resample_has_as_many_units_as_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = resampled(np.ones((5, 1)), names(5), seed=0, resamples=300)
    assert drawn.ravel().tolist() == [5.0] * 300
    monkeypatch.setattr("pipeline.eval.intervals.MOST_UNITS", 2)
    joined = resampled(np.ones((5, 1)), names(5), seed=0, resamples=300)  # 3 and 2 of them
    assert {*joined.ravel()} == {4.0, 5.0, 6.0}


@pytest.mark.parametrize("size", [1, 4])
def test_95_of_100_intervals_hold_the_truth_of_documents_and_of_articles(size: int) -> None:
    """Articles of 4 documents that are right or wrong together; taken for independent, it is 3 of 5."""
    truth, articles, held = 0.7, 60, {"units": 0, "documents": 0}
    generator = np.random.default_rng(5)
    for seed in range(80):
        right = np.repeat(generator.random(articles) < truth, size)
        numbers = np.stack([right, np.ones(len(right))], axis=1).astype(float)
        units = {"units": [f"a{n // size}" for n in range(len(right))], "documents": names(len(right))}
        for of, named in units.items():
            # a plain mean is no proportion here, so that the bootstrap is put to the test
            drawn = resampled(numbers, named, seed, resamples=500)
            low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])
            held[of] += bool(low <= truth <= high)
    assert held["units"] / 80 >= 0.88
    assert size == 1 or held["documents"] / 80 < 0.8


def test_a_proportion_of_articles_is_not_wilson_s() -> None:
    numbers = np.array([[1.0, 1.0], [1, 1], [0, 1], [0, 1]] * 20)
    apart = interval(ACC, numbers, names(80), seed=0)
    together = interval(ACC, numbers, [f"a{n // 2}" for n in range(80)], seed=0)
    assert apart == wilson(40, 80)
    assert apart is not None
    assert together is not None
    assert together.stderr / apart.stderr == pytest.approx(2**0.5, rel=0.05)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    numbers = np.random.default_rng(1).random((50, 2))
    first, again, other = (interval(PERPLEXITY, numbers, names(50), seed) for seed in (1, 1, 2))
    assert first == again != other


def test_what_is_hard_for_both_runs_cancels_out_in_their_difference() -> None:
    generator = np.random.default_rng(2)
    hard = generator.normal(3, 1, size=200)
    first = np.stack([hard, np.ones(200)], axis=1)
    second = np.stack([hard - 0.01, np.ones(200)], axis=1)
    found = difference(PERPLEXITY, first, second, names(200), seed=0)
    alone = interval(PERPLEXITY, first, names(200), seed=0)
    assert found is not None
    assert alone is not None
    assert found.low > 0
    assert value(PERPLEXITY, second) < value(PERPLEXITY, first) < alone.high
    assert (alone.high - alone.low) > 20 * (found.high - found.low)


def test_one_unit_has_no_interval_and_no_document_has_no_value() -> None:
    assert interval(ACC, np.ones((3, 2)), ["a"] * 3, seed=0) is None
    assert difference(ACC, np.ones((3, 2)), np.ones((3, 2)), ["a"] * 3, seed=0) is None
    assert interval(ACC, np.zeros((3, 2)), names(3), seed=0) is None, "no document counts"
    assert np.isnan(value(ACC, np.empty((0, 2))))


@pytest.mark.slow(3)
def test_more_units_than_are_drawn_one_by_one_are_joined() -> None:
    numbers = np.stack([np.random.default_rng(0).normal(size=50_000), np.ones(50_000)], axis=1)
    drawn = resampled(numbers, names(50_000), seed=0, resamples=1000)
    assert (drawn[:, 0] / drawn[:, 1]).std() == pytest.approx(50_000**-0.5, rel=0.1)
