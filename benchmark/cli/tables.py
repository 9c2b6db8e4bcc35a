"""Tables of text that fit the terminal they are shown on; in full where standard output is no terminal."""

from __future__ import annotations

from collections.abc import Sequence

from divsal_bench.cli import terminal_width
from divsal_bench.files import text_tables


def shown_table(
    rows: Sequence[Sequence[object]], head: Sequence[str] = (), align: str = "", style: str = "simple"
) -> str:
    """:func:`divsal_bench.files.text_tables.fitted_table` to the terminal; ``github`` is never folded."""
    return text_tables.fitted_table(rows, head, align, style, None if style == "github" else terminal_width())
