"""Boards with a known truth, many at a time: what `divsal-bench calibrate` runs the statistics on.

The score of row i in the run of method m with seed j is

    [i is positive] * separation(m, j, condition of i)    differs from seed to seed
    + difficulty(i)                                       shared by all methods and seeds
    + effect(m, i)                                        method x image, shared by all seeds of a method
    + noise(m, j, i)                                      run x image

All parts are normal, and the last three add up to a variance of 1 within a class: one unit is the score's
sd. Under a true null two methods have the same AUROC in the population of subjects and seeds; on the
subjects of one board they differ by the accident of effect(m, i), new subjects would bring new ones, and no
number of seeds removes that.

Source:
    Roe, Metz 1997, Academic Radiology 4:298 (the model of readers and cases, here with run-level AUROCs).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from divsal_bench.errors import unknown
from divsal_bench.leaderboard.families import BASELINE, REFERENCE, Kind
from divsal_bench.leaderboard.placements import Condition

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

EFFECTS = {REFERENCE: 0.03, "difference": 0.03, "contrast": 0.05, "margin": 0.07}
"""Gains in population AUROC where there are true effects; every family of two or more keeps a true null."""


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
    def clustered(self) -> bool:
        """Whether a subject has more than one row."""
        return len(np.unique(self.subjects)) < len(self.subjects)


def plain(scale: int = 1) -> Design:
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


DESIGNS = {"plain": plain, "clustered": clustered, "few subjects": few_subjects, "four conditions": four_conditions}


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
    """

    name: str
    seeds: int
    image_effect: float = 0.35
    design: Literal["plain", "clustered", "few subjects", "four conditions"] = "plain"
    seed_sd: float = 0.1
    baseline_factor: float = 1.0
    level: float = 0.85
    kinds: dict[str, Kind] = field(default_factory=lambda: METHODS)
    gains: dict[str, float] = field(default_factory=dict)

    @property
    def auroc(self) -> Floats:
        """(k,) AUROC of each method over new seeds and new subjects, the mean over conditions."""
        return np.array([self.level + self.gains.get(name, 0.0) for name in self.kinds])


def draw(cell: Cell, design: Design, boards: int, rng: np.random.Generator) -> Floats:
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
    difficulty = (1.0 - RUN_NOISE**2 - cell.image_effect**2) ** 0.5
    scores = RUN_NOISE * image_level(rng, (boards, k, n), design)
    scores += difficulty * image_level(rng, (boards, 1, 1), design)
    if cell.image_effect > 0.0:
        scores += cell.image_effect * image_level(rng, (boards, k, 1), design)
    # A last column of zeros for the negatives, whose condition is -1.
    separation = np.zeros((boards, k, n, len(design.uses) + 1))
    separation[..., :-1] = separations(cell, design, boards, rng)
    scores += np.take(separation, design.positives, axis=-1)
    return scores


def image_level(rng: np.random.Generator, shape: tuple[int, ...], design: Design) -> Floats:
    """Draw normals with variance 1 for each row, (*shape, N); rows of a subject are correlated."""
    rows = rng.standard_normal((*shape, len(design.subjects)))
    if not design.clustered:
        return rows
    of_subject = rng.standard_normal((*shape, int(design.subjects.max()) + 1))
    rows *= (1.0 - OF_SUBJECT) ** 0.5
    rows += OF_SUBJECT**0.5 * np.take(of_subject, design.subjects, axis=-1)
    return rows


def separations(cell: Cell, design: Design, boards: int, rng: np.random.Generator) -> Floats:
    """Draw how far apart each run holds the classes, (B, k, n, C).

    A positive's score minus a negative's is normal with variance 2 for a given run and 2 + sd^2 over runs,
    so that the population AUROC is Phi(mean / sqrt(2 + sd^2)): the mean below makes it `cell.auroc`.
    """
    sd = np.full((len(cell.kinds), 1), cell.seed_sd)
    sd[0] *= cell.baseline_factor
    mean = stats.norm.ppf(cell.auroc[:, None] + np.array(design.offsets)) * np.sqrt(2.0 + sd**2)
    shape = (boards, len(cell.kinds), cell.seeds)
    run = OF_RUN**0.5 * rng.standard_normal((*shape, 1))
    run = run + (1.0 - OF_RUN) ** 0.5 * rng.standard_normal((*shape, len(design.uses)))
    return np.asarray(mean[:, None] + sd[:, None] * run)


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
    found += [Cell("equal-0.35-n3", 3), Cell("effects-n3", 3, image_effect=0.2, seed_sd=0.06, gains=EFFECTS)]
    return {cell.name: cell for cell in found}


def choose(text: str) -> list[Cell]:
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
