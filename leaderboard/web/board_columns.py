"""The columns of the board on the page, and one cell of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from divsal_bench.errors import plural
from divsal_bench.leaderboard.sheets.entrants import TOO_FEW_SUBJECTS
from divsal_bench.leaderboard.sheets.scored import Metric
from divsal_bench.leaderboard.statistics import families
from divsal_bench.leaderboard.tables import notes, wording
from divsal_bench.leaderboard.tables.notes import FEW_MAPS
from divsal_bench.leaderboard.tables.schema import MethodRow, Table
from divsal_bench.leaderboard.web import axes
from divsal_bench.leaderboard.web.axes import Axis, Drawn


@dataclass(frozen=True)
class Column:
    """One column of the board.

    Attributes:
        key: Short name, also of the cells.
        hint: What the numbers are, for the heading's tooltip and for screen readers.
        axis: Shared by all drawings of the column; None without drawings.
        first: Direction of the first click on the heading, ``ascending`` or ``descending``.
    """

    key: str
    label: str
    hint: str
    axis: Axis | None = None
    first: str = "descending"


@dataclass(frozen=True)
class BoardCell:
    """One cell of the board.

    Attributes:
        value: What the column is sorted by; None sorts last.
        small: What stands below it: an interval, or a reason.
        drawn: The number on its column's axis.
        star: Significant at .05 after adjustment.
        faint: Shown without emphasis: it rests on too little.
    """

    value: float | None
    text: str
    small: str = ""
    drawn: Drawn | None = None
    star: bool = False
    faint: bool = False


def ranked_count(table: Table) -> int:
    """Number of methods with a rank."""
    return sum(row.rank is not None for row in table.rows)


def columns_of(table: Table) -> tuple[Column, ...]:
    """The columns this table has numbers for."""
    rows = table.rows
    negatives, positives = next((row.maps for row in rows if sum(row.maps)), (0, 0))
    interval = f"Mean over seeds, with the 95 % interval for {notes.SCOPE}."
    lifts = [found.lift.mean for row in rows for found in (row.true_cam, row.difference_map) if found]
    differences = [row.difference for row in rows if row.difference]
    maps = (
        f"over {plural(negatives + positives, 'human map')} ({negatives} negative, {positives} positive)"
        f"{', too few to rest on' if negatives + positives < FEW_MAPS else ''}; 1 is chance"
    )
    found = [
        Column("rank", "Rank", f"Ranks the method may hold among {ranked_count(table)}, from all pairs, Holm; "
               "another method changes them." if ranked_count(table) else "No method has a rank.",
               axes.rank_axis(ranked_count(table)), "ascending"),
        Column("primary", f"{table.primary} AUROC", f"The primary metric. {interval}", primary_axis(rows)),
        Column("difference", "− cross-entropy",
               "Difference to cross-entropy on the primary metric, with its 95 % population interval.",
               axes.difference_axis(differences) if differences else None),
        Column("p", "p (Holm)", "Of the difference to cross-entropy, adjusted within its family alone. * is p ≤ .05.",
               None, "ascending"),
    ]  # fmt: skip
    if table.primary == "open-set":
        found += [
            Column("in_domain", "in-domain AUROC", f"On sources and categories seen in training. {interval}",
                   axes.auroc_axis(row.in_domain for row in rows)),
            Column("worst", "worst", "The lowest AUROC among the unseen conditions; a minimum has no interval."),
        ]  # fmt: skip
    if lifts:
        found += [
            Column("lift_true", "lift, true-class CAM",
                   f"Agreement with people: share of the CAM inside the human map, relative to chance, {maps}.",
                   axes.lift_axis(lifts)),
            Column("lift_difference", "lift, difference map",
                   f"The same for the difference map, the CAM of the decision itself, {maps}.", axes.lift_axis(lifts)),
        ]  # fmt: skip
    found += [
        Column("seconds", "s / run", "Mean seconds a run.", None, "ascending"),
        Column("peak", "peak MB", "Largest peak memory of a run.", None, "ascending"),
        Column("seeds", "runs", "Seeds with a result; runs that failed or diverged are counted, never averaged away."),
    ]
    if any(row.standing for row in rows):
        found.append(Column("state", "state", "How far an accepted result has been checked.", None, "ascending"))
    return tuple(found)


def primary_axis(rows: Sequence[MethodRow]) -> Axis:
    """The axis of the primary metric."""
    return axes.auroc_axis(row.primary for row in rows)


def board_cell(table: Table, column: Column, row: MethodRow) -> BoardCell:
    """One number of one method."""
    axis = column.axis
    if column.key == "rank":
        return rank_cell(axis, row)
    if column.key == "primary" and axis:
        return metric_cell(axis, row.primary)
    if column.key == "in_domain" and axis:
        return metric_cell(axis, row.in_domain)
    if column.key == "worst":
        return BoardCell(sortable(row.worst.seeds.mean), number_or_na(row.worst.seeds.mean), row.worst_mark)
    if column.key == "difference":
        return difference_cell(axis, row)
    if column.key == "p":
        return p_cell(table, row)
    if column.key in ("lift_true", "lift_difference") and axis:
        found = row.true_cam if column.key == "lift_true" else row.difference_map
        value = sortable(found.lift.mean) if found else None
        drawn = Drawn(axis, axis.x(value)) if value is not None else None
        few = value is not None and sum(row.maps) < FEW_MAPS
        return BoardCell(
            value,
            wording.lift_or_dash(found),
            plural(sum(row.maps), "map") if few else "",
            None if few else drawn,
            faint=few,
        )
    if column.key == "seconds":
        return BoardCell(sortable(row.seconds), wording.number_or_dash(row.seconds, 1))
    if column.key == "peak":
        return BoardCell(row.peak_mb or None, f"{row.peak_mb:.0f}" if row.peak_mb else wording.NONE)
    if column.key == "seeds":
        n, _, without = wording.run_counts(row).partition(", ")
        return BoardCell(float(len(row.seeds)), n, without)
    states = ("reproduced", "verified", "reported", "not reproduced")
    state = row.standing.state if row.standing else ""
    return BoardCell(float(states.index(state)) if state in states else None, state or wording.NONE)


def rank_cell(axis: Axis | None, row: MethodRow) -> BoardCell:
    """The rank interval as text and as a bar, or why there is none."""
    if row.rank is None or axis is None:
        return BoardCell(None, wording.NONE, "" if row.kind == "control" and not row.untested else row.unranked)
    low, high = row.rank.low, row.rank.high
    bar = Drawn(axis, axis.x((low + high) / 2), axis.x(low - 0.5), axis.x(high + 0.5))
    # Ties in the best rank are broken by the worst one.
    return BoardCell(low + high / 1000, wording.rank_text(row), drawn=bar)


def metric_cell(axis: Axis, metric: Metric) -> BoardCell:
    """A mean with its population interval."""
    value = sortable(metric.seeds.mean)
    return BoardCell(
        value,
        number_or_na(metric.seeds.mean),
        wording.population(metric.population) if value is not None and metric.seeds.n > 1 else "",
        axes.draw_metric(axis, metric),
    )


def difference_cell(axis: Axis | None, row: MethodRow) -> BoardCell:
    """The difference to cross-entropy with its population interval."""
    if row.difference is None or axis is None:
        return BoardCell(None, "baseline" if row.label == families.BASELINE else wording.NONE)
    return BoardCell(
        sortable(row.difference.difference),
        wording.signed_or_dash(row.difference.difference),
        wording.signed_interval(row.difference),
        axes.draw_difference(axis, row.difference),
    )


def p_cell(table: Table, row: MethodRow) -> BoardCell:
    """The adjusted p against cross-entropy, or why there is none."""
    test = next((test for test in table.tests if (test.first, test.second) == (row.label, families.BASELINE)), None)
    if test is not None and test.withheld:
        return BoardCell(None, wording.NONE, TOO_FEW_SUBJECTS)
    if test is not None:
        return BoardCell(
            sortable(test.p_holm), wording.p_or_dash(test.p_holm), star=wording.is_significant(test.p_holm)
        )
    return BoardCell(None, wording.NONE, "tested by cyborg" if row.kind == "control" and not row.untested else "")


def sortable(value: float) -> float | None:
    """None for what cannot be sorted."""
    return value if math.isfinite(value) else None


def number_or_na(value: float) -> str:
    """A number, or n/a."""
    return "n/a" if math.isnan(value) else wording.number_or_dash(value)
