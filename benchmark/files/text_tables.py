"""Rows of texts as one table: as wide as it is, or folded to the width of a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from tabulate import tabulate

#: Least characters of a column whose cells are broken into lines.
NARROWEST = 12
#: Characters between columns, and those that tabulate leaves free beside the name of a column.
GAP, HEAD = 2, 2
#: A narrower terminal gets lines of this many characters all the same.
MIN_WIDTH = 40


def fitted_table(
    rows: Sequence[Sequence[object]],
    head: Sequence[str] = (),
    align: str = "",
    style: str = "simple",
    width: int | None = None,
    whole_cells: bool = False,
) -> str:
    """Rows as a table; where it is too wide its long cells are folded, else each row becomes a list.

    Args:
        rows: Shown as text; the first cell names the row.
        head: Names of the columns; none for a list of names and values.
        align: ``l`` or ``r`` for each column; by default all left.
        style: Of tabulate: ``simple``, ``plain`` or ``github``.
        width: In characters; None folds nothing.
        whole_cells: Never fold a cell: what is too wide becomes a list at once, whose first cells speak for themselves.
    """
    cells = [[str(cell) for cell in row] for row in rows]
    names = [str(name) for name in head]
    align = align or "l" * len(names or (cells[0] if cells else []))
    as_it_is = tabulated(cells, names, align, style)
    if width is None or longest_line(as_it_is) <= width or not cells:
        return as_it_is
    room = None if whole_cells else column_widths(cells, names, width)
    if room is None:
        return table_as_list(cells, names, width, bare=whole_cells)
    folded = [[broken(cell, most) for cell, most in zip(row, room, strict=True)] for row in cells]
    return tabulated(folded, [broken(name, most - HEAD) for name, most in zip(names, room, strict=False)], align, style)


def tabulated(cells: Sequence[Sequence[str]], names: Sequence[str], align: str, style: str) -> str:
    """By tabulate, as it is."""
    sides = ["right" if side == "r" else "left" for side in align]
    return str(tabulate(cells, names, tablefmt=style, disable_numparse=True, colalign=sides if cells else None))


def longest_line(text: str) -> int:
    """Characters of the longest line."""
    return max(map(len, text.split("\n")))


def column_widths(cells: Sequence[Sequence[str]], names: Sequence[str], width: int) -> list[int] | None:
    """How wide each column may be, the widest ones cut down first; None where words would have to be broken."""
    columns = [list(column) for column in zip(*cells, strict=True)]
    pad = HEAD if names else 0
    heads = list(names) or [""] * len(columns)
    pairs = list(zip(heads, columns, strict=True))
    room = [max(longest_line(name) + pad, *map(longest_line, column)) for name, column in pairs]
    least = []
    for full, (name, column) in zip(room, pairs, strict=True):
        words = [len(word) for cell in column for word in cell.split()] + [len(word) + pad for word in name.split()]
        least.append(min(full, max(NARROWEST, *words)))
    spare = width - GAP * (len(columns) - 1)
    if sum(least) > spare:
        return None
    while sum(room) > spare:
        widest = max((place for place in range(len(room)) if room[place] > least[place]), key=room.__getitem__)
        room[widest] -= 1
    return room


def broken(text: str, width: int) -> str:
    """Text in lines of at most so many characters, broken between words; its own line breaks stay."""
    return "\n".join(
        "\n".join(textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False)) or line
        for line in text.split("\n")
    )


def table_as_list(rows: Sequence[Sequence[str]], names: Sequence[str], width: int, bare: bool = False) -> str:
    """Row by row: its first cell, and below it a line ``name  value`` a cell; empty cells are left out.

    Args:
        names: Of the columns; none for a list of names and values.
        bare: The first cell stands without the name of its column.
    """
    if not names:
        return "\n".join(line for row in rows for line in wrapped_lines(" ".join(row), width, "", " " * GAP))
    flat = [" ".join(name.split()) for name in names]
    indent = GAP + max(map(len, flat[1:]), default=0) + GAP
    lines = []
    for first, *cells in rows:
        lines += wrapped_lines(" ".join(first.split()), width, "" if bare else f"{flat[0]} ".ljust(indent), "")
        for name, cell in zip(flat[1:], cells, strict=True):
            if cell:
                start = f"{' ' * GAP}{name}".ljust(indent)
                lines += wrapped_lines(" ".join(cell.split()), width, start, " " * min(indent, width // 2))
    return "\n".join(lines)


def wrapped_lines(text: str, width: int | None, first: str = "", rest: str | None = None) -> list[str]:
    """Text in lines no longer than ``width``, the first after ``first``, the others after ``rest``."""
    if width is None:
        return [first + text]
    after = first if rest is None else rest
    return textwrap.wrap(text, max(width, MIN_WIDTH), initial_indent=first, subsequent_indent=after) or [first]
