"""The measures equal scikit-learn's and scipy's, with ties and with constant sides."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.finetune.metrics import METRICS, score

CLASSES = st.integers(2, 4).flatmap(
    lambda n: st.tuples(
        st.just(n),
        st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), min_size=1, max_size=40),
    )
)
"""A number of classes, not all of which need occur, and pairs of them."""
GRADE = st.integers(0, 25).map(lambda fifths: fifths / 5)
GRADES = st.lists(st.tuples(GRADE, GRADE), min_size=2, max_size=40)
"""A grade of 0 to 5 in steps of 0.2: there are ties, and sides that are constant."""


@given(CLASSES)
def test_measures_of_classes_equal_scikit_learn_s(drawn: tuple[int, list[tuple[int, int]]]) -> None:
    import sklearn.metrics

    classes, pairs = drawn
    gold, predicted = np.array(pairs).T
    average = "binary" if classes == 2 else "macro"
    expected = {
        "accuracy": sklearn.metrics.accuracy_score(gold, predicted),
        "f1": sklearn.metrics.f1_score(gold, predicted, average=average, zero_division=0),
    }
    if len({*gold, *predicted}) > 1:
        expected["matthews"] = sklearn.metrics.matthews_corrcoef(gold, predicted)
    for name, value in expected.items():
        assert score(name, gold, predicted, classes) == pytest.approx(value, abs=1e-12), name


@given(GRADES)
def test_measures_of_grades_equal_scipy_s_and_are_0_where_it_has_no_number(
    pairs: list[tuple[float, float]],
) -> None:
    import scipy.stats

    gold, predicted = np.array(pairs).T
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", scipy.stats.ConstantInputWarning)
        expected = {
            "pearson": scipy.stats.pearsonr(gold, predicted).statistic,
            "spearman": scipy.stats.spearmanr(gold, predicted).statistic,
        }
    constant = 1 in (len({*gold}), len({*predicted}))
    for name, value in expected.items():
        assert np.isnan(value) == constant
        assert METRICS[name](gold, predicted) == pytest.approx(0 if constant else value, abs=1e-12), name


def test_one_class_alone_has_no_correlation() -> None:
    alone = np.zeros(3, dtype=np.int64)
    assert METRICS["matthews"](alone, alone) == 0
    assert METRICS["matthews"](np.array([0, 1, 1]), alone) == 0
