"""What a mean over conditions owes to the conditions that were tested. Descriptive: nothing here decides anything.

The decisive test speaks of the conditions as they are. Whether other conditions would agree can only be guessed
from how far these agree with each other.

Source:
    Clark 1973, Journal of Verbal Learning and Verbal Behavior 12:335 (the analysis by items: average over all else,
    then take the items as a sample).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from divsal_bench.leaderboard.statistics.reader_case import LEVEL, NAN

Floats = npt.NDArray[np.float64]

#: Fewer conditions say too little about other conditions for an interval.
MIN_CONDITIONS = 5


@dataclass(frozen=True)
class ConditionInterval:
    """A mean difference with the tested conditions taken as a random sample of conditions.

    Attributes:
        mean: Mean over conditions; NaN without any.
        low, high: Ends of the 95 % t-interval over conditions; NaN below `MIN_CONDITIONS`.
    """

    mean: float
    low: float
    high: float
    n: int


def leave_one_out(differences: Floats) -> tuple[float, float]:
    """Give the smallest and largest mean that is left when one condition is left out.

    Args:
        differences: (C,) difference of two methods on each condition, the mean over seeds.

    Returns:
        (low, high); NaN twice below 2 conditions or with a NaN among them.
    """
    values = _values(differences)
    if len(values) < 2:
        return NAN, NAN
    without = (values.sum() - values) / (len(values) - 1)
    return float(without.min()), float(without.max())


def random_conditions(differences: Floats) -> ConditionInterval:
    """Give the t-interval of the mean over conditions, with C - 1 degrees of freedom.

    The spread between conditions holds the noise of the seeds and the subjects that each condition has of its own.
    It does not hold what all conditions share (the same seeds, the same negatives), and assumes that the conditions
    tested were drawn from those there could be, which nobody did: a description, too narrow if anything.

    Args:
        differences: (C,) difference of two methods on each condition, the mean over seeds.
    """
    values = _values(differences)
    n = len(values)
    mean = float(values.mean()) if n else NAN
    if n < MIN_CONDITIONS:
        return ConditionInterval(mean, NAN, NAN, n)
    half = float(stats.t.ppf(0.5 + LEVEL / 2, n - 1)) * float(values.std(ddof=1)) / n**0.5
    return ConditionInterval(mean, mean - half, mean + half, n)


def _values(differences: Floats) -> Floats:
    """Check that there is one number per condition."""
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"one difference per condition is needed, got shape {values.shape}")
    return values
