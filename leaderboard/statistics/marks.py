"""Findings that set a method apart: what the intervals show against chance, and a loss in-domain.

One rule for every number of seeds from 2 on, and none where there is no interval, as with too few test subjects: then
nothing is known, and nothing is said.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from divsal_bench.leaderboard.statistics import families
from divsal_bench.leaderboard.statistics.reader_case import Comparison, Interval

Floats = npt.NDArray[np.float64]
CHANCE = 0.5
#: A method whose in-domain AUROC is shown to lose more than this against cross-entropy is marked.
IN_DOMAIN_LOSS = 0.02
BELOW_CHANCE = "shown below chance"
NOT_ABOVE_CHANCE = "not shown above chance"
IN_DOMAIN_WORSE = "in-domain worse"
#: Every mark of a row, and what it means.
MARKS = {
    BELOW_CHANCE: "the 95 % interval of the primary AUROC lies below 0.5",
    NOT_ABOVE_CHANCE: "the 95 % interval of the primary AUROC reaches 0.5",
    IN_DOMAIN_WORSE: f"in-domain AUROC is shown to be more than {IN_DOMAIN_LOSS:g} below cross-entropy",
}


def against_chance(interval: Interval | None) -> str:
    """Say where the population interval of an AUROC lies: a mark, or "" where it is above chance or unknown."""
    if interval is None or interval.status != "ok":
        return ""
    if interval.high < CHANCE:
        return BELOW_CHANCE
    return NOT_ABOVE_CHANCE if interval.low <= CHANCE else ""


def worst_against_chance(intervals: Sequence[Interval | None]) -> str:
    """Say the same of the lowest of several conditions, which has no interval of its own.

    It is above chance only where every condition's interval is (an intersection-union test needs no adjustment),
    and below where that of any condition is, at a level divided by their number (Bonferroni).

    Args:
        intervals: Of every unseen condition.
    """
    known = [one for one in intervals if one is not None and one.status == "ok"]
    if any(
        one.estimate < CHANCE and chance_p(one.estimate, one.variance, one.df) * len(intervals) <= families.ALPHA
        for one in known
    ):
        return BELOW_CHANCE
    return NOT_ABOVE_CHANCE if any(one.low <= CHANCE for one in known) else ""


def chance_p(estimate: npt.ArrayLike, variance: npt.ArrayLike, df: npt.ArrayLike) -> Floats:
    """Two-sided p of chance: 1 − the level at which the interval, made on the logit scale, would touch 0.5.

    Args:
        estimate: AUROC, of any shape.
        variance: Its variance, of that shape.
        df: Degrees of freedom of the variance.
    """
    estimate = np.asarray(estimate, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.sqrt(variance) / (estimate * (1 - estimate))
        return np.asarray(2 * stats.t.sf(np.abs(special.logit(estimate)) / error, df))


def is_worse_in_domain(difference: Comparison | None) -> bool:
    """Whether the interval of (method − cross-entropy) in-domain lies below the loss that is let pass."""
    return difference is not None and difference.high < -IN_DOMAIN_LOSS
