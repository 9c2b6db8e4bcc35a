"""Prepare: what an adapter reads becomes a canonical data set, every row checked on the way."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from divsal_bench import foreign, spelling
from divsal_bench.contracts.adapter import Adapter, Row, SourceTerms
from divsal_bench.contracts.task import Task
from divsal_bench.data import catalogue, images, writer
from divsal_bench.data.canonical import SPLITS, Count, Entry, Progress
from divsal_bench.data.fingerprint import digest
from divsal_bench.data.rules import Rules
from divsal_bench.data.threads import in_threads
from divsal_bench.errors import Mistake, UserError, refusal, unknown

if TYPE_CHECKING:
    import pandas as pd

#: Files that hold gaze points or boxes as numbers, not as an image.
TABLES = (".csv", ".tsv", ".txt", ".json", ".xml", ".xlsx")


@dataclass(frozen=True)
class Prepared:
    """A data set that was written.

    Attributes:
        path: Its folder.
        counts: Rows per split and source.
        notices: What was left out or is unusual, in plain language.
        fingerprint: See :mod:`divsal_bench.data.fingerprint`.
        rows: Columns :data:`divsal_bench.data.canonical.COLUMNS`.
    """

    path: Path
    counts: tuple[Count, ...]
    notices: tuple[str, ...]
    fingerprint: str
    rows: pd.DataFrame = field(repr=False)


def prepare(
    task: Task,
    adapter: Adapter,
    source: Path | None,
    out: Path,
    options: Mapping[str, str] | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Prepared:
    """Read a data set as delivered, check every row, and write it in canonical form.

    Args:
        task: The task the data is for.
        adapter: How the data is delivered.
        source: The file or folder the adapter reads; None only for an adapter that needs none.
        out: The folder to write; it appears whole or not at all.
        options: The adapter's options.
        force: Whether a data set already in ``out`` is replaced.
        progress: Called with (rows done, all rows).

    Raises:
        UserError: What is wrong, in which row and file, and what to do: all mistakes at once, one line for each kind.
    """
    options = options or {}
    for name in options:
        if name not in adapter.options:
            hint = "" if adapter.options else f"The adapter {adapter.name} takes no options."
            raise unknown(f"option of the adapter {adapter.name}", name, adapter.options, hint)
    writer.check_target(out, force)
    if source is None and adapter.needs_source:
        raise UserError(f"the adapter {adapter.name} needs --source: {adapter.description}")
    if source is not None and not source.exists():
        raise UserError(f"there is no file or folder {source}; check --source")
    if force and source is not None and source.resolve().is_relative_to(out.resolve()):
        raise UserError(f"{source} lies in {out}, which --force would replace; move it, or choose another --out")

    source = source or Path()
    delivery = adapter.read(source, task, options)
    rows = [_composed(row) for row in delivery.rows]
    root = (source if source.is_dir() else source.parent).resolve()
    rules = Rules(task.class_names, task.category_meaning)
    for row in rows:
        has_map = row.saliency is not None
        names = (row.source, row.category, row.subject, row.saliency_kind)
        rules.add(row.where, row.sample_id, row.split, row.label, *names, has_map)
    # What a set lacks as a whole is known once every row can be read.
    found = [*delivery.mistakes, *(rules.mistakes if delivery.mistakes else rules.finish()), *_misplaced(rows, root)]
    if found:
        raise refusal(found)
    rows.sort(key=lambda row: (SPLITS.index(row.split), row.sample_id))

    notices = [*delivery.notices, *rules.warnings()]
    info = writer.write(
        out,
        _entries(rows, root, notices, progress),
        task=task.name,
        class_names=task.class_names,
        adapter=adapter.name,
        sources=_terms(delivery.terms),
        notices=notices,
        force=force,
    )
    if out.absolute() == catalogue.default_folder(task.name):
        catalogue.remember(out)
    return Prepared(out, info.counts, info.notices, info.fingerprint, rules.rows())


def _composed(row: Row) -> Row:
    """A row whose names are written with composed letters, whatever the system that wrote them."""
    source, category, subject = (spelling.composed(name) for name in (row.source, row.category, row.subject))
    return replace(row, source=source, category=category, subject=subject)


def _terms(delivered: Mapping[str, SourceTerms]) -> dict[str, SourceTerms]:
    """The terms of sources by composed names; two spellings of one that state different terms allow nothing."""
    terms: dict[str, SourceTerms] = {}
    for name, stated in delivered.items():
        if terms.setdefault(spelling.composed(name), stated) != stated:
            terms[spelling.composed(name)] = SourceTerms("", "no", "no", "no")
    return terms


def _misplaced(rows: list[Row], root: Path) -> Iterator[Mistake]:
    """Files that are not there or cannot be read, before any of them is decoded."""
    folders: dict[Path, Path] = {}
    for row in rows:
        for part, file in (("image", row.image), ("map", row.saliency)):
            if isinstance(file, Path) and (wrong := _problem(file, root, part, folders)):
                yield Mistake(*wrong[:1], row.where, wrong[1])


def _problem(file: Path, root: Path, part: str, folders: dict[Path, Path]) -> tuple[str, str] | None:
    """Why a file cannot be one of a data set: the kind of mistake and the words; None where nothing is wrong.

    Args:
        file: As the adapter names it.
        root: The folder of the data set, resolved.
        part: ``image`` or ``map``.
        folders: Folders that are resolved already, to themselves; it is filled.
    """
    try:
        if file.parent not in folders:
            folders[file.parent] = file.parent.resolve()
        real = folders[file.parent] / file.name
        if file.is_symlink() or file.name in ("", ".."):
            real = file.resolve()
        if not real.is_relative_to(root):
            link = f" (it is a link to {real})" if real != file.absolute() and ".." not in file.parts else ""
            return f"{part} outside", f"the {part} {file} lies outside {root}{link}; keep all files inside that folder"
        if not stat.S_ISREG(real.stat().st_mode):
            return f"{part} is no file", f"the {part} {file} cannot be read (it is not a regular file)"
        if part == "map" and file.suffix.lower() in TABLES:
            return "map is a table", f"the map {file} is a table; draw its points as an image of the image's size"
    except FileNotFoundError:
        if part == "map" and re.fullmatch(r"[\d.\s,;()\[\]-]+", file.name):
            return "map is numbers", f"the map {file.name!r} is no file; draw boxes as images, 255 inside and 0 outside"
        return f"no {part}", f"there is no {part} {file}{_hint(file)}; mend the path or remove the row"
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        return f"{part} unreadable", f"the {part} {file} cannot be read ({reason})"
    return None


def _hint(file: Path) -> str:
    """A file beside it whose name differs only in capitals or in how its letters are composed."""
    wanted = spelling.seen(file.name).casefold()
    with suppress(OSError):
        for other in file.parent.iterdir():
            if spelling.seen(other.name).casefold() == wanted:
                return f" (there is {other.name!a})"
    return ""


@dataclass(frozen=True, slots=True)
class _Checked:
    """A row with its files read, and what is unusual about them."""

    row: Row
    entry: Entry
    image_hash: str
    constant: bool
    binary: bool
    turned: bool


def _entries(rows: list[Row], root: Path, notices: list[str], progress: Progress | None) -> Iterator[Entry]:
    """Read and check the files of all rows; notices are complete when the last row is out."""
    hashes: dict[str, Row] = {}
    constant = binary = turned = 0
    for done, checked in enumerate(in_threads(lambda row: _checked(row, root), rows), start=1):
        row = checked.row
        first = hashes.setdefault(checked.image_hash, row)
        if first.split != row.split:
            raise UserError(
                f"{row.where}: this image of {row.split} is byte for byte the one of {first.where} in "
                f"{first.split}; remove one row, or put both in one split"
            )
        constant += checked.constant
        binary += checked.binary
        turned += checked.turned
        yield checked.entry
        if progress:
            progress(done, len(rows))
    if constant:
        notices.append(f"{constant} maps have the same value everywhere; methods treat them as no map.")
    if binary:
        notices.append(f"{binary} maps hold only the values 0 and 1; they are read as 0 and 255.")
    if turned:
        notices.append(
            f"{turned} images with a map carry an EXIF orientation and their maps do not: training turns "
            "both alike, `datasets` turns only the image."
        )


def _checked(row: Row, root: Path) -> _Checked:
    """Read the files of one row and decode them completely."""
    image_bytes = _bytes(row, row.image, root, "image")
    saliency_bytes = None if row.saliency is None else _bytes(row, row.saliency, root, "map")
    part: tuple[str, Path | bytes | None] = ("image", row.image)
    constant = binary = turned = False
    try:
        picture = images.decode(image_bytes)
        if saliency_bytes is not None:
            part = ("map", row.saliency)
            saliency = images.decode(saliency_bytes)
            images.align(saliency, picture)
            low, high = images.value_range(saliency)
            constant, binary = low == high, (low, high) == (0, 1)
            turned = (picture.turn or 1) > 1 and saliency.turn is None
    except images.NotAnImage as error:
        name, file = part
        raise UserError(f"{row.where}: the {name}{_named(file)} {error}; replace the file or remove the row") from error
    entry = Entry(
        row.sample_id,
        row.split,
        int(row.label),
        row.source,
        row.category,
        row.subject,
        image_bytes,
        saliency_bytes,
        row.saliency_kind,
    )
    return _Checked(row, entry, digest(image_bytes), constant, binary, turned)


def _bytes(row: Row, file: Path | bytes, root: Path, part: str) -> bytes:
    """Read a file, unless it lies outside the data set's folder."""
    if isinstance(file, bytes):
        return file
    wrong = _problem(file, root, part, {})
    if wrong:
        raise UserError(f"{row.where}: {wrong[1]}")
    try:
        return foreign.read_bytes(file.resolve())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or f"it {error}"
        raise UserError(f"{row.where}: the {part}{_named(file)} cannot be read ({reason})") from error


def _named(file: Path | bytes | None) -> str:
    return f" {file}" if isinstance(file, Path) else ""
