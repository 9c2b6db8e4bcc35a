"""The leaderboard: statistics, tables, the web page and the accepted results. Nothing here needs torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from divsal_bench.runs.reading import Run


def table(runs: Iterable[Run], form: str = "terminal") -> str:
    """The tables of some runs, as ``divsal-bench run`` prints them.

    Args:
        runs: Of any task, method and seed.
        form: ``terminal``, ``markdown``, ``csv``, ``json`` or ``latex``.

    Raises:
        UserError: An unknown format, or runs that do not fit together.
    """
    from divsal_bench.errors import unknown
    from divsal_bench.leaderboard.tables import board, render

    chosen = next((known for known in render.FORMATS if known == form), None)
    if chosen is None:
        raise unknown("format", form, render.FORMATS)
    return render.render_tables(board.tables_of_runs(runs), chosen)
