"""Cells over seeds and the plain effect sizes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from divsal_bench.leaderboard.statistics.over_seeds import cell_of, hedges_g, probability_of_superiority

pytestmark = pytest.mark.fast

aurocs = st.lists(st.integers(0, 20).map(lambda i: i / 20), min_size=1, max_size=8)


def test_cell_by_hand() -> None:
    found = cell_of(np.array([0.70, 0.80, 0.90]))
    assert (found.mean, found.sd, found.minimum, found.maximum) == pytest.approx((0.8, 0.1, 0.7, 0.9))
    assert found.n == 3
    # t(.975, 2) = 4.302653, so the half-width is 2.484 sd.
    assert found.high - found.mean == pytest.approx(0.4302653 / 3**0.5, abs=1e-7)
    assert found.mean - found.low == pytest.approx(0.4302653 / 3**0.5, abs=1e-7)


@given(st.integers(0, 10**6), st.integers(2, 10))
def test_cell_equals_scipy(seed: int, n: int) -> None:
    values = np.random.default_rng(seed).normal(size=n)
    found = cell_of(values)
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx(tuple(expected))
    assert found.sd == pytest.approx(stats.sem(values) * n**0.5)


def test_t_interval_covers() -> None:
    rng = np.random.default_rng(0)
    cells = [cell_of(rng.normal(size=5)) for _ in range(2000)]
    assert 0.935 < np.mean([c.low <= 0.0 <= c.high for c in cells]) < 0.965


def test_one_seed_has_no_spread_and_none_has_nothing() -> None:
    one = cell_of(np.array([0.8]))
    assert (one.mean, one.minimum, one.maximum, one.n) == (0.8, 0.8, 0.8, 1)
    assert np.isnan([one.sd, one.low, one.high]).all()
    for empty in (cell_of(np.array([])), cell_of(np.array([0.8, np.nan, 0.9]))):
        assert np.isnan([empty.mean, empty.sd, empty.low, empty.high, empty.minimum, empty.maximum]).all()
    assert (cell_of(np.array([])).n, cell_of(np.array([0.8, np.nan, 0.9])).n) == (0, 3)


def test_hedges_g_by_hand() -> None:
    # Difference 2, variances 2.5 and 10, n = 5: (1 - 3/31) * 2 / sqrt(6.25).
    a, b = np.array([3.0, 4, 5, 6, 7]), np.array([-1.0, 1, 3, 5, 7])
    assert hedges_g(a, b) == pytest.approx((28 / 31) * 2 / 2.5)
    assert hedges_g(b, a) == pytest.approx(-(28 / 31) * 2 / 2.5)


def test_hedges_g_where_nothing_varies() -> None:
    # The variance of seven 0.1s is not exactly 0 in floating point.
    same = np.full(7, 0.1)
    assert hedges_g(same, same) == 0.0
    assert np.isnan(hedges_g(same, same + 0.1))
    assert np.isnan(hedges_g(np.array([0.8]), np.array([0.7])))
    assert np.isnan(hedges_g(np.array([0.8, np.nan]), np.array([0.7, 0.7])))


def test_hedges_g_is_nearly_unbiased() -> None:
    rng = np.random.default_rng(0)
    found = [hedges_g(1 + rng.normal(size=5), rng.normal(size=5)) for _ in range(4000)]
    # Without the correction the mean would be 31/28 = 1.107.
    assert np.mean(found) == pytest.approx(1.0, abs=0.04)


@given(aurocs, st.data())
def test_probability_of_superiority_equals_the_double_loop(a: list[float], data: st.DataObject) -> None:
    b = data.draw(st.permutations([*a[:-1], 0.5]))
    wins = sum(1.0 if x > y else 0.5 if x == y else 0.0 for x in a for y in b)
    found = probability_of_superiority(np.array(a), np.array(b))
    assert found == pytest.approx(wins / len(a) ** 2)
    assert found + probability_of_superiority(np.array(b), np.array(a)) == pytest.approx(1.0)


def test_probability_of_superiority_edges() -> None:
    assert probability_of_superiority(np.array([0.5, 0.6]), np.array([0.1, 0.2])) == 1.0
    assert np.isnan(probability_of_superiority(np.array([]), np.array([])))
    assert np.isnan(probability_of_superiority(np.array([np.nan]), np.array([0.1])))


@pytest.mark.parametrize("effect", [hedges_g, probability_of_superiority])
def test_different_seeds_are_refused(effect: object) -> None:
    assert callable(effect)
    with pytest.raises(ValueError, match="same seeds"):
        effect(np.array([0.1, 0.2]), np.array([0.3]))
