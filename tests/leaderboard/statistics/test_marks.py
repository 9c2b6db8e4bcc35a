"""Marks: one rule against chance for every number of seeds, and for the lowest of several conditions."""

from __future__ import annotations

import numpy as np
import pytest

from divsal_bench.leaderboard.statistics import marks
from divsal_bench.leaderboard.statistics.reader_case import Interval, compare_paired, population_interval

pytestmark = pytest.mark.fast

BELOW, NOT_ABOVE = marks.BELOW_CHANCE, marks.NOT_ABOVE_CHANCE


def interval(mean: float, n: int = 5, spread: float = 0.02, subjects: int = 50) -> Interval:
    """The interval of n seeds around a mean."""
    values = mean + spread * np.linspace(-1, 1, n)
    influence = np.random.default_rng(0).normal(scale=0.001, size=(1, subjects)) + np.zeros((n, 1))
    return population_interval(values, influence)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 10])
def test_the_interval_decides_at_every_number_of_seeds(n: int) -> None:
    for mean in np.arange(0.05, 1.0, 0.05):
        found = interval(float(mean), n)
        assert found.status == "ok"
        expected = BELOW if found.high < 0.5 else NOT_ABOVE if found.low <= 0.5 else ""
        assert marks.against_chance(found) == expected
    assert marks.against_chance(interval(0.5, n)) == NOT_ABOVE


def test_nothing_is_said_of_what_has_no_interval() -> None:
    assert marks.against_chance(None) == ""
    assert marks.against_chance(interval(0.2, 1)) == ""
    assert marks.against_chance(interval(0.2, spread=0.0, subjects=0)) == ""
    assert marks.worst_against_chance([]) == ""
    assert marks.worst_against_chance([None, interval(0.2, 1)]) == ""


@pytest.mark.parametrize("n", [2, 5])
def test_the_p_of_chance_is_that_of_the_interval(n: int) -> None:
    for mean in np.arange(0.3, 0.7, 0.004):
        found = interval(float(mean), n)
        excludes = found.low > 0.5 or found.high < 0.5
        assert (marks.chance_p(found.estimate, found.variance, found.df) < 0.05) == excludes


def test_the_lowest_condition_is_above_chance_only_where_all_are() -> None:
    high, open_, low = interval(0.9), interval(0.505), interval(0.1)
    assert marks.worst_against_chance([high, high]) == ""
    assert marks.worst_against_chance([high, open_]) == NOT_ABOVE
    assert marks.worst_against_chance([high, low]) == BELOW
    assert marks.worst_against_chance([open_, None]) == NOT_ABOVE


def test_the_lowest_of_many_conditions_needs_more_to_be_below_chance() -> None:
    found = next(one for mean in np.arange(0.5, 0.3, -0.001) if (one := interval(float(mean))).high < 0.5)
    assert marks.against_chance(found) == BELOW
    assert marks.worst_against_chance([found]) == BELOW
    assert marks.worst_against_chance([found] + 9 * [interval(0.9)]) == NOT_ABOVE


def test_a_loss_in_domain_is_shown_by_its_interval() -> None:
    def difference(mean: float) -> bool:
        a, b = 0.9 + 0.002 * np.arange(5), 0.9 - mean + 0.0021 * np.arange(5)
        return marks.is_worse_in_domain(compare_paired(a, b, np.full((5, 20), 1e-4), np.zeros((5, 20))))

    assert difference(-0.1)
    assert not difference(-0.015)
    assert not difference(0.1)
    assert not marks.is_worse_in_domain(None)
