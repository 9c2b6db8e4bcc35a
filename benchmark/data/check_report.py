"""What a check of a prepared data set found, and how it is told."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from divsal_bench.data.canonical import Count
from divsal_bench.errors import Mistake, plural, printable

if TYPE_CHECKING:
    import pandas as pd

#: Findings of one kind beyond these are only counted.
SHOWN = 3


@dataclass(frozen=True, eq=False)
class CheckReport:
    """What :func:`divsal_bench.data.check.check_data_set` found.

    Attributes:
        location: The folder, or the Hub id with its commit.
        fingerprint: Recomputed from the rows.
        stored_fingerprint: What ``divsal.json`` says.
        problems: What makes results on this data wrong.
        warnings: What the user should know.
        counts: Rows per split and source.
        categories: Category to split to number of positives.
        rows: Columns :data:`divsal_bench.data.canonical.COLUMNS`; what
            :func:`divsal_bench.scores.conditions.conditions` takes.
    """

    location: str
    task: str
    class_names: tuple[str, str]
    fingerprint: str
    stored_fingerprint: str
    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    counts: tuple[Count, ...]
    categories: dict[str, dict[str, int]]
    rows: pd.DataFrame = field(repr=False)

    @property
    def ok(self) -> bool:
        """Whether there are no problems."""
        return not self.problems

    def frame(self) -> pd.DataFrame:
        """One row a sample, with the columns of the canonical form."""
        return self.rows

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Return the header and the rows of a table: what is in the data set, per split and source."""
        head = ["split", "source", *self.class_names, "maps"]
        body = [[c.split, c.source, f"{c.negatives:,}", f"{c.positives:,}", f"{c.maps:,}"] for c in self.counts]
        return head, body

    def lines(self) -> list[str]:
        """Return the report as plain text; the data may be a stranger's, so that nothing of it moves a terminal."""
        head, body = self.table()
        widths = [max(len(row[column]) for row in [head, *body]) for column in range(len(head))]
        lines = [f"{self.location} (task {self.task})", f"fingerprint {self.fingerprint}", ""]
        for row in [head, *body]:
            cells = [
                cell.ljust(width) if column < 2 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            lines.append("  ".join(cells).rstrip())
        lines.append("")
        for category, splits in self.categories.items():
            numbers = ", ".join(f"{split} {number:,}" for split, number in splits.items())
            lines.append(f"category {category or '(none)'}: {numbers}")
        lines += [f"problem: {text}" for text in self.problems]
        lines += [f"warning: {text}" for text in self.warnings]
        lines.append(f"{plural(len(self.problems), 'problem')}, {plural(len(self.warnings), 'warning')}")
        return [printable(line) for line in lines]


def told_mistakes(found: list[Mistake]) -> tuple[str, ...]:
    """Mistakes in words, of each kind the first few, the rest as a number."""
    kinds: defaultdict[str, list[str]] = defaultdict(list)
    for kind, where, text in found:
        kinds[kind].append(f"{where}: {text}" if where else text)
    lines = []
    for texts in kinds.values():
        lines += texts[:SHOWN]
        if len(texts) > SHOWN:
            lines.append(f"… and {len(texts) - SHOWN} more like this")
    return tuple(lines)
