"""A table as LaTeX, for the booktabs package."""

from __future__ import annotations

import re
from collections.abc import Sequence

from divsal_bench.files.texts import spaced
from divsal_bench.leaderboard.tables.readable import asides, more_notes, table_columns, table_heading
from divsal_bench.leaderboard.tables.schema import Table


def table_latex(table: Table) -> str:
    """A ``table`` for the booktabs package; intervals and marks stand on a second line, notes below."""
    headers, body = table_columns(table, "\n")
    kept = [i for i, name in enumerate(headers) if name != "s/run"]
    headers = [" ".join(headers[i].split()) for i in kept]
    lines = []
    for one, cells in zip(table.rows, body, strict=True):
        first, second = zip(*(cells[i].partition("\n")[::2] for i in kept[1:]), strict=True)
        # In braces: a row that begins with a bracket or a star would be read as an argument of the row before.
        lines.append(latex_row([f"{{{latex(one.label)}}}", *map(latex, first)]))
        beside = f"({', '.join(asides(one))})" if asides(one) else ""
        if beside or any(second):
            small = [latex(text) for text in (beside, *second)]
            lines.append(latex_row([f"{{\\scriptsize {text}}}" if text else "{}" for text in small]))
    notes = " ".join(latex(note) for note in (*table.notes, *more_notes(table)))
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
            rf"\caption{{{latex(table_heading(table))}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(headers) - 1)}}}",
            r"\toprule",
            latex_row([latex(header) for header in headers]),
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            rf"\par\medskip\raggedright\footnotesize {notes}",
            r"\end{table}",
        ]
    )


def latex_row(cells: Sequence[str]) -> str:
    """One line of a ``tabular``."""
    return " & ".join(cells) + r" \\"


#: What TeX reads otherwise. Brackets and stars mean something after the end of a row.
LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': "''", "[": "{[}", "]": "{]}", "*": "{*}", "−": "$-$", "±": r"$\pm$",
    "–": r"\textendash{}", "·": r"$\cdot$", "≤": r"$\le$", "⁺": "$^+$", "²": "$^2$", "…": r"\dots{}",
}  # fmt: skip


def latex(text: str) -> str:
    """Text with everything escaped that TeX would read otherwise, on one line."""
    plain_text = " ".join(spaced(text).split())
    escaped = "".join(LATEX.get(character, character) for character in plain_text)
    # A hyphen before a digit is a minus; two hyphens would become a dash.
    return re.sub(r"(?<![\w.-])-(?=\d)", "$-$", escaped).replace("--", "-{}-")
