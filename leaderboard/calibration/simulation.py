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

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, cached_property, partial

import numpy as np
import numpy.typing as npt
from scipy import integrate, optimize, special, stats

from divsal_bench.errors import unknown
from divsal_bench.leaderboard.statistics.families import BASELINE, MIN_SEEDS, REFERENCE, Kind
from divsal_bench.leaderboard.statistics.placements import Condition, SubjectCounts, count_subjects

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

RUN_NOISE = 0.4
"""Sd of the run x image part, in score sd."""

OF_SUBJECT = 0.5
"""Share of each image-level variance that a subject's rows have in common, where subjects have several."""

OF_RUN = 0.5
"""Share of the variance of a run's separation that its conditions have in common."""

METHODS: dict[str, Kind] = {
    BASELINE: "unguided",
    "balanced-cross-entropy": "unguided",
    REFERENCE: "one-cam",
    "difference": "two-cam",
    "contrast": "two-cam",
    "margin": "two-cam",
    "cyborg-shuffled": "control",
}
"""Six ranked methods and one control: every family and every pair exists."""

MORE_METHODS: dict[str, Kind] = {
    **METHODS,
    "one-cam submission": "one-cam",
    "two-cam submission": "two-cam",
    "unguided submission": "unguided",
    "cyborg-inverted": "control",
    "cyborg-center": "control",
}
"""Nine ranked methods and three controls."""

NOISY = 6.7
"""Factor of the baseline's `seed_sd` that makes the seed sd of its AUROC 4 times the others' of 0.06."""

NOISIER, UNSTABLE = 10.0, 20.0
"""Factors that make it 6 and 10 times the others'; with the second a mean of .85 has seeds from .4 to 1."""

EFFECTS = {REFERENCE: 0.03, "difference": 0.03, "contrast": 0.05, "margin": 0.07}
"""Gains in population AUROC where there are true effects; every family of two or more keeps a true null."""


CHANCE = {REFERENCE: 0.05, "difference": 0.06, "contrast": 0.10, "margin": 0.15, "cyborg-shuffled": -0.06}
"""Population AUROCs .50, .55, .56, .60, .65 and .44 around a `level` of .50; the lower condition of .55 is at .50."""

LOSSES = {REFERENCE: -0.02, "difference": -0.06, "contrast": -0.12}
"""Losses against the baseline: none, just the one that is let pass, and two that are not."""


@dataclass(frozen=True, eq=False)
class Design:
    """Who is in the test set and which rows each AUROC is computed from.

    Attributes:
        subjects: (N,) subject of each row, 0 to K - 1.
        positives: (N,) condition that a positive row belongs to, -1 for negatives.
        negatives: (N,) group of a negative row, -1 for positives.
        uses: (C,) group of negatives that each condition uses; conditions may share one.
        offsets: (C,) how much easier each condition is than the mean, in AUROC; they sum to 0.
    """

    subjects: Ints
    positives: Ints
    negatives: Ints
    uses: tuple[int, ...]
    offsets: tuple[float, ...]

    @cached_property
    def conditions(self) -> tuple[Condition, ...]:
        """The masks that the statistics take."""
        return tuple(
            Condition(f"condition {c}", self.positives == c, self.negatives == group)
            for c, group in enumerate(self.uses)
        )

    @cached_property
    def counts(self) -> list[SubjectCounts]:
        """How many subjects each condition rests on."""
        return count_subjects(self.conditions, self.subjects)

    @cached_property
    def clustered(self) -> bool:
        """Whether a subject has more than one row."""
        return len(np.unique(self.subjects)) < len(self.subjects)


def one_row_each(scale: int = 1) -> Design:
    """220 subjects with a row each: 100 negatives shared by two conditions with 60 positives each."""
    rows = np.repeat([-1, 0, 1], [100 * scale, 60 * scale, 60 * scale])
    return Design(np.arange(len(rows)), rows, np.where(rows < 0, 0, -1), uses=(0, 0), offsets=(-0.05, 0.05))


def clustered(scale: int = 1) -> Design:
    """150 subjects with 1 to 3 rows, 300 in all."""
    return of_subjects(np.resize([1, 2, 3], 150 * scale))


def few_subjects(scale: int = 1) -> Design:
    """50 subjects with 3 rows each."""
    return of_subjects(np.repeat(3, 50 * scale))


def of_subjects(rows_each: Ints) -> Design:
    """Two conditions that share their negatives; every other subject has one class only, the rest mix them.

    Args:
        rows_each: (K,) number of rows of each subject.
    """
    subjects = np.repeat(np.arange(len(rows_each)), rows_each)
    kinds = np.array([-1, 0, -1, 1, -1, 0, -1, 1, -1, 0, 1])
    one_kind = subjects % 2 == 0
    rows = kinds[np.where(one_kind, subjects // 2, np.arange(len(subjects))) % len(kinds)]
    return Design(subjects, rows, np.where(rows < 0, 0, -1), uses=(0, 0), offsets=(-0.05, 0.05))


def four_conditions(scale: int = 1) -> Design:
    """300 subjects: three conditions of 40 positives share 100 negatives, a fourth has 40 negatives of its own."""
    rows = np.repeat([-1, 0, 1, 2, 3, -2], np.array([100, 40, 40, 40, 40, 40]) * scale)
    negatives = np.select([rows == -1, rows == -2], [0, 1], -1)
    return Design(
        np.arange(len(rows)), np.maximum(rows, -1), negatives, uses=(0, 0, 0, 1), offsets=(-0.08, -0.02, 0.03, 0.07)
    )


def mixed(subjects: int, scale: int = 1) -> Design:
    """Subjects with ten rows each: four negatives, three positives of each of two conditions."""
    rows = np.tile(np.repeat([-1, 0, 1], [4, 3, 3]), subjects * scale)
    return Design(np.repeat(np.arange(subjects * scale), 10), rows, np.where(rows < 0, 0, -1), (0, 0), (-0.05, 0.05))


def dominant(rows: int, scale: int = 1) -> Design:
    """100 subjects with 2 rows each, of both classes or one, but for one that has `rows` of both classes."""
    return of_subjects(np.where(np.arange(100 * scale) == 1, rows * scale, 2))


def dominant_negative(rows: int, scale: int = 1) -> Design:
    """The same with one that has `rows` negatives and nothing else."""
    return of_subjects(np.where(np.arange(100 * scale) == 0, rows * scale, 2))


def uneven(scale: int = 1) -> Design:
    """100 subjects with 10, 8, 6, 5, 5, 4, 4, 3, ... rows."""
    return of_subjects(np.maximum(1, 40 * scale // (4 + np.arange(100 * scale))))


def classes(negatives: int, positives: int, scale: int = 1) -> Design:
    """A row per subject: negatives that two conditions share, and as many positives in each."""
    rows = np.repeat([-1, 0, 1], [negatives * scale, positives * scale, positives * scale])
    return Design(np.arange(len(rows)), rows, np.where(rows < 0, 0, -1), uses=(0, 0), offsets=(-0.05, 0.05))


DESIGNS: dict[str, Callable[..., Design]] = {
    "plain": one_row_each,
    "clustered": clustered,
    "few subjects": few_subjects,
    "four conditions": four_conditions,
    **{f"{count} mixed": partial(mixed, count) for count in (5, 10, 20, 40)},
    "dominant": partial(dominant, 85),
    "large": partial(dominant, 44),
    "large, negative": partial(dominant_negative, 16),
    "uneven": uneven,
    "small classes": partial(classes, 20, 10),
    "rare positives": partial(classes, 475, 12),
}


@dataclass(frozen=True)
class Cell:
    """One kind of board.

    Attributes:
        name: What `--cells` takes.
        seeds: n, at least 2.
        image_effect: Sd of the method x image effect, in score sd, in [0, 0.9].
        design: A key of `DESIGNS`.
        seed_sd: Sd of a run's separation, in score sd; with 0.1 and the noise an AUROC of .85 has a seed sd
            of about .018.
        baseline_factor: How many times that the baseline's is.
        level: Population AUROC of a method without an effect, the mean over conditions.
        kinds: Kind of each method, the baseline first.
        gains: Population AUROC above `level`, of the methods that have a true effect.
        spread: Factor of the design's `offsets`.
        heavy_tails: Whether what differs between images is t with 3 degrees of freedom instead of normal.
        cut: Scores outside are set to the nearer end, so that they tie; None for none.
        is_beyond: Whether it lies beyond what is promised, and is shown without pass marks.
    """

    name: str
    seeds: int
    image_effect: float = 0.35
    design: str = "plain"
    seed_sd: float = 0.1
    baseline_factor: float = 1.0
    level: float = 0.85
    kinds: dict[str, Kind] = field(default_factory=lambda: METHODS)
    gains: dict[str, float] = field(default_factory=dict)
    spread: float = 1.0
    heavy_tails: bool = False
    cut: tuple[float, float] | None = None
    is_beyond: bool = False

    @property
    def is_marked(self) -> bool:
        """Whether pass marks apply: with fewer than `MIN_SEEDS` seeds the product prints no p and no rank."""
        return self.seeds >= MIN_SEEDS and not self.is_beyond

    @property
    def auroc(self) -> Floats:
        """(k,) AUROC of each method over new seeds and new subjects, the mean over conditions."""
        return np.array([self.level + self.gains.get(name, 0.0) for name in self.kinds])


def draw_scores(cell: Cell, design: Design, boards: int, rng: np.random.Generator) -> Floats:
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


def separations(cell: Cell, design: Design, boards: int, rng: np.random.Generator) -> Floats:
    """Draw how far apart each run holds the classes, (B, k, n, C), so that the population AUROC is `cell.auroc`."""
    sd = np.full((len(cell.kinds), 1), cell.seed_sd)
    sd[0] *= cell.baseline_factor
    target = cell.auroc[:, None] + cell.spread * np.array(design.offsets)
    mean = np.vectorize(mean_separation)(target, np.broadcast_to(sd, target.shape), *auroc_settings(cell))
    shape = (boards, len(cell.kinds), cell.seeds)
    run = OF_RUN**0.5 * rng.standard_normal((*shape, 1))
    run = run + (1.0 - OF_RUN) ** 0.5 * rng.standard_normal((*shape, len(design.uses)))
    return np.asarray(mean[:, None] + sd[:, None] * run)


def auroc_settings(cell: Cell) -> tuple[float, float, float]:
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


def cells() -> dict[str, Cell]:
    """List every kind of board by name: each at n = 5 and 10, and two at n = 3."""
    found = []
    for n in (5, 10):
        found += [
            Cell(f"equal-0-n{n}", n, image_effect=0.0),
            Cell(f"equal-0.2-n{n}", n, image_effect=0.2),
            Cell(f"equal-0.35-n{n}", n),
            Cell(f"clustered-n{n}", n, design="clustered"),
            Cell(f"four-conditions-n{n}", n, design="four conditions"),
            Cell(f"noisy-baseline-n{n}", n, image_effect=0.2, seed_sd=0.06, baseline_factor=NOISY),
            Cell(f"nine-methods-n{n}", n, image_effect=0.0, kinds=MORE_METHODS),
            Cell(f"near-ceiling-n{n}", n, level=0.93),
            Cell(f"few-subjects-n{n}", n, design="few subjects", level=0.93),
            Cell(f"effects-n{n}", n, image_effect=0.2, seed_sd=0.06, gains=EFFECTS),
            Cell(f"clustered-effects-n{n}", n, design="clustered", seed_sd=0.15, gains=EFFECTS),
        ]
        found += [
            Cell(f"{count}-mixed-subjects-n{n}", n, design=f"{count} mixed") for count in (5, 10, 20, 40)
        ]  # fmt: skip
        found += [
            Cell(f"dominant-subject-n{n}", n, design="dominant"),
            Cell(f"large-subject-n{n}", n, design="large"),
            Cell(f"large-negative-subject-n{n}", n, design="large, negative"),
            Cell(f"uneven-subjects-n{n}", n, design="uneven"),
            Cell(f"small-classes-n{n}", n, design="small classes"),
            Cell(f"rare-positives-n{n}", n, design="rare positives"),
            Cell(f"heavy-tails-n{n}", n, heavy_tails=True),
            Cell(f"saturated-n{n}", n, cut=(0.0, 1.5)),
            Cell(f"ceiling-n{n}", n, level=0.995, spread=0.04),
            Cell(f"noisier-baseline-n{n}", n, image_effect=0.2, seed_sd=0.06, baseline_factor=NOISIER),
            Cell(
                f"unstable-baseline-n{n}", n, image_effect=0.2, seed_sd=0.06, baseline_factor=UNSTABLE, is_beyond=True
            ),
            Cell(f"chance-n{n}", n, image_effect=0.2, level=0.5, gains=CHANCE),
            Cell(f"losses-n{n}", n, image_effect=0.2, seed_sd=0.06, level=0.9, gains=LOSSES),
        ]
    found += [Cell("reproduction-n15", 15)]
    found += [Cell("equal-0.35-n3", 3), Cell("effects-n3", 3, image_effect=0.2, seed_sd=0.06, gains=EFFECTS)]
    return {cell.name: cell for cell in found}


def cells_named(text: str) -> list[Cell]:
    """Read `all`, or names joined by commas.

    Raises:
        UserError: A name is not known.
    """
    known = cells()
    if text == "all":
        return list(known.values())
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names or [text]:
        if name not in known:
            raise unknown("cell", name, known)
    return [known[name] for name in names]
