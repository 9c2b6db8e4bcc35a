"""Numbers of a table as the page prints them."""

from __future__ import annotations

import math

from divsal_bench.leaderboard.axes import unit
from divsal_bench.leaderboard.board import Agreement, Row
from divsal_bench.leaderboard.cells import Cell
from divsal_bench.leaderboard.families import ALPHA, MIN_SEEDS
from divsal_bench.leaderboard.reader_case import Comparison, FixedImages, Interval
from divsal_bench.leaderboard.render import NONE, run_counts

Signed = Comparison | FixedImages


def number(value: float | None, digits: int = 3) -> str:
    """A number, or a dash where there is none."""
    return NONE if value is None or math.isnan(value) else f"{value:.{digits}f}".replace("-", "−")


def signed(value: float | None) -> str:
    """A difference with its sign."""
    return NONE if value is None or math.isnan(value) else f"{value:+.3f}".replace("-", "−")


def mean_sd(cell: Cell | None, digits: int = 3) -> str:
    """``mean ± sd`` over seeds."""
    if cell is None or math.isnan(cell.mean):
        return "n/a"
    return number(cell.mean, digits) + (f" ± {cell.sd:.{digits}f}" if cell.n > 1 else "")


def t_interval(cell: Cell) -> str:
    """The interval over seeds alone, an AUROC's: cut at 0 and 1."""
    return NONE if math.isnan(cell.low) else f"[{unit(cell.low):.3f}, {unit(cell.high):.3f}]"


def extremes(cell: Cell) -> str:
    """Smallest and largest seed."""
    return NONE if math.isnan(cell.minimum) else f"{cell.minimum:.3f} to {cell.maximum:.3f}"


def population(interval: Interval | None) -> str:
    """The population interval of an AUROC, cut at 0 and 1."""
    if interval is None:
        return NONE
    return "undefined" if math.isnan(interval.low) else f"[{unit(interval.low):.3f}, {unit(interval.high):.3f}]"


def signed_interval(found: Signed | None) -> str:
    """The interval of a difference."""
    if found is None:
        return NONE
    return "undefined" if math.isnan(found.low) else f"[{signed(found.low)}, {signed(found.high)}]"


def probability(p: float | None) -> str:
    """A p or q without its star."""
    if p is None:
        return NONE
    if math.isnan(p):
        return "undefined"
    return "<.001" if p < 0.001 else f"{p:.3f}"


def is_significant(p: float | None) -> bool:
    """Whether an adjusted p or q gets a star."""
    return p is not None and not math.isnan(p) and p <= ALPHA


def lift(found: Agreement | None) -> str:
    """Mean lift; 1 is chance."""
    return NONE if found is None else number(found.lift.mean, 2)


def unranked(row: Row) -> str:
    """Why a row has no rank."""
    if row.kind == "control":
        return "controls are not ranked"
    if row.failed + row.diverged:
        return f"runs without a result: {run_counts(row).partition(', ')[2]}"
    if len(row.seeds) < MIN_SEEDS:
        return f"n = {len(row.seeds)}: a rank needs {MIN_SEEDS} seeds"
    if row.unranked:
        return row.unranked
    if math.isnan(row.primary.seeds.mean):
        return "no AUROC"
    return "no other method to rank it against"
