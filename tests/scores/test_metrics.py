"""Metrics against scikit-learn and against plain counting, ties and one-class cases included."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from divsal_bench.scores import metrics

pytestmark = pytest.mark.fast

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
        # Interpolated along the larger miss rate of both it was .67, although either species has .5.
        ([2, 2, 2], [[1, 3], [2]], 0.5),
    ],
)
def test_equal_error_rates(negatives: list[float], positives: list[list[float]], expected: float) -> None:
    attacks = [np.array(p, float) for p in positives]
    assert metrics.detection_equal_error_rate(np.array(negatives, float), attacks) == pytest.approx(expected)
    if len(attacks) == 1:
        assert metrics.equal_error_rate(np.array(negatives, float), attacks[0]) == pytest.approx(expected)


def test_equal_error_rate_of_an_empty_side_is_nan() -> None:
    one, none = np.array([1.0]), np.array([])
    for negatives, positives in ((none, one), (one, none)):
        assert math.isnan(metrics.equal_error_rate(negatives, positives))
        assert math.isnan(metrics.detection_equal_error_rate(negatives, [one, positives]))
    assert math.isnan(metrics.detection_equal_error_rate(one, []))


def test_calibration_error_of_calibrated_scores_is_small_and_of_overconfident_ones_is_not() -> None:
    g = np.random.default_rng(0)
    margins = g.normal(0, 2, 40_000)
    labels = (g.random(40_000) < 1 / (1 + np.exp(-margins))).astype(int)
    assert metrics.expected_calibration_error(labels, margins) < 0.01
    assert metrics.expected_calibration_error(labels, 5 * margins) > 0.1
    assert metrics.expected_calibration_error(np.array([1, 0]), np.array([100.0, -100.0])) == pytest.approx(0)


def slow_auroc(labels: np.ndarray, scores: np.ndarray) -> float:
    pairs = [(p > n) + (p == n) / 2 for p in scores[labels == 1] for n in scores[labels == 0]]
    return float(np.mean(pairs)) if pairs else math.nan


def slow_average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """Precision at every threshold, weighted by the recall that it adds."""
    if len(set(labels)) < 2:
        return math.nan
    total, recall = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        called = labels[scores >= threshold]
        now = called.sum() / labels.sum()
        total += called.mean() * (now - recall)
        recall = now
    return total


def slow_equal_error_rate(negatives: np.ndarray, positives: np.ndarray) -> float:
    """Walk along the ROC curve until misses reach false positives."""
    if len(negatives) == 0 or len(positives) == 0:
        return math.nan
    before = (1.0, 0.0)
    for threshold in [*sorted({*negatives, *positives}), np.inf]:
        false, missed = float(np.mean(negatives >= threshold)), float(np.mean(positives < threshold))
        if missed >= false:
            gap, earlier = missed - false, before[1] - before[0]
            return missed if gap == earlier else before[1] + (missed - before[1]) * -earlier / (gap - earlier)
        before = (false, missed)
    raise AssertionError("at an infinite threshold everything is missed")


def slow_calibration_error(labels: np.ndarray, margins: np.ndarray, bins: int = 15) -> float:
    """Sort, cut, compare; each row stands for the mean label of all rows with its margin."""
    if len(labels) == 0:
        return math.nan
    rows = sorted(
        (margin, np.mean([b for a, b in zip(margins, labels, strict=True) if a == margin])) for margin in margins
    )
    sizes = [len(part) for part in np.array_split(range(len(rows)), min(bins, len(rows)))]
    total, start = 0.0, 0
    for size in sizes:
        part = rows[start : start + size]
        said = np.mean([1 / (1 + math.exp(-margin)) for margin, _ in part])
        total += abs(said - np.mean([label for _, label in part])) * size
        start += size
    return total / len(rows)


def by_species(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Negatives, and positives of two species that differ by where their scores lie."""
    positives = scores[labels == 1]
    parts = [positives[positives < 0.5], positives[positives >= 0.5]]
    return scores[labels == 0], [part for part in parts if len(part)]


def slow_detection_rate(labels: np.ndarray, scores: np.ndarray) -> float:
    negatives, species = by_species(labels, scores)
    return max((slow_equal_error_rate(negatives, one) for one in species), default=math.nan)


#: Every metric of labels and scores, and the plain way to the same number.
METRICS = {
    "auroc": (metrics.auroc, slow_auroc),
    "ap": (metrics.average_precision, slow_average_precision),
    "eer": (
        lambda labels, scores: metrics.equal_error_rate(scores[labels == 0], scores[labels == 1]),
        lambda labels, scores: slow_equal_error_rate(scores[labels == 0], scores[labels == 1]),
    ),
    "d-eer": (
        lambda labels, scores: metrics.detection_equal_error_rate(*by_species(labels, scores)), slow_detection_rate
    ),
    "ece": (metrics.expected_calibration_error, slow_calibration_error),
    "ece of 3 bins": (
        lambda labels, scores: metrics.expected_calibration_error(labels, scores, 3),
        lambda labels, scores: slow_calibration_error(labels, scores, 3),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", METRICS)
@given(CASES, st.randoms(use_true_random=False))
@settings(max_examples=80, deadline=None)
def test_every_metric_is_what_plain_counting_gives_in_any_order_of_rows(
    name: str, case: list[tuple[int, int]], random: random.Random
) -> None:
    fast, slow = METRICS[name]
    value = fast(*arrays(case))
    assert value == pytest.approx(slow(*arrays(case)), nan_ok=True)
    shuffled = list(case)
    random.shuffle(shuffled)
    again = fast(*arrays(shuffled))
    assert again == value or (math.isnan(again) and math.isnan(value)), "to the last bit"


@given(CASES, st.sampled_from([0.0, 0.05, 0.5]), st.randoms(use_true_random=False))
@settings(max_examples=80, deadline=None)
def test_rates_and_thresholds_do_not_depend_on_the_order_of_rows(
    case: list[tuple[int, int]], rate: float, random: random.Random
) -> None:
    shuffled = list(case)
    random.shuffle(shuffled)
    found = []
    for rows in (case, shuffled):
        labels, scores = arrays(rows)
        species = np.array(["even" if round(2 * score) % 2 == 0 else "odd" for score in scores], object)
        apcer = metrics.species_apcer(scores[labels == 1], species[labels == 1], 0.5)
        point = metrics.operating_point(labels, scores, rate) if (labels == 0).any() else None
        found.append((apcer, metrics.rate_at(scores, 0.5), point))
    assert found[0] == found[1]
    labels, scores = arrays(case)
    for name, missed in found[0][0].items():
        own = [s for s in scores[labels == 1] if (round(2 * s) % 2 == 0) == (name == "even")]
        assert missed == pytest.approx(sum(s < 0.5 for s in own) / len(own))


def test_one_probability_for_all_rows_is_as_wrong_as_its_distance_from_the_prevalence() -> None:
    """What a scanner's blank pictures give: the order of the rows once made it 0 or .5."""
    for labels in (np.repeat([0, 1], 60), np.tile([0, 1], 60), np.repeat([1, 0], 60)):
        assert metrics.expected_calibration_error(labels, np.zeros(120)) == 0
        assert metrics.expected_calibration_error(labels, np.full(120, math.log(3))) == pytest.approx(0.25)


@given(CASES)
@settings(max_examples=80, deadline=None)
def test_the_error_rate_of_the_worst_species_is_that_of_one_species(case: list[tuple[int, int]]) -> None:
    negatives, species = by_species(*arrays(case))
    value = metrics.detection_equal_error_rate(negatives, species)
    rates = [metrics.equal_error_rate(negatives, one) for one in species]
    assert value in rates or math.isnan(value)


def test_saturated_probabilities_would_tie_where_margins_do_not() -> None:
    margins = np.array([40.0, 50.0, 60.0, 70.0])
    labels = np.array([0, 0, 1, 1])
    probabilities = (1 / (1 + np.exp(-margins))).astype(np.float32)
    assert metrics.auroc(labels, margins) == 1.0
    assert metrics.auroc(labels, probabilities.astype(float)) == 0.5
