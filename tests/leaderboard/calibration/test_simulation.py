"""The statistics against simulated boards with known truth, each against its own estimand.

A board: k methods, n seeds each, one set of test subjects. The score of a row is its label's shift (which
varies from seed to seed), plus what the row does to every method, plus what it does to this method (the
method x image effect), plus what it does to this run. All methods have the same AUROC in the population of
subjects and seeds; on the subjects drawn for one board their AUROCs differ, and all seeds of a method share
that.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from divsal_bench.leaderboard.statistics.families import all_pairs, holm
from divsal_bench.leaderboard.statistics.placements import Condition, clustered_influence
from divsal_bench.leaderboard.statistics.reader_case import compare_on_fixed_images, compare_paired, population_interval

pytestmark = pytest.mark.fast

Floats = npt.NDArray[np.float64]

BOARDS, METHODS = 300, 5
SHIFT, SHIFT_SD = 1.6, 0.15
SHARED_SD, METHOD_SD, RUN_SD = 0.8, 0.4, 0.5


@dataclass(frozen=True)
class Rates:
    """Shares over the simulated boards."""

    family: float
    all_pairs: float
    family_paired_t: float
    coverage_difference: float
    coverage_single: float
    coverage_first_against_rest: float


def board(rng: np.random.Generator, seeds: int, rows_per_subject: int, advantage: float) -> tuple[Floats, Floats]:
    """Draw one board: primary metric (METHODS, seeds) and influence (METHODS, seeds, K).

    The first method's shift is larger by `advantage`.
    """
    subjects = np.repeat(np.arange(150 // rows_per_subject), rows_per_subject)
    # One third negatives, shared by two conditions that own a third of the rows each.
    group = np.arange(len(subjects)) * 3 // len(subjects)

    def effect(*leading: int) -> Floats:
        """A normal effect whose variance is half the subject's and half the row's."""
        of_subject = rng.normal(size=(*leading, subjects[-1] + 1))[..., subjects]
        return np.asarray((of_subject + rng.normal(size=(*leading, len(subjects)))) * 0.5**0.5)

    shift = SHIFT + SHIFT_SD * rng.normal(size=(METHODS, seeds, 1))
    shift[0] += advantage
    scores = shift * (group > 0) + SHARED_SD * effect()
    scores = scores + METHOD_SD * effect(METHODS)[:, None] + RUN_SD * effect(METHODS, seeds)
    conditions = [Condition(str(c), group == c, group == 0) for c in (1, 2)]
    found = clustered_influence(scores.reshape(METHODS * seeds, -1), conditions, subjects)
    return found.primary.reshape(METHODS, seeds), found.influence.reshape(METHODS, seeds, -1)


def true_auroc(advantage: float) -> float:
    """AUROC over new seeds and new subjects: both sides of the margin are normal."""
    noise = 2 * (SHARED_SD**2 + METHOD_SD**2 + RUN_SD**2) + SHIFT_SD**2
    return float(stats.norm.cdf((SHIFT + advantage) / noise**0.5))


@cache
def simulate(seeds: int, rows_per_subject: int, advantage: float = 0.0) -> Rates:
    rng = np.random.default_rng([seeds, rows_per_subject, round(1000 * advantage)])
    hits: dict[str, list[bool]] = {name: [] for name in Rates.__dataclass_fields__}
    gain = true_auroc(advantage) - true_auroc(0.0)
    for _ in range(BOARDS):
        primary, influence = board(rng, seeds, rows_per_subject, advantage)
        found = {
            (int(a), int(b)): compare_paired(primary[int(a)], primary[int(b)], influence[int(a)], influence[int(b)])
            for a, b in all_pairs("01234")
        }
        first = [found[0, m] for m in range(1, METHODS)]
        fixed = [compare_on_fixed_images(primary[0], primary[m]).p_t for m in range(1, METHODS)]
        alone = population_interval(primary[1], influence[1])
        hits["family"].append(holm(np.array([c.p for c in first])).min() <= 0.05)
        hits["all_pairs"].append(holm(np.array([c.p for c in found.values()])).min() <= 0.05)
        hits["family_paired_t"].append(holm(np.array(fixed)).min() <= 0.05)
        hits["coverage_difference"].append(found[1, 2].low <= 0.0 <= found[1, 2].high)
        hits["coverage_single"].append(alone.low <= true_auroc(0.0) <= alone.high)
        hits["coverage_first_against_rest"].append(first[0].low <= gain <= first[0].high)
    return Rates(**{name: float(np.mean(values)) for name, values in hits.items()})


# The bounds allow for 300 boards: 2 standard errors of a rate of .05 are .025.
@pytest.mark.parametrize(("seeds", "rows_per_subject"), [(5, 1), (10, 1), (5, 3)])
def test_family_wise_errors_and_coverage(seeds: int, rows_per_subject: int) -> None:
    rates = simulate(seeds, rows_per_subject)
    assert rates.family <= 0.06
    assert rates.all_pairs <= 0.06
    assert 0.93 <= rates.coverage_difference <= 0.99
    assert 0.93 <= rates.coverage_single <= 0.98


def test_paired_t_over_seeds_takes_the_images_for_the_population() -> None:
    assert simulate(5, 1).family_paired_t >= 0.10
    # More seeds make it worse: they only measure this image set's accident more exactly.
    assert simulate(10, 1).family_paired_t >= 0.25


def test_a_real_advantage_is_found_and_its_size_covered() -> None:
    rates = simulate(5, 1, 0.6)
    assert rates.family >= 0.70
    assert 0.93 <= rates.coverage_first_against_rest <= 0.99


def test_the_truth_used_above_is_the_truth() -> None:
    rng = np.random.default_rng(0)
    boards = [board(rng, 5, 1, 0.6)[0] for _ in range(200)]
    assert np.mean([primary[0] for primary in boards]) == pytest.approx(true_auroc(0.6), abs=0.005)
    assert np.mean([primary[1:] for primary in boards]) == pytest.approx(true_auroc(0.0), abs=0.005)
