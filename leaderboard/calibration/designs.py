"""Who is in the test set of a simulated board, and which rows each AUROC is computed from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import numpy.typing as npt

from divsal_bench.leaderboard.statistics.placements import AurocRows, SubjectCounts, count_subjects

Ints = npt.NDArray[np.intp]


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
    def conditions(self) -> tuple[AurocRows, ...]:
        """The masks that the statistics take."""
        return tuple(
            AurocRows(f"condition {c}", self.positives == c, self.negatives == group)
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
    """Two conditions with the same negatives, K subjects of so many rows; every other one has a single class."""
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
