"""Boards with a known truth, many at a time: what `divsal-bench calibrate` runs the statistics on.

The score of row i in the run of method m with seed j is

    [i is positive] * separation(m, j, condition of i)    differs from seed to seed
    + difficulty(i)                                       shared by all methods and seeds
    + effect(m, i)                                        method x image, shared by all seeds of a method
    + noise(m, j, i)                                      run x image

All parts are normal, and the last three add up to a variance of 1 within a class: one unit is the score's
sd. Heavy tails replace the normal by a t with 3 degrees of freedom, scaled to the same variance, in the last
three parts; saturated scores are cut at two ends. Under a true null two methods have the same AUROC in the
population of subjects and seeds; on the subjects of one board they differ by the accident of effect(m, i),
new subjects would bring new ones, and no number of seeds removes that.

Source:
    Roe, Metz 1997, Academic Radiology 4:298 (the model of readers and cases, here with run-level AUROCs).
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import integrate, optimize, special, stats

from divsal_bench.leaderboard.calibration.cells import SimulatedCell
from divsal_bench.leaderboard.calibration.designs import Design

Floats = npt.NDArray[np.float64]

#: Sd of the run x image part, in score sd.
RUN_NOISE = 0.4

#: Share of each image-level variance that a subject's rows have in common, where subjects have several.
OF_SUBJECT = 0.5

#: Share of the variance of a run's separation that its conditions have in common.
OF_RUN = 0.5


def draw_scores(cell: SimulatedCell, design: Design, boards: int, rng: np.random.Generator) -> Floats:
    """Draw the scores of all runs of all boards.

    Args:
        cell: What to draw.
        design: `DESIGNS[cell.design]()`, or a larger one to come close to the population.
        boards: B.
        rng: The only source of randomness.

    Returns:
        (B, k, n, N) scores; the seeds of one method see the same images, and so do all methods.
    """
    k, n = len(cell.kinds), cell.seeds
    sizes = image_sds(cell.image_effect)
    scores = sizes[0] * image_level(rng, (boards, k, n), design, cell.heavy_tails)
    scores += sizes[1] * image_level(rng, (boards, 1, 1), design, cell.heavy_tails)
    if cell.image_effect > 0.0:
        scores += sizes[2] * image_level(rng, (boards, k, 1), design, cell.heavy_tails)
    # A last column of zeros for the negatives, whose condition is -1.
    separation = np.zeros((boards, k, n, len(design.uses) + 1))
    separation[..., :-1] = separations(cell, design, boards, rng)
    scores += np.take(separation, design.positives, axis=-1)
    return scores if cell.cut is None else np.clip(scores, *cell.cut)


def image_sds(image_effect: float) -> tuple[float, float, float]:
    """Sd of run x image, difficulty and method x image: their squares add up to 1."""
    return RUN_NOISE, (1.0 - RUN_NOISE**2 - image_effect**2) ** 0.5, image_effect


def image_level(rng: np.random.Generator, shape: tuple[int, ...], design: Design, heavy_tails: bool = False) -> Floats:
    """Draw numbers with variance 1 for each row, (*shape, N); rows of a subject are correlated."""
    size = (*shape, len(design.subjects))
    rows = rng.standard_t(3, size) / 3**0.5 if heavy_tails else rng.standard_normal(size)
    if not design.clustered:
        return rows
    of_subject = rng.standard_normal((*shape, int(design.subjects.max()) + 1))
    rows *= (1.0 - OF_SUBJECT) ** 0.5
    rows += OF_SUBJECT**0.5 * np.take(of_subject, design.subjects, axis=-1)
    return rows


def separations(cell: SimulatedCell, design: Design, boards: int, rng: np.random.Generator) -> Floats:
    """Draw how far apart each run holds the classes, (B, k, n, C), so that the population AUROC is `cell.auroc`."""
    sd = np.full((len(cell.kinds), 1), cell.seed_sd)
    sd[0] *= cell.baseline_factor
    target = cell.auroc[:, None] + cell.spread * np.array(design.offsets)
    mean = np.vectorize(mean_separation)(target, np.broadcast_to(sd, target.shape), *auroc_settings(cell))
    shape = (boards, len(cell.kinds), cell.seeds)
    run = OF_RUN**0.5 * rng.standard_normal((*shape, 1))
    run = run + (1.0 - OF_RUN) ** 0.5 * rng.standard_normal((*shape, len(design.uses)))
    return np.asarray(mean[:, None] + sd[:, None] * run)


def auroc_settings(cell: SimulatedCell) -> tuple[float, float, float]:
    """What the population AUROC depends on beside the separation: image effect (NaN: normal tails), both cuts."""
    return (cell.image_effect if cell.heavy_tails else np.nan, *(cell.cut or (-np.inf, np.inf)))


@cache
def mean_separation(auroc: float, sd: float, heavy: float, low: float, high: float) -> float:
    """Mean over runs of the separation that gives a population AUROC."""
    if np.isnan(heavy) and np.isinf(low):
        return float(stats.norm.ppf(auroc) * np.sqrt(2.0 + sd**2))
    return float(optimize.brentq(lambda mean: population_auroc(mean, sd, heavy, low, high) - auroc, -9.0, 9.0))


def population_auroc(mean: float, sd: float, heavy: float, low: float, high: float) -> float:
    """AUROC over new subjects and new runs, whose separation is normal.

    Args:
        mean: Of the separation.
        sd: Of the separation.
        heavy: Image effect where tails are heavy, else NaN: a positive's score minus a negative's is then normal
            with variance 2 for a given run and 2 + sd^2 over runs.
        low: Lower cut.
        high: Upper cut; heavy tails are never cut.
    """
    if not np.isnan(heavy):
        # The characteristic function of a t with 3 degrees of freedom and variance 1 is (1 + |u|) exp(-|u|).
        sizes = np.array(image_sds(heavy))

        def integrand(u: float) -> float:
            both = float(np.prod((1.0 + sizes * u) * np.exp(-sizes * u))) ** 2
            return mean * float(np.sinc(mean * u / np.pi)) * both * float(np.exp(-((sd * u) ** 2) / 2.0))

        return 0.5 + float(integrate.quad(integrand, 0.0, 40.0, limit=200)[0]) / np.pi
    nodes, weights = np.polynomial.hermite_e.hermegauss(30)
    return float(weights @ _cut_auroc(mean + sd * nodes, low, high) / weights.sum())


def _cut_auroc(separation: Floats, low: float, high: float) -> Floats:
    """AUROC of N(separation, 1) against N(0, 1), both cut at two ends, ties one half; (m,) separations."""
    points, weights = np.polynomial.legendre.leggauss(60)
    x = low + (points + 1.0) * (high - low) / 2.0
    density = np.exp(-((x - separation[:, None]) ** 2) / 2.0) / np.sqrt(2.0 * np.pi)
    inside = density @ (weights * special.ndtr(x)) * (high - low) / 2.0
    top = special.ndtr(separation - high) * (1.0 - special.ndtr(-high) / 2.0)
    bottom = special.ndtr(low - separation) * special.ndtr(low) / 2.0
    return np.asarray(inside + top + bottom)
