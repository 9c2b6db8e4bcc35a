"""Any data set, described by one CSV file: a row per image."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import get_args

from divsal_bench.contracts.adapter import (
    Adapter,
    Delivery,
    Permission,
    Row,
    SaliencyKind,
    SourceTerms,
    Split,
)
from divsal_bench.contracts.task import Task
from divsal_bench.errors import UserError, unknown

REQUIRED = ("image", "label", "split", "source", "subject")
OPTIONAL = (
    "sample_id", "category", "saliency", "saliency_kind", "label_conflict", "licence", "redistribute",
    "redistribute_images", "redistribute_weights", "redistribute_predictions",
)  # fmt: skip
SPLITS: dict[str, Split] = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
PUBLISHED = ("images", "weights", "predictions")
CONFLICT_CHOICES = ("leave-out", "keep")


def read(source: Path, task: Task, options: Mapping[str, str]) -> Delivery:
    """Read a manifest.

    Args:
        source: The CSV file, or a folder that holds ``manifest.csv``.
        task: Gives the words of the label column.
        options: ``label-conflict``: ``leave-out`` (default) or ``keep``.

    Raises:
        UserError: With the row, counted as a text editor counts lines.
    """
    choice = options.get("label-conflict", "leave-out")
    if choice not in CONFLICT_CHOICES:
        raise unknown("value of label-conflict", choice, CONFLICT_CHOICES)
    path = source / "manifest.csv" if source.is_dir() else source
    if not path.is_file():
        raise UserError(f"there is no file {path}; --source takes a CSV file or a folder that holds manifest.csv")

    rows: list[Row] = []
    terms: dict[str, SourceTerms] = {}
    conflicts = 0
    for where, cells in _lines(path):
        conflict = _flag(where, "label_conflict", cells.get("label_conflict", ""))
        if conflict and choice == "leave-out":
            conflicts += 1
            continue
        row = _row(where, cells, path.parent, task)
        rows.append(row)
        stated = _terms(where, cells)
        terms[row.source] = _stricter(terms[row.source], stated) if row.source in terms else stated
    notices = []
    if conflicts:
        notices.append(
            f"{conflicts} rows with label_conflict=1 were left out; --option label-conflict=keep keeps them."
        )
    return Delivery(_with_categories(rows, task), terms, notices)


def _with_categories(rows: list[Row], task: Task) -> list[Row]:
    """Name the positives after their class where the manifest names no category at all.

    Where it names some, an empty one stays empty: a word of ours among them would make an unseen condition.
    """
    if any(row.category for row in rows):
        return rows
    return [replace(row, category=task.class_names[1]) if row.label else row for row in rows]


def _lines(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield (where, cells by column name) for each row that is not blank."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip() for name in next(reader, [])]
            _check_header(path, header)
            number = reader.line_num + 1
            for cells in reader:
                # A quoted cell can run over several lines; the row is named by its first.
                where, number = f"{path.name} row {number}", reader.line_num + 1
                cells = [cell.strip() for cell in cells]
                if not any(cells):
                    continue
                if len(cells) != len(header):
                    raise UserError(
                        f"{where} has {len(cells)} cells, the header has {len(header)}; put cells with "
                        "a comma in double quotes"
                    )
                row = dict(zip(header, cells, strict=True))
                yield (f"{where} ({row['image']})" if row["image"] else where), row
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from error
    except csv.Error as error:
        raise UserError(f"{path} line {reader.line_num}: {error}; check the double quotes") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def _check_header(path: Path, header: list[str]) -> None:
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        tip = (
            " Separate the columns with commas." if len(header) == 1 and (";" in header[0] or "\t" in header[0]) else ""
        )
        raise UserError(
            f"{path} has no column {' and no column '.join(map(repr, missing))}; its first line must name "
            f"the columns {', '.join(REQUIRED)}.{tip}"
        )
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise UserError(f"{path} has two columns named {twice[0]!r}; rename or remove one")
    absent = [name for name in OPTIONAL if name not in header]
    for name in header:
        # A misspelt column would be left out in silence, and its maps or categories with it.
        meant = get_close_matches(name.lower().replace(" ", "_"), absent, n=1, cutoff=0.85)
        if name not in (*REQUIRED, *OPTIONAL) and meant:
            raise UserError(f"{path} has a column {name!r}; did you mean {meant[0]!r}? Rename it, or remove it")


def _row(where: str, cells: dict[str, str], folder: Path, task: Task) -> Row:
    """Turn the cells of one row into a canonical row."""
    for name in REQUIRED:
        if not cells[name]:
            raise UserError(f"{where}: {name} is empty; every row needs one")
    split, label = cells["split"].lower(), cells["label"].lower()
    if split not in SPLITS:
        raise unknown(f"split in {where}:", cells["split"], SPLITS)
    words = [name.lower() for name in task.class_names]
    if label not in words:
        raise unknown(f"label in {where}:", cells["label"], task.class_names)
    positive = words.index(label)
    saliency = cells.get("saliency", "")
    return Row(
        where=where,
        sample_id=cells.get("sample_id") or PurePosixPath(cells["image"]).as_posix(),
        image=folder / cells["image"],
        label=positive,
        split=SPLITS[split],
        source=cells["source"],
        category=cells.get("category", ""),
        subject=cells["subject"],
        saliency=folder / saliency if saliency else None,
        saliency_kind=_saliency_kind(where, cells),
    )


def _saliency_kind(where: str, cells: dict[str, str]) -> SaliencyKind:
    """Return what the named map is, or that there is none."""
    kinds: dict[str, SaliencyKind] = {kind: kind for kind in get_args(SaliencyKind) if kind != "none"}
    stated = cells.get("saliency_kind", "").lower()
    if not cells.get("saliency"):
        if stated not in ("", "none"):
            raise UserError(f"{where} says saliency_kind {stated!r} but names no map; fill in saliency or write none")
        return "none"
    if stated in ("", "none"):
        raise UserError(f"{where} names a map but its saliency_kind is {stated!r}; write one of {', '.join(kinds)}")
    if stated not in kinds:
        raise unknown(f"saliency_kind in {where}:", stated, kinds)
    return kinds[stated]


def _flag(where: str, column: str, text: str) -> bool:
    if text not in ("", "0", "1"):
        raise UserError(f"{where}: {column} is {text!r}; write 1 or 0")
    return text == "1"


def _terms(where: str, cells: dict[str, str]) -> SourceTerms:
    """Read licence and permissions; ``redistribute`` stands for those that have no column of their own."""
    words: dict[str, Permission] = {word: word for word in get_args(Permission)}
    stated: dict[str, Permission] = {}
    for what in PUBLISHED:
        text = (cells.get(f"redistribute_{what}") or cells.get("redistribute") or "unknown").lower()
        if text not in words:
            raise unknown(f"permission in {where}:", text, words)
        stated[f"redistribute_{what}"] = words[text]
    return SourceTerms(licence=cells.get("licence", ""), **stated)


def _stricter(one: SourceTerms, other: SourceTerms) -> SourceTerms:
    """Join the terms of two rows of a source: all licence names, and of each permission the stricter."""
    if one == other:
        return one
    order: tuple[Permission, ...] = ("no", "unknown", "yes")
    names = dict.fromkeys(name for name in (*one.licence.split("; "), *other.licence.split("; ")) if name)
    return replace(
        one,
        licence="; ".join(names),
        **{
            name: min(getattr(one, name), getattr(other, name), key=order.index)
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
    read=read,
    options={"label-conflict": "rows with label_conflict=1: leave-out (default) or keep"},
)
