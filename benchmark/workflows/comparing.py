"""Comparisons: two methods, or two sets of runs, on everything that both were scored on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from divsal_bench.errors import UserError, unknown
from divsal_bench.leaderboard.sheets.entries import Entry, Sheet, from_runs
from divsal_bench.leaderboard.tables import comparing
from divsal_bench.leaderboard.tables.comparing import PairComparison
from divsal_bench.leaderboard.tables.frames import TABLE_COLUMNS
from divsal_bench.runs.reading import Run, read_run, require_utf8, run_folders
from divsal_bench.workflows.forms import require_form
from divsal_bench.workflows.selection import Names, Runs, joined, runs_meant

if TYPE_CHECKING:
    import pandas as pd

#: A seed is below 2³¹.
MOST_DIGITS = 10
#: More seeds than anyone means.
MOST_SEEDS = 1000


@dataclass(frozen=True)
class Comparisons:
    """Every pair that two sides have in common.

    Attributes:
        pairs: One for each table and pair of methods.
        tables: What names the table of each, as in the frames of a board.
    """

    pairs: tuple[PairComparison, ...] = field(repr=False)
    tables: tuple[dict[str, str], ...]

    def frame(self) -> pd.DataFrame:
        """One row a metric of each pair; NaN where there is no number, or nothing may be claimed."""
        import pandas as pd

        from divsal_bench.leaderboard.tables.comparison_text import metric_records

        named = zip(self.tables, self.pairs, strict=True)
        return pd.DataFrame([table | record for table, one in named for record in metric_records(one)])

    def text(self, form: str = "terminal", width: int | None = None) -> str:
        """The comparisons as ``terminal``, ``markdown``, ``csv`` or ``json``.

        Args:
            form: How.
            width: Of the terminal, in characters; None folds nothing.
        """
        from divsal_bench.leaderboard.tables.comparison_text import render_comparisons

        require_form(form)
        return render_comparisons(self.pairs, form, width)


@dataclass(frozen=True)
class Side:
    """What is compared with another side.

    Attributes:
        text: What it was called.
        method: A label; "" for every method.
        seeds: None for all.
    """

    text: str
    sheets: tuple[Sheet, ...]
    method: str = ""
    seeds: tuple[int, ...] | None = None


def compare(
    first: Runs,
    second: Runs,
    *,
    out: str | Path = "runs",
    task: Names | None = None,
) -> Comparisons:
    """Compare two methods, or two sets of runs, wherever both were scored on the same rows.

    Args:
        first: ``METHOD``, ``METHOD@SEEDS``, ``FOLDER`` or ``FOLDER@SEEDS`` with seeds as ``3`` or ``0-4``; or a run, or
            several run directories, output folders or runs.
        second: The same; differences are first − second.
        out: The output folder in which methods are looked up.
        task: These tasks only.

    Returns:
        One comparison for each table and pair of methods that both sides have.

    Raises:
        UserError: Nothing is there, nothing is shared, or it is not clear what to compare with what.

    Example:
        >>> import divsal_bench
        >>> divsal_bench.compare("cyborg", "cross-entropy").frame()["metric"][0]
        'open-set'
        >>> found = divsal_bench.compare("cyborg@0-1", "cyborg@2-4")
        >>> len(found.pairs)
        1
    """
    sides = (side_meant(one, Path(out), task, name) for one, name in ((first, "first"), (second, "second")))
    found = shared_pairs(*sides)
    return Comparisons(
        tuple(comparing.compare_entries(*pair) for pair in found), tuple(table_keys(sheet) for sheet, _, _ in found)
    )


def table_keys(sheet: Sheet) -> dict[str, str]:
    """What names the table of a sheet, as the frames of a board do."""
    return {name: sheet.data if name == "data" else getattr(sheet.group, name) for name in TABLE_COLUMNS}


def side_meant(given: Runs, out: Path, task: Names | None, argument: str) -> Side:
    """A side by what it is called, or by its runs."""
    if isinstance(given, str | Path):
        return side_named(given, out, task)
    return side_of_runs("runs", runs_meant(given, argument=argument), task)


def side_named(given: str | Path, out: Path, task: Names | None) -> Side:
    """Read ``METHOD``, ``METHOD@SEEDS``, ``FOLDER`` or ``FOLDER@SEEDS``."""
    text = str(given)
    if Path(text).is_dir():
        return side_of_folder(text, Path(text), task)
    name, at, seeds = text.rpartition("@")
    if at and Path(name).is_dir():
        numbers = seeds_named(text, seeds)
        return dataclasses.replace(side_of_folder(text, Path(name), task), seeds=numbers)
    if not out.is_dir():
        raise UserError(f"there is neither a folder {name or text} nor an output folder {out}; give --out")
    whole = side_of_folder(text, out, task)
    labels = sorted({entry.label for sheet in whole.sheets for entry in sheet.entries})
    # Older versions of a method are called cyborg@v1.
    if text in labels:
        return dataclasses.replace(whole, method=text)
    if (name if at else text) not in labels:
        raise unknown(f"method or folder in {out}:", name if at else text, labels)
    return dataclasses.replace(whole, method=name, seeds=seeds_named(text, seeds))


def side_of_folder(text: str, where: Path, task: Names | None) -> Side:
    """The runs of one folder."""
    require_utf8(where)
    return side_of_runs(text, [read_run(one) for one in run_folders(where, *range(6))], task, where)


def side_of_runs(text: str, runs: Sequence[Run], task: Names | None, where: Path | None = None) -> Side:
    """Some runs, those of one task if one is named."""
    named = joined(task, "task")
    wanted = {name.strip() for name in named.split(",")}
    kept = [run for run in runs if not named or run.spec.task in wanted]
    if not kept:
        raise UserError(
            f"{where or text} holds no runs{f' of task {named}' if named else ''}; see `divsal-bench status`"
        )
    return Side(text, tuple(from_runs(kept)))


def seeds_named(text: str, seeds: str) -> tuple[int, ...]:
    """``0-4`` is 0 to 4; a number is that seed alone."""
    first, dash, last = seeds.partition("-")
    numbers = (first, last) if dash else (first, first)
    if not all(number.isascii() and number.isdigit() and len(number) <= MOST_DIGITS for number in numbers):
        raise UserError(f"{text!r} names no seeds; after the @ give one seed or a range, e.g. METHOD@3 or METHOD@0-4")
    low, high = map(int, numbers)
    if low > high or high - low >= MOST_SEEDS:
        raise UserError(
            f"{text!r} names no seeds or more than {MOST_SEEDS}; give the smaller number first, e.g. METHOD@0-4"
        )
    return tuple(range(low, high + 1))


def shared_pairs(first: Side, second: Side) -> list[tuple[Sheet, Entry, Entry]]:
    """What can be compared: entries of the same table only."""
    found: list[tuple[Sheet, Entry, Entry]] = []
    short: list[UserError] = []
    others = {sheet.group: sheet for sheet in second.sheets}
    for sheet in first.sheets:
        other = others.get(sheet.group)
        if other is None or sheet.rows is None or other.rows is None:
            continue
        if not sheet.rows.equals(other.rows):
            raise UserError(
                f"{first.text} and {second.text} were scored on different rows of {sheet.data}; "
                "run one of them again on the other's data"
            )
        try:
            a, b = (chosen_entries(one, of) for one, of in ((first, sheet), (second, other)))
        except UserError as error:  # this table lacks a seed that another may have
            short.append(error)
            continue
        same = [(x, y) for x in a for y in b if x.label == y.label]
        matched = same if not first.method and not second.method and same else [(x, y) for x in a for y in b]
        if len(matched) > 1 and not same:
            raise UserError(
                f"{first.text} and {second.text} hold several methods and none in common; name one of each, "
                "e.g. its folder OUT/TASK/METHOD"
            )
        found += [(sheet, x, y) for x, y in matched]
    if not found and short:
        raise short[0]
    if not found:
        raise UserError(
            f"{first.text} ({tables_in_words(first)}) and {second.text} ({tables_in_words(second)}) share no table "
            "with results: runs of different data, protocols or backbones are never compared"
        )
    if any(set(x.origins) & set(y.origins) for _, x, y in found):
        raise UserError(f"{first.text} and {second.text} have runs in common; give other seeds, e.g. METHOD@0-4")
    return found


def chosen_entries(one: Side, sheet: Sheet) -> list[Entry]:
    """The entries a side means, cut down to its seeds."""
    entries = [entry for entry in sheet.entries if one.method in ("", entry.label)]
    return [comparing.with_seeds(entry, one.seeds) for entry in entries if entry.seeds]


def tables_in_words(one: Side) -> str:
    """The tables that a side's runs belong to."""
    return ", ".join(
        f"{s.group.task} {s.group.fingerprint[:8]} {s.group.protocol} {s.group.backbone}" for s in one.sheets
    )
