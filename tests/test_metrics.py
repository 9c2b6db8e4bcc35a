"""Metrics against scikit-learn and against plain counting, ties and one-class cases included."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from divsal_bench import metrics

#: Few distinct values, so that ties are common.
CASES = st.lists(st.tuples(st.integers(0, 1), st.integers(-3, 3)), min_size=2, max_size=30)


def arrays(case: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([label for label, _ in case]), np.array([score / 2 for _, score in case])


@given(CASES)
@settings(max_examples=100, deadline=None)
def test_auroc_counts_pairs_and_ties_one_half(case: list[tuple[int, int]]) -> None:
    labels, scores = arrays(case)
    pairs = [(p > n) + (p == n) / 2 for p in scores[labels == 1] for n in scores[labels == 0]]
    value = metrics.auroc(labels, scores)
    if not pairs:
        assert math.isnan(value)
        return
    assert value == pytest.approx(np.mean(pairs))
    assert value == pytest.approx(roc_auc_score(labels, scores))


def test_one_class_gives_nan_and_no_warning() -> None:
    for labels in (np.zeros(3, int), np.ones(3, int)):
        assert math.isnan(metrics.auroc(labels, np.arange(3.0)))
        assert math.isnan(metrics.average_precision(labels, np.arange(3.0)))


def test_a_nan_score_is_an_error_and_never_a_number() -> None:
    with pytest.raises(ValueError, match="NaN"):
        metrics.auroc(np.array([0, 1]), np.array([0.0, np.nan]))


@given(CASES, st.sampled_from([0.0, 0.01, 0.05, 0.2, 0.5, 1.0]))
@settings(max_examples=100, deadline=None)
def test_an_operating_point_is_the_lowest_threshold_that_keeps_its_rate(
    case: list[tuple[int, int]], rate: float
) -> None:
    labels, scores = arrays(case)
    if not (labels == 0).any():
        with pytest.raises(ValueError, match="negatives"):
            metrics.operating_point(labels, scores, rate)
        return
    negatives = scores[labels == 0]
    allowed = [t for t in [*np.unique(scores), np.inf] if np.mean(negatives >= t) <= rate + 1e-12]
    point = metrics.operating_point(labels, scores, rate)
    assert point.threshold == min(allowed)
    assert point.negatives == len(negatives)


def test_tied_negatives_cannot_hide_a_broken_rate() -> None:
    """An interpolated percentile would put the threshold on the tie and call all of them positive."""
    labels, scores = np.array([0] * 100 + [1]), np.array([0.0] * 90 + [1.0] * 10 + [1.0])
    point = metrics.operating_point(labels, scores, 0.05)
    assert metrics.rate_at(scores[labels == 0], point.threshold) <= 0.05
    assert point.threshold == np.inf


def test_species_count_apart_and_missed_attacks_are_below_the_threshold() -> None:
    scores = np.array([0.1, 0.9, 0.5, 0.5, 0.2])
    species = np.array(["print", "print", "lens", "lens", "lens"], object)
    assert metrics.species_apcer(scores, species, 0.5) == {"lens": pytest.approx(1 / 3), "print": 0.5}


@pytest.mark.parametrize(
    ("negatives", "positives", "expected"),
    [
        ([0.13, 0.26], [[0.08, 0.19, 0.34]], 0.5),  # between two points of the ROC curve
        ([0, 1], [[2, 3]], 0.0),
        ([2, 3], [[0, 1]], 1.0),
        ([0, 1, 2, 3], [[2, 3, 4, 5]], 0.25),
        ([1, 1, 1], [[1, 1, 1]], 0.5),
        ([0, 1, 2, 3], [[10, 11], [2, 3]], 1 / 3),  # the worse species decides
    ],
)
def test_equal_error_rate(negatives: list[float], positives: list[list[float]], expected: float) -> None:
    value = metrics.equal_error_rate(np.array(negatives, float), [np.array(p, float) for p in positives])
    assert value == pytest.approx(expected)


def test_equal_error_rate_of_an_empty_side_is_nan() -> None:
    assert math.isnan(metrics.equal_error_rate(np.array([]), [np.array([1.0])]))
    assert math.isnan(metrics.equal_error_rate(np.array([1.0]), []))


def test_calibration_error_of_calibrated_scores_is_small_and_of_overconfident_ones_is_not() -> None:
    g = np.random.default_rng(0)
    margins = g.normal(0, 2, 40_000)
    labels = (g.random(40_000) < 1 / (1 + np.exp(-margins))).astype(int)
    assert metrics.expected_calibration_error(labels, margins) < 0.01
    assert metrics.expected_calibration_error(labels, 5 * margins) > 0.1
    assert metrics.expected_calibration_error(np.array([1, 0]), np.array([100.0, -100.0])) == pytest.approx(0)


def test_saturated_probabilities_would_tie_where_margins_do_not() -> None:
    margins = np.array([40.0, 50.0, 60.0, 70.0])
    labels = np.array([0, 0, 1, 1])
    probabilities = (1 / (1 + np.exp(-margins))).astype(np.float32)
    assert metrics.auroc(labels, margins) == 1.0
    assert metrics.auroc(labels, probabilities.astype(float)) == 0.5
