"""One cell of the board: a metric of one method over its seeds; and plain effect sizes between two methods.

Everything here speaks about seeds "on exactly these test images". The interval that also allows for new
subjects is in `divsal_bench.leaderboard.statistics.reader_case`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from divsal_bench.leaderboard.statistics.reader_case import LEVEL, NAN

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SeedCell:
    """A metric over n seeds.

    Attributes:
        mean: Mean over seeds; NaN without seeds.
        sd: Standard deviation (ddof 1); NaN below 2 seeds.
        low, high: Ends of the 95 % t-interval over seeds; NaN below 2 seeds.
    """

    mean: float
    sd: float
    low: float
    high: float
    minimum: float
    maximum: float
    n: int


def seed_cell(values: Floats) -> SeedCell:
    """Summarise (n,) values of one metric, one per seed.

    A NaN among them (a metric that is `n/a` in one run) makes every number NaN: averaging the rest would
    compare methods over different seeds.
    """
    values = np.asarray(values, dtype=np.float64)
    n = len(values)
    if n == 0:
        return SeedCell(NAN, NAN, NAN, NAN, NAN, NAN, n)
    mean = float(values.mean())
    sd = float(values.std(ddof=1)) if n > 1 else NAN
    half = float(stats.t.ppf(0.5 + LEVEL / 2, n - 1)) * sd / n**0.5 if n > 1 else NAN
    return SeedCell(mean, sd, mean - half, mean + half, float(values.min()), float(values.max()), n)


def hedges_g(a: Floats, b: Floats) -> float:
    """Standardised mean difference (1 - 3/(8n - 9)) * mean(a - b) / sqrt((s_A^2 + s_B^2) / 2).

    Hedges 1981, Journal of Educational Statistics 6:107; the factor removes the small-sample bias at 2n - 2
    degrees of freedom. The unit is the sd over seeds, so a g says nothing about other test images.

    Args:
        a, b: (n,) metric of either method, one number per seed.

    Returns:
        g; 0 if the means are equal and no seed varies; NaN below 2 seeds or if they differ and none varies.
    """
    a, b = _paired(a, b)
    n = len(a)
    if n < 2:
        return NAN
    difference = float(a.mean() - b.mean())
    # Not variance == 0: the variance of equal numbers can be a rounding error above it.
    if np.ptp(a) == 0.0 and np.ptp(b) == 0.0:
        return 0.0 if a[0] == b[0] else NAN
    pooled = float(a.var(ddof=1) + b.var(ddof=1)) / 2
    return float((1 - 3 / (8 * n - 9)) * difference / np.sqrt(pooled))


def probability_of_superiority(a: Floats, b: Floats) -> float:
    """Share of the n^2 pairs (a seed of a, a seed of b) in which a is higher, ties one half.

    Bouthillier et al. 2021, MLSys, P(A > B); printed without a verdict, for which n is too small.

    Args:
        a, b: (n,) metric of either method, one number per seed.

    Returns:
        A number in [0, 1]; NaN without seeds or with a NaN among the values.
    """
    a, b = _paired(a, b)
    if len(a) == 0 or np.isnan(a).any() or np.isnan(b).any():
        return NAN
    return float(np.mean(0.5 + 0.5 * np.sign(a[:, None] - b[None, :])))


def _paired(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"both methods need the same seeds, got {a.shape} and {b.shape}")
    return a, b


def known_cell(values: Iterable[float | None]) -> SeedCell | None:
    """A cell over the seeds that have the number; None without any."""
    known = [value for value in values if value is not None]
    return seed_cell(np.array(known)) if known else None
