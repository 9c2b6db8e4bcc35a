"""One table of a study: what each row is, and its numbers, one a seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

#: What a row is to metric to one number a seed.
Rows = dict[tuple[str, ...], dict[str, list[float]]]


@dataclass(frozen=True)
class StudyTable:
    """One table of a study.

    Attributes:
        keys: Names of the columns that say what a row is.
        rows: Their values to metric to one number a seed.
    """

    title: str
    keys: tuple[str, ...]
    rows: Rows
    notes: tuple[str, ...]

    def frame(self) -> pd.DataFrame:
        """A line for each number: what its row is, ``metric``, ``seed`` (the place among the row's) and ``value``."""
        import pandas as pd

        lines = [
            [*key, metric, seed, value]
            for key, row in self.rows.items()
            for metric, values in row.items()
            for seed, value in enumerate(values)
        ]
        return pd.DataFrame(lines, columns=[*self.keys, "metric", "seed", "value"])


def add_seed(rows: Rows, key: tuple[str, ...], numbers: Mapping[str, float]) -> None:
    """Put one seed's numbers into a table."""
    row = rows.setdefault(key, {})
    for name, value in numbers.items():
        row.setdefault(name, []).append(value)
