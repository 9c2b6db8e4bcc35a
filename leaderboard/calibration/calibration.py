"""How often the board's statistics are right: their error rates on boards whose truth is known.

Here boards are drawn and rates are counted; `judging` says on each board what is right.
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

from divsal_bench.leaderboard.calibration import batched
from divsal_bench.leaderboard.calibration.boards import Boards, estimate, join_boards
from divsal_bench.leaderboard.calibration.cells import SimulatedCell
from divsal_bench.leaderboard.calibration.designs import DESIGNS
from divsal_bench.leaderboard.calibration.judging import GAINS, judge_boards
from divsal_bench.leaderboard.calibration.simulation import draw_scores

Floats = npt.NDArray[np.float64]

#: Boards drawn at once; part of what the random numbers depend on.
BATCH = 25


@dataclass(frozen=True)
class Measure:
    """A share of boards, or a mean over boards of a share, with its pass mark; or a number in AUROC without one.

    Attributes:
        name: Key in CSV and JSON.
        topic: Table that it stands in.
        heading: Column of the table: what is counted, a colon, and where.
        at_least: Pass mark; NaN for none.
        at_most: Pass mark; NaN for none.
        allowance: Monte Carlo errors by which the mark may be missed.
        is_auroc: Whether the value is a difference of AUROCs and no share.
    """

    name: str
    topic: str
    heading: str
    at_least: float = math.nan
    at_most: float = math.nan
    allowance: float = 2.0
    is_auroc: bool = False


#: Every table and its title.
TOPICS = {
    "verdicts": "Stars and ranks",
    "intervals": "Intervals",
    "power": "Power and the smallest visible effect",
    "marks": "Marks",
    "others": "False discoveries, reproduction, paired t",
}

MEASURES = (
    Measure("errors_baseline", "verdicts", "errors: baseline", at_most=0.06),
    Measure("errors_divergence", "verdicts", "errors: divergence", at_most=0.06),
    Measure("errors_controls", "verdicts", "errors: controls", at_most=0.06),
    Measure("errors_pairs", "verdicts", "errors: all pairs", at_most=0.06),
    Measure("ranks", "verdicts", "ranks: all right", at_least=0.94, allowance=0.0),
    Measure("withheld_pairs", "verdicts", "no p: pairs"),
    Measure("coverage_baseline", "intervals", "covered: − baseline", at_least=0.93),
    Measure("coverage_others", "intervals", "covered: other pairs", at_least=0.93),
    Measure("coverage_unpaired", "intervals", "covered: other seeds", at_least=0.93),
    Measure("coverage_mean_baseline", "intervals", "covered: baseline mean", at_least=0.93),
    Measure("coverage_mean_others", "intervals", "covered: other means", at_least=0.93),
    Measure("coverage_condition", "intervals", "covered: − baseline, one condition", at_least=0.93),
    Measure("coverage_condition_mean", "intervals", "covered: means, one condition", at_least=0.93),
    Measure("withheld_means", "intervals", "no interval: means"),
    *(Measure(f"power_{gain:.2f}", "power", f"found: +{gain:.2f}") for gain in GAINS),
    Measure("effect_low", "power", "smallest visible: 10 % of boards say less than", is_auroc=True),
    Measure("effect_middle", "power", "smallest visible: median", is_auroc=True),
    Measure("effect_high", "power", "smallest visible: 10 % say more than", is_auroc=True),
    Measure("power_own", "power", "found: of that size, same board"),
    Measure("power_next", "power", "found: of that size, another board"),
    Measure("effect_range", "power", "its range: right"),
    Measure("above_at_chance", "marks", "not marked: 0.50", at_most=0.035),
    Measure("below_at_chance", "marks", "shown below: 0.50", at_most=0.035),
    *(Measure(f"unproven_{level:.2f}", "marks", f"not shown above: {level:.2f}") for level in (0.56, 0.60, 0.65)),
    Measure("below_0.44", "marks", "shown below: 0.44"),
    Measure("worst_above_at_chance", "marks", "worst not marked: 0.50", at_most=0.035),
    Measure("worst_below_at_chance", "marks", "worst shown below: 0.50", at_most=0.035),
    Measure("worse_0.00", "marks", "in-domain worse: 0", at_most=0.035),
    Measure("worse_0.02", "marks", "in-domain worse: −0.02", at_most=0.035),
    *(Measure(f"worse_{loss:.2f}", "marks", f"in-domain worse: −{loss:.2f}") for loss in (0.06, 0.12)),
    Measure("false_discoveries", "others", "Benjamini–Hochberg: false", at_most=0.06),
    Measure("reproduction_rejected", "others", "reproduction: true one rejected", at_most=0.06),
    Measure("reproduction_noticed", "others", "reproduction: stated miss noticed"),
    Measure("errors_paired_t", "others", "paired t: errors"),
)


@dataclass(frozen=True)
class Rate:
    """What was measured.

    Attributes:
        value: In [0, 1], or in AUROC; NaN where the cell has nothing to measure.
        error: Monte Carlo standard error, from the variance between boards; NaN for an AUROC.
        holds: Whether the pass mark is met; None without one.
        withheld: Whether the value is missing because no board prints what would be measured.
    """

    measure: Measure
    value: float
    error: float
    holds: bool | None
    withheld: bool = False


@dataclass(frozen=True)
class CellRates:
    """All measures of one cell."""

    cell: SimulatedCell
    boards: int
    rates: tuple[Rate, ...]


@dataclass(frozen=True)
class BoardBatch:
    """Boards to draw together: number `index` of their cell."""

    cell: SimulatedCell
    seed: int
    index: int
    boards: int


def simulate_cells(cells: Sequence[SimulatedCell], boards: int, seed: int = 0, workers: int = 1) -> Iterator[CellRates]:
    """Simulate the cells one after the other.

    A cell's numbers depend on its definition, `seed` and `boards` alone: not on the other cells, the number
    of workers or which of them was faster.

    Args:
        cells: From `simulation.cells_named`.
        boards: Boards per cell, at least 2.
        workers: Processes; 1 stays in this one.
    """
    batches = [
        BoardBatch(cell, seed, index, min(BATCH, boards - start))
        for cell in cells
        for index, start in enumerate(range(0, boards, BATCH))
    ]
    if workers == 1:
        yield from _by_cell(cells, boards, map(simulate_batch, batches))
        return
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    try:
        yield from _by_cell(cells, boards, pool.map(simulate_batch, batches))
    finally:
        pool.shutdown(cancel_futures=True)


def _by_cell(cells: Sequence[SimulatedCell], boards: int, found: Iterable[Boards]) -> Iterator[CellRates]:
    """Put the batches, in order, together again."""
    found = iter(found)
    for cell in cells:
        judged = judge_boards(cell, DESIGNS[cell.design](), join_boards(list(islice(found, math.ceil(boards / BATCH)))))
        rates = tuple(rate(measure, judged.get(measure.name, np.array([])), cell.is_marked) for measure in MEASURES)
        yield CellRates(cell, boards, rates)


def rate(measure: Measure, values: Floats, is_marked: bool = True) -> Rate:
    """Average (B,) values of one board each, NaN where a board prints nothing that could be right or wrong.

    Args:
        values: Empty where the cell has nothing of the kind.
    """
    known = values[~np.isnan(values)]
    if known.size == 0:
        return Rate(measure, math.nan, math.nan, None, withheld=values.size > 0)
    if measure.is_auroc:
        return Rate(measure, float(known.mean()), math.nan, None)
    value = float(known.mean())
    error = float(known.std(ddof=1)) / len(known) ** 0.5 if len(known) > 1 else math.inf
    slack = measure.allowance * error if measure.allowance else 0.0
    holds = None
    if is_marked and not (math.isnan(measure.at_least) and math.isnan(measure.at_most)):
        # Written so that the missing one of the two marks, a NaN, is never failed.
        holds = not (value + slack < measure.at_least or value - slack > measure.at_most)
    return Rate(measure, value, error, holds)


def simulate_batch(batch: BoardBatch) -> Boards:
    """Draw a batch and let the statistics speak of it."""
    cell, design = batch.cell, DESIGNS[batch.cell.design]()
    rng = np.random.default_rng([batch.seed, batch.index, *cell.name.encode()])
    scores = draw_scores(cell, design, batch.boards, rng)
    return estimate(*batched.condition_influence(scores, design.conditions, design.subjects))
