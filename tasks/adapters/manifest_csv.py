"""Any data set, described by one CSV file: a row per image."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TextIO, get_args

from divsal_bench.contracts.adapter import (
    STRICTEST_FIRST,
    Adapter,
    Delivery,
    Permission,
    Row,
    SaliencyKind,
    SourceTerms,
    Split,
)
from divsal_bench.contracts.task import Task
from divsal_bench.errors import Mistake, UserError, unknown

REQUIRED = ("image", "label", "split", "source", "subject")
OPTIONAL = (
    "sample_id", "category", "saliency", "saliency_kind", "label_conflict", "licence", "redistribute",
    "redistribute_images", "redistribute_weights", "redistribute_predictions",
)  # fmt: skip
SPLITS: dict[str, Split] = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
PUBLISHED = ("images", "weights", "predictions")
CONFLICT_CHOICES = ("leave-out", "keep")
#: What may separate the columns, and how it is called: spreadsheets take the semicolon where numbers have commas.
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
#: Characters of a line, and columns: more than any manifest has, and what a file that is none may not fill memory with.
LONGEST_LINE, MOST_COLUMNS = 2**22, 10_000


def read_manifest(source: Path, task: Task, options: Mapping[str, str]) -> Delivery:
    """Read a manifest.

    Args:
        source: The CSV file, or a folder that holds ``manifest.csv``.
        task: Gives the words of the label column.
        options: ``label-conflict``: ``leave-out`` (default) or ``keep``.

    Returns:
        Rows, and the mistakes in the others, each with its row as a text editor counts lines.

    Raises:
        UserError: The file cannot be read as a table with these columns.
    """
    choice = options.get("label-conflict", "leave-out")
    if choice not in CONFLICT_CHOICES:
        raise unknown("value of label-conflict", choice, CONFLICT_CHOICES)
    path = source / "manifest.csv" if source.is_dir() else source
    if not path.is_file():
        kind = "it is not a regular file" if path.exists() else "there is no such file"
        raise UserError(
            f"{path} cannot be read ({kind}); --source takes a CSV file or a folder that holds manifest.csv"
        )

    rows: list[Row] = []
    terms: dict[str, SourceTerms] = {}
    mistakes: list[Mistake] = []
    conflicts = 0
    separator, first = _separator(path)
    for where, cells in _lines(path, separator, first, mistakes):
        conflict = _flag(where, "label_conflict", cells, mistakes)
        if conflict and choice == "leave-out":
            conflicts += 1
            continue
        row = _row(where, cells, path.parent, task, mistakes)
        stated = _stated_terms(where, cells, mistakes)
        if row is None:
            continue
        rows.append(row)
        terms[row.source] = _stricter(terms[row.source], stated) if row.source in terms else stated
    notices = []
    if separator != ",":
        notices.append(f"{path.name} has {SEPARATORS[separator]} between its columns, and is read so.")
    if conflicts:
        notices.append(
            f"{conflicts} rows with label_conflict=1 were left out; --option label-conflict=keep keeps them."
        )
    return Delivery(_with_categories(rows, task), terms, notices, mistakes)


def _with_categories(rows: list[Row], task: Task) -> list[Row]:
    """Name the positives after their class where the manifest names no category at all.

    Where it names some, an empty one stays empty: a word of ours among them would make an unseen condition.
    """
    if any(row.category for row in rows):
        return rows
    return [replace(row, category=task.class_names[1]) if row.label else row for row in rows]


def _separator(path: Path) -> tuple[str, int]:
    """What separates the columns, by the first line; and the number of lines before it: Excel may name the sign there.

    Raises:
        UserError: The file cannot be read.
    """
    with _opened(path) as file:
        line = file.readline(2**16)
        named = re.fullmatch(r'"?sep=(.)"?\s*', line)
        if named and named[1] in SEPARATORS:
            return named[1], 1
    names = {sign: {_known(name.strip(' "\r\n')) for name in line.split(sign)} for sign in SEPARATORS}
    columns = {sign: names[sign] & {*REQUIRED} for sign in SEPARATORS}
    return max(SEPARATORS, key=lambda sign: len(columns[sign])), 0


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """A manifest as text; what cannot be read as one is the user's to mend."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def _lines(path: Path, separator: str, first: int, mistakes: list[Mistake]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield (where, cells by column name) for each row that is not blank."""
    with _opened(path) as file:
        for _ in range(first):
            file.readline()
        reader = csv.reader(_bounded(path, file), delimiter=separator, strict=True)
        try:
            header = [_known(name.strip()) for name in next(reader, [])]
            _check_header(path, header)
            number = first + reader.line_num + 1
            for cells in reader:
                # A quoted cell can run over several lines; the row is named by its first.
                where, number = f"{path.name} row {number}", first + reader.line_num + 1
                cells = [cell.strip() for cell in cells]
                if not any(cells):
                    continue
                if len(cells) != len(header):
                    text = (
                        f"it has {len(cells)} cells, the header has {len(header)}; put cells that hold a {separator!r} "
                        "in double quotes"
                    )
                    mistakes.append(Mistake("cells", where, text))
                    continue
                row = dict(zip(header, cells, strict=True))
                yield (f"{where} ({row['image']})" if row["image"] else where), row
        except csv.Error as error:
            raise UserError(f"{path} line {first + reader.line_num}: {error}; check the double quotes") from error


def _bounded(path: Path, file: TextIO) -> Iterator[str]:
    """The lines of a manifest; a file without line ends, such as one of zeros, is not read whole."""
    while line := file.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE:
            raise UserError(f"{path} has a line of {LONGEST_LINE:,} or more characters; is it a CSV file?")
        yield line


def _known(name: str) -> str:
    """A column as it is known here, whatever its capitals."""
    return name.lower() if name.lower() in (*REQUIRED, *OPTIONAL) else name


def _check_header(path: Path, header: list[str]) -> None:
    if len(header) > MOST_COLUMNS:
        raise UserError(f"{path} has {len(header):,} columns, {MOST_COLUMNS:,} are allowed; remove those not needed")
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        raise UserError(
            f"{path} has no column {' and no column '.join(map(repr, missing))}; its first line must name "
            f"the columns {', '.join(REQUIRED)}"
        )
    twice = sorted(name for name, count in Counter(header).items() if name and count > 1)
    if twice:
        raise UserError(f"{path} has two columns named {twice[0]!r}; rename or remove one")
    absent = [name for name in OPTIONAL if name not in header]
    for name in header:
        # A misspelt column would be left out in silence, and its maps or categories with it.
        meant = get_close_matches(name.lower().replace(" ", "_"), absent, n=1, cutoff=0.85)
        if name not in (*REQUIRED, *OPTIONAL) and meant:
            raise UserError(f"{path} has a column {name!r}; did you mean {meant[0]!r}? Rename it, or remove it")


def _row(where: str, cells: dict[str, str], folder: Path, task: Task, mistakes: list[Mistake]) -> Row | None:
    """Turn the cells of one row into a canonical row; None if one of them is wrong."""
    before = len(mistakes)
    for name in REQUIRED:
        if not cells[name]:
            own = " (an image of an unknown person: a name of its own)" if name == "subject" else ""
            mistakes.append(Mistake(f"empty {name}", where, f"{name} is empty; every row needs one{own}"))
    split, label = cells["split"].lower(), cells["label"].lower()
    if split and split not in SPLITS:
        mistakes.append(Mistake("split", where, str(unknown("split", cells["split"], SPLITS))))
    words = [name.lower() for name in task.class_names]
    if label and label not in words:
        mistakes.append(Mistake("label", where, str(unknown("label", cells["label"], task.class_names))))
    kind = _saliency_kind(where, cells, mistakes)
    if len(mistakes) > before:
        return None
    image, saliency = (_path(folder, cells.get(name, "")) for name in ("image", "saliency"))
    # Composed letters, as everywhere else: the terms of a source are found by its name.
    source, category, subject = (
        unicodedata.normalize("NFC", cells.get(name, "")) for name in ("source", "category", "subject")
    )
    return Row(
        where=where,
        sample_id=cells.get("sample_id") or PurePosixPath(image).as_posix(),
        image=folder / image,
        label=words.index(label),
        split=SPLITS[split],
        source=source,
        category=category,
        subject=subject,
        saliency=folder / saliency if saliency else None,
        saliency_kind=kind,
    )


def _path(folder: Path, cell: str) -> str:
    """A path as written, or with slashes for the backslashes of Windows where no file is called so."""
    windows = PureWindowsPath(cell)
    if "\\" not in cell or windows.drive or windows.root:
        return cell
    with suppress(OSError, ValueError):  # too long, or no name at all: whoever opens it says so with its row
        if (folder / cell).exists():
            return cell
    return windows.as_posix()


def _saliency_kind(where: str, cells: dict[str, str], mistakes: list[Mistake]) -> SaliencyKind:
    """Return what the named map is, or that there is none."""
    kinds: dict[str, SaliencyKind] = {kind: kind for kind in get_args(SaliencyKind) if kind != "none"}
    stated = cells.get("saliency_kind", "").lower()
    if not cells.get("saliency"):
        if stated not in ("", "none"):
            text = f"it says saliency_kind {stated!r} but names no map; fill in saliency or write none"
            mistakes.append(Mistake("kind without map", where, text))
        return "none"
    if stated in kinds:
        return kinds[stated]
    if stated in ("", "none"):
        text = f"it names a map but its saliency_kind is {stated!r}; write one of {', '.join(kinds)}"
        mistakes.append(Mistake("map without kind", where, text))
    else:
        mistakes.append(Mistake("saliency_kind", where, str(unknown("saliency_kind", stated, kinds))))
    return "none"


def _flag(where: str, column: str, cells: dict[str, str], mistakes: list[Mistake]) -> bool:
    text = cells.get(column, "")
    if text not in ("", "0", "1"):
        mistakes.append(Mistake(column, where, f"{column} is {text!r}; write 1 or 0"))
    return text == "1"


def _stated_terms(where: str, cells: dict[str, str], mistakes: list[Mistake]) -> SourceTerms:
    """Read licence and permissions; ``redistribute`` stands for those that have no column of their own."""
    words: dict[str, Permission] = {word: word for word in get_args(Permission)}
    stated: dict[str, Permission] = {}
    for what in PUBLISHED:
        text = (cells.get(f"redistribute_{what}") or cells.get("redistribute") or "unknown").lower()
        if text not in words:
            mistakes.append(Mistake("permission", where, str(unknown("permission", text, words))))
        stated[f"redistribute_{what}"] = words.get(text, "unknown")
    return SourceTerms(licence=cells.get("licence", ""), **stated)


def _stricter(one: SourceTerms, other: SourceTerms) -> SourceTerms:
    """Join the terms of two rows of a source: all licence names, and of each permission the stricter."""
    if one == other:
        return one
    names = dict.fromkeys(name for name in (*one.licence.split("; "), *other.licence.split("; ")) if name)
    return replace(
        one,
        licence="; ".join(names),
        **{
            name: min(getattr(one, name), getattr(other, name), key=STRICTEST_FIRST.index)
            for name in (f"redistribute_{what}" for what in PUBLISHED)
        },
    )


ADAPTER = Adapter(
    name="manifest-csv",
    description=(
        "A CSV file, or a folder with manifest.csv: columns image, label, split, source, subject and, where "
        "known, saliency, saliency_kind, category, label_conflict, licence, redistribute, sample_id; paths "
        "are relative to it."
    ),
    read=read_manifest,
    options={"label-conflict": "rows with label_conflict=1: leave-out (default) or keep"},
)
