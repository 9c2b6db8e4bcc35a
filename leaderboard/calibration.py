"""How often the board's statistics are right: their error rates on boards whose truth is known.

Every test is held against its own estimand: two methods are equal when their AUROCs in the population of
subjects and seeds are, whatever they are on the subjects drawn; an interval is right when it contains the
population value; a rank interval when it contains every rank that the population values allow.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context

import numpy as np
import numpy.typing as npt

from divsal_bench.leaderboard import batched
from divsal_bench.leaderboard.families import ALPHA, MIN_SEEDS, Pair, families
from divsal_bench.leaderboard.simulation import DESIGNS, EFFECTS, Cell, draw

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

BATCH = 25
"""Boards drawn at once; part of what the random numbers depend on."""

GAINS = tuple(sorted(set(EFFECTS.values())))
"""Sizes at which power is measured, in AUROC."""


@dataclass(frozen=True)
class Measure:
    """A share of boards, or a mean over boards of a share, with its pass mark.

    Attributes:
        name: Key in CSV and JSON.
        heading: Column of the table: what is counted, a colon, and where.
        at_least: Pass mark; NaN for none.
        at_most: Pass mark; NaN for none.
        allowance: Monte Carlo errors by which the mark may be missed.
    """

    name: str
    heading: str
    at_least: float = math.nan
    at_most: float = math.nan
    allowance: float = 2.0


MEASURES = (
    Measure("errors_baseline", "errors: baseline", at_most=0.06),
    Measure("errors_divergence", "errors: divergence", at_most=0.06),
    Measure("errors_controls", "errors: controls", at_most=0.06),
    Measure("errors_pairs", "errors: all pairs", at_most=0.06),
    Measure("ranks", "ranks: all right", at_least=0.94, allowance=0.0),
    Measure("coverage_baseline", "covered: − baseline", at_least=0.93),
    Measure("coverage_others", "covered: other pairs", at_least=0.93),
    Measure("coverage_mean_baseline", "covered: baseline mean", at_least=0.93),
    Measure("coverage_mean_others", "covered: other means", at_least=0.93),
    *(Measure(f"power_{gain:.2f}", f"power: +{gain:.2f}") for gain in GAINS),
    Measure("errors_paired_t", "paired t: baseline"),
)


@dataclass(frozen=True)
class Rate:
    """What was measured.

    Attributes:
        measure: What it is.
        value: In [0, 1]; NaN where the cell has nothing to measure.
        error: Monte Carlo standard error, from the variance between boards.
        holds: Whether the pass mark is met; None without one.
    """

    measure: Measure
    value: float
    error: float
    holds: bool | None


@dataclass(frozen=True)
class CellRates:
    """All measures of one cell."""

    cell: Cell
    boards: int
    rates: tuple[Rate, ...]


@dataclass(frozen=True)
class Batch:
    """Boards to draw together: number `index` of their cell."""

    cell: Cell
    seed: int
    index: int
    boards: int


def calibrate(cells: Sequence[Cell], boards: int, seed: int = 0, workers: int = 1) -> Iterator[CellRates]:
    """Simulate the cells one after the other.

    A cell's numbers depend on its definition, `seed` and `boards` alone: not on the other cells, the number
    of workers or which of them was faster.

    Args:
        cells: From `simulation.choose`.
        boards: Boards per cell, at least 2.
        seed: At least 0.
        workers: Processes; 1 stays in this one.
    """
    batches = [
        Batch(cell, seed, index, min(BATCH, boards - start))
        for cell in cells
        for index, start in enumerate(range(0, boards, BATCH))
    ]
    if workers == 1:
        yield from _by_cell(cells, boards, map(simulate, batches))
        return
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    try:
        yield from _by_cell(cells, boards, pool.map(simulate, batches))
    finally:
        pool.shutdown(cancel_futures=True)


def _by_cell(cells: Sequence[Cell], boards: int, found: Iterable[dict[str, Floats]]) -> Iterator[CellRates]:
    """Put the batches, in order, together again."""
    found = iter(found)
    for cell in cells:
        parts = list(islice(found, math.ceil(boards / BATCH)))
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        rates = tuple(rate(measure, joined.get(measure.name, np.array([])), cell.seeds) for measure in MEASURES)
        yield CellRates(cell, boards, rates)


def rate(measure: Measure, values: Floats, seeds: int) -> Rate:
    """Average (B,) values of one board each; with no boards there was nothing to measure.

    The pass marks are for boards that get ranks: with fewer than `MIN_SEEDS` seeds the product prints none.
    """
    if values.size == 0:
        return Rate(measure, math.nan, math.nan, None)
    value, error = float(values.mean()), float(values.std(ddof=1)) / len(values) ** 0.5
    slack = measure.allowance * error
    holds = None
    if seeds >= MIN_SEEDS and not (math.isnan(measure.at_least) and math.isnan(measure.at_most)):
        # Written so that the missing one of the two marks, a NaN, is never failed.
        holds = not (value + slack < measure.at_least or value - slack > measure.at_most)
    return Rate(measure, value, error, holds)


def simulate(batch: Batch) -> dict[str, Floats]:
    """Draw a batch and judge it: for each measure that the cell has, (B,) values in [0, 1]."""
    cell, design = batch.cell, DESIGNS[batch.cell.design]()
    rng = np.random.default_rng([batch.seed, batch.index, *cell.name.encode()])
    scores = draw(cell, design, batch.boards, rng)
    return judge(cell, *batched.clustered_influence(scores, design.conditions, design.subjects))


def judge(cell: Cell, primary: Floats, influence: Floats) -> dict[str, Floats]:
    """Compare what the statistics say with the truth.

    Args:
        cell: Where the runs come from.
        primary: (B, k, n) primary metric of each run.
        influence: (B, k, n, K) influence of each subject on it.
    """
    return {
        **family_errors_and_power(cell, primary, influence),
        **pairs_and_ranks(cell, primary, influence),
        **coverage_of_means(cell, primary, influence),
    }


def columns(cell: Cell, pairs: Sequence[Pair]) -> tuple[Ints, Ints]:
    """Where the methods of each pair stand in the cell: (m,) each."""
    names = list(cell.kinds)
    first, second = np.array([[names.index(a), names.index(b)] for a, b in pairs], dtype=np.intp).T
    return first, second


def errors(significant: npt.NDArray[np.bool_], difference: Floats, truth: Floats) -> Floats:
    """Whether a board has a significant difference, (B, m), where none is or where the true one is opposite."""
    return np.asarray((significant & (np.sign(difference) != np.sign(truth))).any(axis=1), dtype=np.float64)


def family_errors_and_power(cell: Cell, primary: Floats, influence: Floats) -> dict[str, Floats]:
    """Measure the three Holm families; a family without a true null has no error rate."""
    found: dict[str, Floats] = {}
    for family in families(cell.kinds):
        first, second = columns(cell, family.pairs)
        truth = cell.auroc[first] - cell.auroc[second]
        estimates = batched.compare(primary, influence, first, second)
        significant = batched.holm(estimates.p()) <= ALPHA
        if (truth == 0.0).any():
            found[f"errors_{family.name}"] = errors(significant, estimates.mean, truth)
        if family.name == "baseline":
            by_seed = batched.holm(batched.paired_t(primary, first, second)) <= ALPHA
            found["errors_paired_t"] = errors(by_seed, estimates.mean, truth)
            for gain in GAINS:
                members = np.isclose(truth, gain)
                if members.any():
                    right = significant[:, members] & (estimates.mean[:, members] > 0.0)
                    found[f"power_{gain:.2f}"] = right.mean(axis=1)
    return found


def pairs_and_ranks(cell: Cell, primary: Floats, influence: Floats) -> dict[str, Floats]:
    """Measure what is said of the ranked methods and their pairs."""
    ranked = [column for column, kind in enumerate(cell.kinds.values()) if kind != "control"]
    auroc, k = cell.auroc[ranked], len(ranked)
    first, second = np.triu_indices(k, 1)
    truth = auroc[first] - auroc[second]
    estimates = batched.compare(primary[:, ranked], influence[:, ranked], first, second)
    p = estimates.p()
    low, high = batched.rank_intervals(k, first, second, estimates.mean, p)
    # Tied methods may hold any of the ranks that they share, so the interval must contain them all.
    best = 1 + (auroc > auroc[:, None]).sum(axis=1)
    worst = k - (auroc < auroc[:, None]).sum(axis=1)
    covered = estimates.difference_covers(truth)
    with_baseline = first == 0
    return {
        "errors_pairs": errors(batched.holm(p) <= ALPHA, estimates.mean, truth),
        "ranks": ((low <= best) & (high >= worst)).all(axis=1).astype(np.float64),
        "coverage_baseline": covered[:, with_baseline].mean(axis=1),
        "coverage_others": covered[:, ~with_baseline].mean(axis=1),
    }


def coverage_of_means(cell: Cell, primary: Floats, influence: Floats) -> dict[str, Floats]:
    """Measure the population interval of each method's own mean."""
    covered = batched.single(primary, influence).mean_covers(cell.auroc)
    return {
        "coverage_mean_baseline": covered[:, 0].astype(np.float64),
        "coverage_mean_others": covered[:, 1:].mean(axis=1),
    }
