"""AUROCs and influence values against plain double loops and the published variance formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divsal_bench.leaderboard.statistics.placements import Condition, clustered_influence

pytestmark = pytest.mark.fast

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def psi(x: float, y: float) -> float:
    return 1.0 if x > y else 0.5 if x == y else 0.0


def slow_auroc(scores: Floats, condition: Condition) -> float:
    x, y = scores[condition.positives], scores[condition.negatives]
    return sum(psi(a, b) for a in x for b in y) / (len(x) * len(y))


def slow_influence(scores: Floats, conditions: list[Condition], subjects: npt.NDArray[Any]) -> Floats:
    """Section 9's formula for one run, read aloud."""
    total = []
    for k in sorted(set(subjects.tolist())):
        value = 0.0
        for condition in conditions:
            x, y = scores[condition.positives], scores[condition.negatives]
            theta = slow_auroc(scores, condition)
            m1 = len(set(subjects[condition.positives].tolist()))
            m0 = len(set(subjects[condition.negatives].tolist()))
            for i in range(len(scores)):
                if subjects[i] == k and condition.positives[i]:
                    v10 = sum(psi(scores[i], other) for other in y) / len(y)
                    value += (v10 - theta) / len(x) * (m1 / (m1 - 1)) ** 0.5 / len(conditions)
                if subjects[i] == k and condition.negatives[i]:
                    v01 = sum(psi(other, scores[i]) for other in x) / len(x)
                    value += (v01 - theta) / len(y) * (m0 / (m0 - 1)) ** 0.5 / len(conditions)
        total.append(value)
    return np.array(total)


def delong_covariance(scores: Floats, labels: Bools) -> Floats:
    """DeLong 1988, equations 4-6: covariance of the AUROCs of (R, N) scores, from all pairs of rows."""
    x, y = scores[:, labels], scores[:, ~labels]
    kernel = (x[:, :, None] > y[:, None, :]) + 0.5 * (x[:, :, None] == y[:, None, :])
    return np.asarray(
        np.cov(kernel.mean(axis=2)) / x.shape[1] + np.cov(kernel.mean(axis=1)) / y.shape[1], dtype=np.float64
    )


def obuchowski_variance(scores: Floats, labels: Bools, subjects: npt.NDArray[Any]) -> float:
    """Obuchowski 1997: variance of one clustered AUROC from S10, S01 and S11."""
    x, y = scores[labels], scores[~labels]
    kernel = (x[:, None] > y[None, :]) + 0.5 * (x[:, None] == y[None, :])
    theta = kernel.mean()
    keys = sorted(set(subjects.tolist()))
    of_x = [kernel.mean(axis=1)[subjects[labels] == k] for k in keys]
    of_y = [kernel.mean(axis=0)[subjects[~labels] == k] for k in keys]
    dev_x = np.array([part.sum() - len(part) * theta for part in of_x])
    dev_y = np.array([part.sum() - len(part) * theta for part in of_y])
    i10, i01, i = sum(len(part) > 0 for part in of_x), sum(len(part) > 0 for part in of_y), len(keys)
    s10 = i10 / ((i10 - 1) * len(x)) * (dev_x**2).sum()
    s01 = i01 / ((i01 - 1) * len(y)) * (dev_y**2).sum()
    s11 = i / (i - 1) * (dev_x * dev_y).sum()
    return float(s10 / len(x) + s01 / len(y) + 2 * s11 / (len(x) * len(y)))


@st.composite
def boards(draw: st.DrawFn) -> tuple[Floats, list[Condition], npt.NDArray[Any]]:
    """Few levels of score (ties), conditions that share negatives, subjects with one or several rows."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    n, levels = draw(st.integers(8, 24)), draw(st.sampled_from([2, 5, 1000]))
    scores = rng.integers(0, levels, size=(3, n)).astype(float)
    subjects = np.array([f"s{k}" for k in rng.integers(0, draw(st.integers(3, n)), size=n)])
    group = rng.integers(0, 4, size=n)
    group[:4], group[4:8] = np.arange(4), np.arange(4)
    subjects[:8] = [f"t{k}" for k in range(8)]  # at least two subjects of either class in every condition
    shared = Condition("species", group == 0, (group == 2) | (group == 3))
    return scores, [shared, Condition("source", group == 1, group == 3)], subjects


@settings(max_examples=60, deadline=None)
@given(boards())
def test_equals_the_double_loop(board: tuple[Floats, list[Condition], npt.NDArray[Any]]) -> None:
    scores, conditions, subjects = board
    found = clustered_influence(scores, conditions, subjects)
    expected = [[slow_auroc(row, condition) for condition in conditions] for row in scores]
    np.testing.assert_allclose(found.auroc, expected, atol=1e-12)
    np.testing.assert_allclose(found.primary, np.mean(expected, axis=1), atol=1e-12)
    np.testing.assert_allclose(
        found.influence, [slow_influence(row, conditions, subjects) for row in scores], atol=1e-12
    )
    assert found.subjects.tolist() == sorted(set(subjects.tolist()))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([2, 4, 1000]))
def test_one_row_per_subject_is_delong(seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, size=(4, 30)).astype(float)
    labels = np.arange(30) % 3 == 0
    found = clustered_influence(scores, [Condition("all", labels, ~labels)], rng.permutation(30))
    np.testing.assert_allclose(found.influence @ found.influence.T, delong_covariance(scores, labels), atol=1e-12)


@pytest.mark.parametrize("design", ["one class per subject", "both classes in every subject"])
def test_clusters_are_obuchowski(design: str) -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        rows = np.repeat(np.arange(12), 2 + rng.integers(0, 4, size=12))
        first = np.r_[True, rows[1:] != rows[:-1]]
        labels = rows < 5 if design == "one class per subject" else first
        scores = np.round(labels + rng.normal(size=12)[rows] + rng.normal(size=len(rows)), 1)
        found = clustered_influence(scores[None], [Condition("all", labels, ~labels)], rows)
        expected = obuchowski_variance(scores, labels, rows)
        assert (found.influence**2).sum() == pytest.approx(expected, rel=1e-9)


def test_ignoring_the_clusters_understates_the_variance() -> None:
    rng = np.random.default_rng(1)
    subjects = np.repeat(np.arange(40), 10)
    labels = subjects < 20
    scores = (labels + rng.normal(size=40)[subjects] + 0.1 * rng.normal(size=400))[None]
    conditions = [Condition("all", labels, ~labels)]
    clustered = (clustered_influence(scores, conditions, subjects).influence ** 2).sum()
    separate = (clustered_influence(scores, conditions, np.arange(400)).influence ** 2).sum()
    assert clustered > 5 * separate


def test_shared_negatives_are_added_before_squaring() -> None:
    rng = np.random.default_rng(2)
    scores = rng.normal(size=(1, 40))
    negatives, one, two = np.arange(40) < 20, np.arange(40) // 10 == 2, np.arange(40) // 10 == 3
    conditions = [Condition("one", one, negatives), Condition("two", two, negatives)]
    subjects = np.arange(40)
    both = clustered_influence(scores, conditions, subjects).influence
    alone = [clustered_influence(scores, [condition], subjects).influence for condition in conditions]
    np.testing.assert_allclose(both, (alone[0] + alone[1]) / 2, atol=1e-15)
    # The covariance through the shared negatives is really there, and positive.
    assert (both**2).sum() > ((alone[0] / 2) ** 2 + (alone[1] / 2) ** 2).sum() + 1e-6


@settings(max_examples=30, deadline=None)
@given(boards())
def test_invariances(board: tuple[Floats, list[Condition], npt.NDArray[Any]]) -> None:
    scores, conditions, subjects = board
    found = clustered_influence(scores, conditions, subjects)
    monotone = clustered_influence(np.exp(scores / 500.0), conditions, subjects)
    np.testing.assert_array_equal(monotone.influence, found.influence)
    flipped = clustered_influence(-scores, conditions, subjects)
    np.testing.assert_allclose(flipped.primary, 1 - found.primary, atol=1e-12)
    np.testing.assert_allclose(flipped.influence, -found.influence, atol=1e-12)
    order = np.random.default_rng(0).permutation(len(subjects))
    moved = [Condition(c.name, c.positives[order], c.negatives[order]) for c in conditions]
    np.testing.assert_allclose(
        clustered_influence(scores[:, order], moved, subjects[order]).influence, found.influence, atol=1e-12
    )


def test_equally_good_orderings_have_the_identical_auroc() -> None:
    # Equal differences must be exactly 0: 7 positives and 11 negatives make shares that binary cannot hold.
    rng = np.random.default_rng(0)
    labels = np.arange(18) < 7
    scores = np.array([rng.permutation(18) for _ in range(400)], dtype=float)
    found = clustered_influence(scores, [Condition("all", labels, ~labels)], np.arange(18)).primary
    assert len(set(found.tolist())) == len(set(np.round(found * 77).tolist())) > 10


def test_infinite_scores_are_ordered_like_any_other() -> None:
    labels = np.array([True, True, False, False])
    found = clustered_influence(
        np.array([[np.inf, 0.0, -np.inf, np.inf]]), [Condition("all", labels, ~labels)], np.arange(4)
    )
    assert found.auroc[0, 0] == 0.625


def test_one_subject_in_a_class_leaves_the_influence_unknown() -> None:
    labels = np.array([True, True, False, False, False])
    scores = np.array([[3.0, 1.0, 2.0, 0.0, 0.5]])
    found = clustered_influence(scores, [Condition("all", labels, ~labels)], np.array([0, 0, 1, 2, 3]))
    assert found.primary[0] == pytest.approx(5 / 6)
    assert np.isnan(found.influence).all()
    assert not np.isnan(
        clustered_influence(scores, [Condition("all", labels, ~labels)], np.array([0, 4, 1, 2, 3])).influence
    ).any()


def test_bad_input_is_refused_by_name() -> None:
    scores, labels, subjects = np.zeros((1, 4)), np.array([True, True, False, False]), np.arange(4)
    good = Condition("good", labels, ~labels)
    with pytest.raises(ValueError, match="NaN"):
        clustered_influence(np.array([[1.0, np.nan, 0.0, 2.0]]), [good], subjects)
    with pytest.raises(ValueError, match=r"'empty'.*one class"):
        clustered_influence(scores, [good, Condition("empty", labels, np.zeros(4, bool))], subjects)
    with pytest.raises(ValueError, match=r"'both'.*both positive and negative"):
        clustered_influence(scores, [Condition("both", labels, np.ones(4, bool))], subjects)
    rows: Any = np.array([0, 1, 2, 3])
    with pytest.raises(ValueError, match=r"'numbers'.*boolean"):
        clustered_influence(scores, [Condition("numbers", rows, ~labels)], subjects)
    with pytest.raises(ValueError, match="no condition"):
        clustered_influence(scores, [], subjects)
    with pytest.raises(ValueError, match="must be"):
        clustered_influence(scores, [good], subjects[:3])
