"""Leave-one-condition-out and conditions as a random factor."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from divsal_bench.leaderboard.statistics.over_conditions import leave_one_out, random_conditions

pytestmark = pytest.mark.fast


def test_by_hand() -> None:
    # Means of the other two: (.02 + .09)/2, (.01 + .09)/2, (.01 + .02)/2.
    assert leave_one_out(np.array([0.01, 0.02, 0.09])) == pytest.approx((0.015, 0.055))
    # t(.975, 4) = 2.776445; the sd of 1 to 5 is sqrt(2.5).
    found = random_conditions(np.array([0.01, 0.02, 0.03, 0.04, 0.05]))
    assert (found.mean, found.n) == (pytest.approx(0.03), 5)
    half = 2.776445 * (2.5**0.5 / 100) / 5**0.5
    assert (found.low, found.high) == pytest.approx((0.03 - half, 0.03 + half), abs=1e-8)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=8))
def test_leaving_one_out_is_done_one_by_one(values: list[float]) -> None:
    low, high = leave_one_out(np.array(values))
    means = [np.mean(values[:i] + values[i + 1 :]) for i in range(len(values))]
    assert (low, high) == pytest.approx((min(means), max(means)), abs=1e-12)
    assert low - 1e-12 <= np.mean(values) <= high + 1e-12


def test_few_conditions_have_no_interval() -> None:
    assert np.isnan(leave_one_out(np.array([0.1]))).all()
    assert np.isnan(leave_one_out(np.array([]))).all()
    four = random_conditions(np.array([0.1, 0.2, 0.3, 0.4]))
    assert (four.mean, four.n) == (pytest.approx(0.25), 4)
    assert np.isnan([four.low, four.high]).all()
    assert np.isnan(random_conditions(np.array([])).mean)


def test_a_condition_without_a_number_leaves_none() -> None:
    values = np.array([0.1, np.nan, 0.3, 0.2, 0.1])
    assert np.isnan(leave_one_out(values)).all()
    found = random_conditions(values)
    assert np.isnan([found.mean, found.low, found.high]).all()
    with pytest.raises(ValueError, match="one difference per condition"):
        random_conditions(values[None])


def test_it_covers_the_mean_of_all_conditions_in_95_percent() -> None:
    rng = np.random.default_rng(0)
    draws = 0.02 + 0.03 * rng.normal(size=(4000, 6))
    hits = [one.low <= 0.02 <= one.high for one in map(random_conditions, draws)]
    assert np.mean(hits) == pytest.approx(0.95, abs=4 * (0.95 * 0.05 / 4000) ** 0.5)
