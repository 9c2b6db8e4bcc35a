"""Tables of text that fit the terminal they are shown on; in full where standard output is no terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from tabulate import tabulate

from divsal_bench.cli import terminal_width

#: Least characters of a column whose cells are broken into lines.
NARROWEST = 12
#: Characters between columns, and those that tabulate leaves free beside the name of a column.
GAP, HEAD = 2, 2


def table(rows: Sequence[Sequence[object]], head: Sequence[str] = (), align: str = "", style: str = "simple") -> str:
    """Rows as a table; on a terminal that is too narrow its long cells are folded, else each row becomes a list.

    Args:
        rows: Shown as text.
        head: Names of the columns; none for a list of names and values.
        align: ``l`` or ``r`` for each column; by default all left.
        style: ``simple``, ``plain``, or ``github``, which is never folded.
    """
    cells = [[str(cell) for cell in row] for row in rows]
    names = [str(name) for name in head]
    align = align or "l" * len(names or (cells[0] if cells else []))
    width = None if style == "github" else terminal_width()
    whole = drawn(cells, names, align, style)
    if width is None or longest(whole) <= width or not cells:
        return whole
    room = column_widths(cells, names, width)
    if room is None:
        return stacked(cells, names, width)
    folded = [[fold(cell, most) for cell, most in zip(row, room, strict=True)] for row in cells]
    return drawn(folded, [fold(name, most - HEAD) for name, most in zip(names, room, strict=False)], align, style)


def drawn(cells: Sequence[Sequence[str]], names: Sequence[str], align: str, style: str) -> str:
    """By tabulate, as it is."""
    sides = ["right" if side == "r" else "left" for side in align]
    return str(tabulate(cells, names, tablefmt=style, disable_numparse=True, colalign=sides if cells else None))


def longest(text: str) -> int:
    """Characters of the longest line."""
    return max(map(len, text.split("\n")))


def column_widths(cells: Sequence[Sequence[str]], names: Sequence[str], width: int) -> list[int] | None:
    """How wide each column may be, the widest ones cut down first; None where words would have to be broken."""
    columns = [list(column) for column in zip(*cells, strict=True)]
    pad = HEAD if names else 0
    heads = list(names) or [""] * len(columns)
    room = [max(longest(name) + pad, *map(longest, column)) for name, column in zip(heads, columns, strict=True)]
    least = []
    for full, name, column in zip(room, heads, columns, strict=True):
        words = [len(word) for cell in column for word in cell.split()] + [len(word) + pad for word in name.split()]
        least.append(min(full, max(NARROWEST, *words)))
    spare = width - GAP * (len(columns) - 1)
    if sum(least) > spare:
        return None
    while sum(room) > spare:
        widest = max((place for place in range(len(room)) if room[place] > least[place]), key=room.__getitem__)
        room[widest] -= 1
    return room


def fold(text: str, width: int) -> str:
    """Text in lines of at most so many characters, broken between words; its own line breaks stay."""
    return "\n".join(
        "\n".join(textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False)) or line
        for line in text.split("\n")
    )


def stacked(rows: Sequence[Sequence[str]], names: Sequence[str], width: int) -> str:
    """Each row as lines ``name  value``, an empty line between rows; empty cells are left out."""
    if not names:
        names, rows = [""], [[" ".join(row)] for row in rows]
    indent = max(map(len, names)) + GAP
    if indent > width // 2:
        indent = GAP
    blocks = []
    for row in rows:
        lines = []
        for name, cell in zip(names, row, strict=True):
            if not cell:
                continue
            start = name.ljust(indent) if len(name) < indent else f"{name}: "
            lines += textwrap.wrap(start + cell, width, subsequent_indent=" " * indent) or [start]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)
