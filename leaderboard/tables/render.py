"""Tables as text: for a terminal, Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Any, Literal

from divsal_bench.leaderboard.tables.flat import method_record, records_csv
from divsal_bench.leaderboard.tables.latex import table_latex
from divsal_bench.leaderboard.tables.readable import table_text
from divsal_bench.leaderboard.tables.schema import Table

Format = Literal["terminal", "markdown", "latex", "csv", "json"]
FORMATS: tuple[Format, ...] = ("terminal", "markdown", "latex", "csv", "json")


def render_tables(tables: Sequence[Table], form: Format, width: int | None = None) -> str:
    """Write tables in one of :data:`FORMATS`; every number of JSON is unrounded.

    Args:
        width: Of the terminal, in characters; a wider table is written method by method. None keeps it as it is.
    """
    if form == "json":
        return json.dumps([without_nan(dataclasses.asdict(table)) for table in tables], indent=1)
    if form == "csv":
        return records_csv([method_record(table, one) for table in tables for one in table.rows])
    if form == "latex":
        return "\n\n".join(table_latex(table) for table in tables)
    return "\n\n".join(table_text(table, form, width) for table in tables)


def without_nan(value: Any) -> Any:
    """Replace what JSON lacks: NaN and infinities become null, tuples lists."""
    if isinstance(value, dict):
        return {key: without_nan(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
