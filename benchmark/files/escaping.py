"""Text from anybody in files that other programs read as more than text: CSV in a spreadsheet, Markdown on a page."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from divsal_bench.files.texts import spaced

if TYPE_CHECKING:
    import pandas as pd

#: A cell that begins so is a formula for Excel, LibreOffice or Google Sheets (OWASP, "CSV Injection").
FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]|[\t\r]")
#: What Markdown reads as emphasis, code, HTML, a cell's end, a heading, mathematics, an entity, or the end of a link.
MARKDOWN = re.compile(r"[\\`*<>|#~$]|(?<!\w)_|_(?!\w)|&(?=#?\w+;)|\](?=[(\[:])")


def csv_cell(value: Any) -> Any:
    """A cell of CSV: a text that a spreadsheet would run gets an apostrophe before it, as people would type it.

    Numbers stay numbers, also those that are written as text.
    """
    return f"'{value}" if isinstance(value, str) and FORMULA.match(value) and not is_number(value) else value


def is_number(text: str) -> bool:
    """Whether a text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as CSV, the heading first, without the last line's end."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([csv_cell(value) for value in row] for row in rows)
    return text.getvalue().rstrip("\n")


def table_csv(table: pd.DataFrame, **options: Any) -> str:
    """A table as CSV without its index, with the options of :meth:`pandas.DataFrame.to_csv`."""
    import pandas as pd

    # Objects, not pandas' own strings: a file name may be no text.
    safe = {
        csv_cell(name): column
        if pd.api.types.is_numeric_dtype(column)
        else pd.Series([csv_cell(value) for value in column], index=column.index, dtype=object)
        for name, column in table.items()
    }
    return str(pd.DataFrame(safe, index=table.index).to_csv(index=False, lineterminator="\n", **options))


def markdown(text: str) -> str:
    """Text as one line of Markdown that shows nothing else than this text."""
    return MARKDOWN.sub(lambda found: f"\\{found[0]}", spaced(text))


def escaped_rows(rows: Iterable[Sequence[Any]], form: str) -> list[list[Any]]:
    """The cells of a table for people: escaped where the format is ``markdown``, else as they are."""
    return [[markdown(one) if form == "markdown" and isinstance(one, str) else one for one in row] for row in rows]
