"""The decisive test: Obuchowski-Rockette with training seeds as readers and test subjects as cases.

A difference between two methods can come from the seeds that were drawn and from the test subjects that were
drawn. A t-test over seeds sees only the first; this one sees both, so its verdict is about new seeds and new
subjects. One test per pair of methods; nothing is pooled over other methods.

Sources:
    Obuchowski, Rockette 1995, Communications in Statistics: Simulation and Computation 24:285 (the model);
    Hillis 2007, Statistics in Medicine 26:596 (the degrees of freedom, here with the extra factor U and a term
    for the effective number of subjects, after Satterthwaite 1946, Biometrics Bulletin 2:110);
    Qin, Hotilovac 2008, Statistical Methods in Medical Research 17:207 (one AUROC's interval on the logit scale).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import special, stats

Floats = npt.NDArray[np.float64]
FitStatus = Literal["ok", "equal", "undefined"]

#: Confidence level of every interval here.
LEVEL = 0.95

#: Differences of AUROCs and standard errors below this are rounding, far under one discordant pair.
ZERO = 1e-12

#: Most seeds for which all 2^n sign patterns are enumerated.
MAX_SIGN_FLIP = 20

NAN = float("nan")


@dataclass(frozen=True)
class Interval:
    """One method's primary metric with its population interval (new seeds and new subjects).

    Attributes:
        estimate: Mean of the metric over seeds.
        sd: Standard deviation over seeds (ddof 1).
        c: Covariance of two seeds that share the test subjects, as estimated; may be negative.
        c_plus: max(c, 0).
        variance: sd^2 / n + c_plus.
        subjects: Effective number of test subjects, see `effective_subjects`; NaN where unknown.
        df: Degrees of freedom, from seeds and subjects.
        low: Lower end of the 95 % population interval, in [0, 1]; NaN unless status is `ok`.
        high: Upper end, in [0, 1]; further from the estimate than `low` where that is below 0.5, else nearer.
        status: `ok`, or `undefined` with fewer than 2 seeds, a variance of 0, or an unknown influence.
    """

    estimate: float
    sd: float
    n: int
    c: float
    c_plus: float
    variance: float
    subjects: float
    df: float
    low: float
    high: float
    status: FitStatus


@dataclass(frozen=True)
class Comparison:
    """Two methods compared over the seeds that both have.

    Attributes:
        difference: Mean over seeds of (a - b).
        sd, n, c, c_plus, variance, subjects, df: As in `Interval`, of the difference.
        t: difference / sqrt(variance).
        p: Two-sided p-value, not adjusted for the number of tests.
        low, high: Ends of the 95 % population interval of the difference.
        status: `ok`; `equal` (difference 0 with variance 0: p = 1, no interval, since nothing is known of how
            far others would differ: two methods that are perfect here need not be on other images); `undefined` (p, t,
            df and interval NaN).
    """

    difference: float
    sd: float
    n: int
    c: float
    c_plus: float
    variance: float
    subjects: float
    df: float
    t: float
    p: float
    low: float
    high: float
    status: FitStatus


@dataclass(frozen=True)
class FixedImages:
    """Two methods compared over seeds "on exactly these images": printed, and deciding nothing.

    Attributes:
        difference: Mean over seeds of (a - b).
        t: Paired t over seeds.
        p_t: Its two-sided p-value with n - 1 degrees of freedom.
        p_sign_flip: Exact two-sided sign-flip p; never below 2^(1-n). NaN beyond `MAX_SIGN_FLIP` seeds.
        low, high: Ends of the 95 % t-interval over seeds.
        status: As in `Comparison`, with the variance over seeds alone; `p_sign_flip` needs only n >= 1.
    """

    difference: float
    n: int
    t: float
    p_t: float
    p_sign_flip: float
    low: float
    high: float
    status: FitStatus


@dataclass(frozen=True)
class _Fit:
    """The parts that an interval and a test share; `df` is NaN where the variance is 0 or unknown."""

    mean: float
    sd: float
    n: int
    c: float
    c_plus: float
    variance: float
    subjects: float
    df: float


def compare_paired(a: Floats, b: Floats, influence_a: Floats, influence_b: Floats) -> Comparison:
    """Test whether method a differs from method b for new seeds and new subjects.

    Args:
        a, b: (n,) primary metric of either method, one number per seed, seeds in the same order.
        influence_a, influence_b: (n, K) influence values of their runs, from `clustered_influence`, subjects likewise.

    Raises:
        ValueError: The shapes do not fit.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape or np.shape(influence_a) != np.shape(influence_b):
        raise ValueError("both methods need the same seeds and the same subjects")
    return _tested(_fit(a - b, np.asarray(influence_a, dtype=np.float64) - np.asarray(influence_b, dtype=np.float64)))


def compare_unpaired(a: Floats, b: Floats, influence_a: Floats, influence_b: Floats) -> Comparison:
    """Test whether two sets of runs without common seeds differ for new seeds and new subjects.

    The seeds of a and b are independent, the test subjects are the same. v = s_a^2/n_a + s_b^2/n_b + c+ with
    c = c_aa + c_bb - 2 c_ab: c_aa and c_bb are means over pairs of different seeds of one set, c_ab over all pairs
    of a seed of a and a seed of b. The degrees of freedom have a term for each of the three parts.

    Args:
        a, b: (n_a,) and (n_b,) primary metric of the first and the second runs.
        influence_a, influence_b: (n_a, K) and (n_b, K), as `compare_paired` takes them.

    Returns:
        As `compare_paired`, with `sd` = sqrt(s_a^2 + s_b^2), that of the difference between two single runs, and
        `n` the smaller number of seeds; `variance` is sd^2/n + c_plus only where both sets have n seeds.

    Raises:
        ValueError: The shapes do not fit.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    influences = [np.asarray(one, dtype=np.float64) for one in (influence_a, influence_b)]
    if influences[0].shape[1:] != influences[1].shape[1:]:
        raise ValueError("both sets of runs need the same subjects")
    n = min(len(a), len(b))
    mean = float(a.mean() - b.mean()) if n else NAN
    one, two = (_fit(values, influence) for values, influence in zip((a, b), influences, strict=True))
    of_a, of_b = influences[0].sum(axis=0), influences[1].sum(axis=0)
    c = one.c + two.c - 2.0 * float(of_a @ of_b) / max(1, len(a) * len(b))
    sd = float(np.hypot(one.sd, two.sd))
    if np.isnan(c):
        return _tested(_Fit(mean, sd, n, NAN, NAN, NAN, NAN, NAN))
    c_plus = c if c >= ZERO**2 else 0.0
    between = [(fit.sd**2 / fit.n, fit.n) for fit in (one, two)]
    variance = sum(part for part, _ in between) + c_plus
    subjects = effective_subjects((of_a / len(a) - of_b / len(b))[None])
    df = satterthwaite(between, c_plus, subjects) if variance > 0.0 else NAN
    return _tested(_Fit(mean, sd, n, c, c_plus, variance, subjects, df))


def _tested(fit: _Fit) -> Comparison:
    """Test whether the mean is 0."""
    shared = (fit.mean, fit.sd, fit.n, fit.c, fit.c_plus, fit.variance, fit.subjects)
    if fit.variance == 0.0 and abs(fit.mean) < ZERO:
        return Comparison(*shared, df=NAN, t=0.0, p=1.0, low=NAN, high=NAN, status="equal")
    if np.isnan(fit.df):
        return Comparison(*shared, df=NAN, t=NAN, p=NAN, low=NAN, high=NAN, status="undefined")
    t = fit.mean / np.sqrt(fit.variance)
    p = 2.0 * float(stats.t.sf(abs(t), fit.df))
    low, high = _t_interval(fit.mean, fit.variance, fit.df)
    return Comparison(*shared, df=fit.df, t=float(t), p=p, low=low, high=high, status="ok")


def population_interval(primary: Floats, influence: Floats) -> Interval:
    """Give one method's mean over seeds with its population interval.

    The interval is that of the mean's logit, brought back. An AUROC's variance shrinks towards 1, so that a
    symmetric interval lies too high: with 220 subjects at an AUROC of .995 it covers 90 %, this one 96 %
    (`divsal-bench calibrate --cells ceiling-n5,ceiling-n10`).

    Args:
        primary: (n,) primary metric in [0, 1], one entry per seed.
        influence: (n, K) influence values of the same runs, from `clustered_influence`.
    """
    fit = _fit(np.asarray(primary, dtype=np.float64), np.asarray(influence, dtype=np.float64))
    # Runs that are all perfect have no variance either: only numbers that are no AUROCs fail the second part.
    status: FitStatus = "ok" if not np.isnan(fit.df) and 0.0 < fit.mean < 1.0 else "undefined"
    low, high = _logit_interval(fit.mean, fit.variance, fit.df) if status == "ok" else (NAN, NAN)
    shared = (fit.mean, fit.sd, fit.n, fit.c, fit.c_plus, fit.variance, fit.subjects)
    return Interval(*shared, df=fit.df, low=low, high=high, status=status)


def compare_on_fixed_images(a: Floats, b: Floats) -> FixedImages:
    """Compare two methods over seeds with the test images held fixed: paired t and exact sign-flip.

    Rejects far too often as a claim about the methods, because it takes these images for the population.

    Args:
        a, b: As `compare_paired` takes them.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError("both methods need the same seeds")
    # Without influence values c is 0, and the test is the plain paired t.
    one = compare_paired(a, b, np.zeros((len(a), 1)), np.zeros((len(a), 1)))
    return FixedImages(one.difference, one.n, one.t, one.p, _sign_flip(a - b), one.low, one.high, one.status)


def effective_subjects(influence: Floats) -> float:
    """Number of equal subjects that would determine a covariance as well as these: K = (sum D^2)^2 / sum D^4.

    D[k] is the influence of subject k, averaged over seeds, whose squares add up to the covariance c. Equal
    influences give their number; one dominant subject gives a number near 1. Satterthwaite's count of degrees of
    freedom for a sum of squares, at least 2 so that K - 1 stays above 0.

    Args:
        influence: (n, K) influence values.

    Returns:
        A number of at least 2; NaN where an influence is unknown or all are 0.
    """
    squares = np.asarray(influence, dtype=np.float64).mean(axis=0) ** 2
    # Scaled, since fourth powers of tiny influences would underflow.
    largest = float(squares.max(initial=0.0))
    if not largest > 0.0:
        return NAN
    squares = squares / largest
    return max(2.0, float(squares.sum() ** 2 / (squares**2).sum()))


def satterthwaite(between_seeds: Sequence[tuple[float, int]], c_plus: float, subjects: float) -> float:
    """Degrees of freedom (sum A + c+)^2 / (sum A^2/(n - 1) + c+^2/(K - 1)) with A = U s^2/n.

    U = (n - 1) / chi2_.10(n - 1). Every part of the variance is an estimate: s^2/n from n seeds, c+ from K subjects.
    U replaces s^2 by its upper 90 % confidence limit: a small s^2, met by luck at few seeds, would otherwise buy a df
    that it does not deserve.
    With one part between seeds, U = 1 and K infinite it is Hillis 2007.

    Args:
        between_seeds: (s^2/n, n) of each independent set of seeds.
        c_plus: Covariance between seeds, at least 0; not all parts may be 0.
        subjects: K, the effective number of test subjects, above 1; of no matter where c+ is 0.
    """
    parts = [(part * (n - 1) / float(stats.chi2.ppf(0.10, n - 1)), float(n - 1)) for part, n in between_seeds]
    parts += [(c_plus, subjects - 1.0)] if c_plus > 0.0 else []
    return sum(part for part, _ in parts) ** 2 / sum(part**2 / df for part, df in parts)


def _fit(d: Floats, influence: Floats) -> _Fit:
    """Estimate mean, variance components and df from (n,) values and their (n, K) influences."""
    if d.ndim != 1 or influence.ndim != 2 or len(influence) != len(d):
        raise ValueError(f"values {d.shape} must be (n,) with influence {influence.shape} (n, K)")
    n = len(d)
    mean = float(d.mean()) if n else NAN
    if n < 2 or np.isnan(d).any():
        return _Fit(mean, NAN, n, NAN, NAN, NAN, NAN, NAN)
    s2 = float(d.var(ddof=1))
    s2 = 0.0 if s2 < ZERO**2 else s2
    products = influence @ influence.T
    c = float(products.sum() - np.trace(products)) / (n * (n - 1))
    if np.isnan(c):
        return _Fit(mean, s2**0.5, n, NAN, NAN, NAN, NAN, NAN)
    c_plus = c if c >= ZERO**2 else 0.0
    subjects = effective_subjects(influence)
    df = satterthwaite([(s2 / n, n)], c_plus, subjects) if s2 + c_plus > 0.0 else NAN
    return _Fit(mean, s2**0.5, n, c, c_plus, s2 / n + c_plus, subjects, df)


def _t_interval(mean: float, variance: float, df: float) -> tuple[float, float]:
    """Return mean -+ t(.975, df) * sqrt(variance), NaN where df is."""
    half = float(stats.t.ppf(0.5 + LEVEL / 2, df)) * variance**0.5
    return mean - half, mean + half


def _logit_interval(mean: float, variance: float, df: float) -> tuple[float, float]:
    """Return the t-interval of logit(mean), whose variance is variance / (mean (1 - mean))^2, as AUROCs."""
    scale = mean * (1.0 - mean)
    low, high = special.expit(_t_interval(float(special.logit(mean)), variance / scale**2, df))
    return float(low), float(high)


def _sign_flip(d: Floats) -> float:
    """Return the share of the 2^n sign patterns of (n,) `d` whose |sum| is at least the observed one."""
    if not 1 <= len(d) <= MAX_SIGN_FLIP or np.isnan(d).any():
        return NAN
    sums = np.zeros(1)
    for value in d:
        sums = np.concatenate([sums + value, sums - value])
    # Patterns that tie with the observed one in exact arithmetic must count, whatever the order of summation.
    return float(np.mean(np.abs(sums) >= abs(d.sum()) - ZERO))
