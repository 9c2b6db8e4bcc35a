"""Numbers of a table in words, for texts and for the page."""

from __future__ import annotations

import math
from collections.abc import Sequence

from divsal_bench.leaderboard.sheets.entrants import TOO_FEW_SUBJECTS
from divsal_bench.leaderboard.statistics.families import ALPHA
from divsal_bench.leaderboard.statistics.over_seeds import SeedCell
from divsal_bench.leaderboard.statistics.reader_case import Comparison, FixedImages, Interval
from divsal_bench.leaderboard.tables.schema import Agreement, ConditionCell, MethodRow, PairTest, Test

#: Where there is no number.
NONE = "–"
Signed = Comparison | FixedImages


def number_or_dash(value: float | None, digits: int = 3) -> str:
    """A number, or a dash where there is none."""
    return NONE if value is None or math.isnan(value) else f"{value:.{digits}f}".replace("-", "−")


def signed_or_dash(value: float | None) -> str:
    """A difference with its sign."""
    return NONE if value is None or math.isnan(value) else with_sign(value).replace("-", "−")


def mean_sd(cell: SeedCell | None, digits: int = 3) -> str:
    """``mean ± sd`` over seeds."""
    if cell is None or math.isnan(cell.mean):
        return "n/a"
    return number_or_dash(cell.mean, digits) + (f" ± {cell.sd:.{digits}f}" if cell.n > 1 else "")


def t_interval(cell: SeedCell) -> str:
    """The interval over seeds alone, an AUROC's: cut at 0 and 1."""
    return NONE if math.isnan(cell.low) else unit_ends(cell.low, cell.high)


def extremes(cell: SeedCell) -> str:
    """Smallest and largest seed."""
    return NONE if math.isnan(cell.minimum) else f"{cell.minimum:.3f} to {cell.maximum:.3f}"


def population(interval: Interval | None) -> str:
    """The population interval of an AUROC, cut at 0 and 1."""
    if interval is None or interval.n < 2:
        return NONE
    return "no interval" if math.isnan(interval.low) else unit_ends(interval.low, interval.high)


def signed_interval(found: Signed | None) -> str:
    """The interval of a difference; one seed has none."""
    if found is None or found.n < 2:
        return NONE
    return "no interval" if math.isnan(found.low) else f"[{signed_or_dash(found.low)}, {signed_or_dash(found.high)}]"


def p_or_dash(p: float | None) -> str:
    """A p or q without its star."""
    if p is None:
        return NONE
    if math.isnan(p):
        return "undefined"
    return "<.001" if p < 0.001 else f"{p:.3f}"


def p_of_test(test: Test | PairTest) -> str:
    """The adjusted p of a test without its star, or that it is withheld."""
    return TOO_FEW_SUBJECTS if test.withheld else p_or_dash(test.p_holm)


def visible_effect_text(test: Test) -> str:
    """The smallest difference a test could be expected to show, with its 95 % range."""
    if math.isnan(test.smallest_effect):
        return NONE
    return f"{test.smallest_effect:.3f} [{test.smallest_low:.3f}, {test.smallest_high:.3f}]"


def chance_or_dash(cell: ConditionCell) -> str:
    """Where a condition's interval lies: one of the marks, above chance, or not known."""
    interval = cell.auroc.population
    return cell.mark or ("shown above" if interval is not None and interval.status == "ok" else NONE)


def span(ends: tuple[float, float]) -> str:
    """Two ends of a range of differences."""
    return NONE if math.isnan(ends[0]) else f"{signed_or_dash(ends[0])} to {signed_or_dash(ends[1])}"


def sampled(tests: Sequence[Test]) -> bool:
    """Whether any of these tests has conditions enough to take them as a sample."""
    return any(not math.isnan(test.over_conditions[0]) for test in tests)


def is_significant(p: float | None) -> bool:
    """Whether an adjusted p or q gets a star."""
    return p is not None and not math.isnan(p) and p <= ALPHA


def lift_or_dash(found: Agreement | None) -> str:
    """Mean lift; 1 is chance."""
    return NONE if found is None else number_or_dash(found.lift.mean, 2)


def within_unit(value: float) -> float:
    """Cut at 0 and 1: an AUROC lies there, the t-interval of its mean may not. NaN stays NaN."""
    return value if math.isnan(value) else min(max(value, 0.0), 1.0)


def unit_ends(low: float, high: float) -> str:
    """An interval of an AUROC, cut at 0 and 1."""
    return f"[{within_unit(low):.3f}, {within_unit(high):.3f}]"


def signed_ends(low: float, high: float) -> str:
    """An interval of differences."""
    return f"[{with_sign(low)}, {with_sign(high)}]"


def whole_percent(share: float) -> str:
    """``12 %``; ``<1 %`` for what would round to nothing."""
    return "<1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"


def with_sign(value: float) -> str:
    """A difference with its sign; what rounds to 0 has none of its own."""
    text = f"{value:+.3f}"
    return text[1:] if text in ("-0.000", "+0.000") else text


def rank_text(one: MethodRow) -> str:
    """``1–4``: the ranks a method may hold; a dash where it has none."""
    if one.rank is None:
        return NONE
    return str(one.rank.low) if one.rank.low == one.rank.high else f"{one.rank.low}–{one.rank.high}"


def run_counts(one: MethodRow) -> str:
    """``5``, or ``4, 1 failed``."""
    parts = [str(len(one.seeds))]
    parts += [f"{count} {word}" for word, count in (("failed", one.failed), ("diverged", one.diverged)) if count]
    return ", ".join(parts)
