"""What the page shows of one table: its columns, its groups of rows, and what can be said at a glance."""

from __future__ import annotations

from dataclasses import dataclass

from divsal_bench.leaderboard.tables.schema import Table
from divsal_bench.leaderboard.web import axes
from divsal_bench.leaderboard.web.at_a_glance import Fact, facts_behind, glance
from divsal_bench.leaderboard.web.axes import Axis
from divsal_bench.leaderboard.web.board_columns import Column, columns_of, ranked_count
from divsal_bench.leaderboard.web.row_groups import RowGroup, row_groups


@dataclass(frozen=True)
class BoardView:
    """One table as the page shows it.

    Attributes:
        columns: Of the board, after the method.
        glance: One or two sentences on what was found.
        ranked: Number of methods with a rank.
        condition_axis, difference_axis: Shared by the per-condition drawings of all methods.
    """

    table: Table
    columns: tuple[Column, ...]
    groups: tuple[RowGroup, ...]
    glance: tuple[str, ...]
    facts: tuple[Fact, ...]
    ranked: int
    condition_axis: Axis
    difference_axis: Axis


def board_view(table: Table) -> BoardView:
    """Lay out one table."""
    columns = columns_of(table)
    return BoardView(
        table=table,
        columns=columns,
        groups=tuple(row_groups(table, columns)),
        glance=tuple(glance(table)),
        facts=tuple(facts_behind(table)),
        ranked=ranked_count(table),
        condition_axis=axes.auroc_axis(c.auroc for row in table.rows for c in row.conditions),
        difference_axis=axes.difference_axis(c.difference for r in table.rows for c in r.conditions if c.difference),
    )
