"""The rows of the board on the page: in groups that must not be mixed, best first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from divsal_bench.leaderboard.statistics.marks import MARKS
from divsal_bench.leaderboard.tables import wording
from divsal_bench.leaderboard.tables.schema import MethodRow, PairTest, Table, Test
from divsal_bench.leaderboard.web.board_columns import BoardCell, Column, board_cell


@dataclass(frozen=True)
class MethodLine:
    """One method with its cells, in the order of the columns.

    Attributes:
        tests: Every test of a family that it is part of.
        better, worse, open: Ranked methods shown to be better or worse than it, and those it is not separated from.
        notch: It begins a run of rows with another best rank, inside its group.
    """

    row: MethodRow
    cells: tuple[BoardCell, ...]
    tests: tuple[Test, ...]
    better: tuple[str, ...]
    worse: tuple[str, ...]
    open: tuple[str, ...]
    notch: bool


@dataclass(frozen=True)
class RowGroup:
    """Rows that stand together, with the reason."""

    key: str
    title: str
    reason: str
    lines: tuple[MethodLine, ...]


def row_groups(table: Table, columns: Sequence[Column]) -> list[RowGroup]:
    """The rows, best first, in the groups that must not be mixed."""
    titles = {
        "top": (
            "Top group",
            "No method is shown to be better, which is no proof that two of these are equal.",
        ),
        "ranked": ("Behind the top group", "At least one method is shown to be better."),
        "marked": ("Set apart", f"Marked, so never in the top group. {mark_reasons(table.rows)}"),
        "unranked": ("Not ranked", "For the reason given in each row."),
        "control": ("Controls", "Wrong or generic maps on purpose: what guidance does without people. Not ranked."),
    }
    found = []
    for key, (title, reason) in titles.items():
        rows = sorted((row for row in table.rows if group_key(row) == key), key=default_order)
        bests = [row.rank.low if row.rank else 0 for row in rows]
        lines = tuple(
            method_line(table, columns, row, notch=i > 0 and bests[i] != bests[i - 1]) for i, row in enumerate(rows)
        )
        if lines:
            found.append(RowGroup(key, title, reason, lines))
    return found


def mark_reasons(rows: Sequence[MethodRow]) -> str:
    """What the marks among these rows mean."""
    found = [f"{mark}: {reason}." for mark, reason in MARKS.items() if any(mark in row.marks for row in rows)]
    return " ".join(one[0].upper() + one[1:] for one in found)


def group_key(row: MethodRow) -> str:
    """Where a row stands: a mark outweighs a missing rank, and a control is a control."""
    if row.kind == "control":
        return "control"
    if row.marks:
        return "marked"
    if row.rank is None:
        return "unranked"
    return "top" if row.rank.top else "ranked"


def default_order(row: MethodRow) -> tuple[float, float, float, str]:
    """By best rank, worst rank, then the higher mean; without a value last."""
    mean = row.primary.seeds.mean
    ranks = (row.rank.low, row.rank.high) if row.rank else (math.inf, math.inf)
    return (*ranks, math.inf if math.isnan(mean) else -mean, row.label)


def method_line(table: Table, columns: Sequence[Column], row: MethodRow, notch: bool) -> MethodLine:
    """One method."""
    better, worse, separated_not = separated_from(table.pairs, row.label)
    return MethodLine(
        row=row,
        cells=tuple(board_cell(table, column, row) for column in columns),
        tests=tuple(test for test in table.tests if row.label in (test.first, test.second)),
        better=tuple(better),
        worse=tuple(worse),
        open=tuple(separated_not),
        notch=notch,
    )


def separated_from(pairs: Sequence[PairTest], label: str) -> tuple[list[str], list[str], list[str]]:
    """The methods shown to be better, shown to be worse, and neither, by the pairs that ranks are built from."""
    better: list[str] = []
    worse: list[str] = []
    neither: list[str] = []
    for pair in pairs:
        if label not in (pair.first, pair.second):
            continue
        other = pair.second if pair.first == label else pair.first
        ahead = pair.difference if pair.first == label else -pair.difference
        if not wording.is_significant(pair.p_holm):
            neither.append(other)
        else:
            (worse if ahead > 0 else better).append(other)
    return better, worse, neither
