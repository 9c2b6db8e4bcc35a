"""Prepare: what an adapter reads becomes a canonical data set, every row checked on the way."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from divsal_bench.contracts.adapter import Adapter, Row
from divsal_bench.contracts.task import Task
from divsal_bench.data import images, writer
from divsal_bench.data.canonical import SALIENCY_KINDS, SPLITS, Count, Entry, Progress
from divsal_bench.data.fingerprint import digest
from divsal_bench.data.threads import in_threads
from divsal_bench.errors import UserError, unknown

#: Characters that break lines of a report or cannot be written as UTF-8.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True)
class Prepared:
    """A data set that was written.

    Attributes:
        path: Its folder.
        counts: Rows per split and source.
        notices: What was left out or is unusual, in plain language.
        fingerprint: See :mod:`divsal_bench.data.fingerprint`.
    """

    path: Path
    counts: tuple[Count, ...]
    notices: tuple[str, ...]
    fingerprint: str


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
        UserError: One line that says what is wrong, in which row and file, and what to do.
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
    rows = list(delivery.rows)
    _check_rows(rows, task)
    rows.sort(key=lambda row: (SPLITS.index(row.split), row.sample_id))

    notices = list(delivery.notices)
    root = (source if source.is_dir() else source.parent).resolve()
    info = writer.write(
        out,
        _entries(rows, root, notices, progress),
        task=task.name,
        class_names=task.class_names,
        adapter=adapter.name,
        sources=dict(delivery.terms),
        notices=notices,
        force=force,
    )
    return Prepared(out, info.counts, info.notices, info.fingerprint)


def _check_rows(rows: list[Row], task: Task) -> None:
    """Check everything that needs no file."""
    ids: dict[str, str] = {}
    subjects: dict[str, Row] = {}
    classes = {split: [0, 0] for split in SPLITS}
    for row in rows:
        for name in ("sample_id", "source", "subject", "category"):
            value = getattr(row, name)
            if not value and name != "category":
                raise UserError(f"{row.where}: {name} is empty; every row needs one")
            if _CONTROL.search(value):
                raise UserError(f"{row.where}: {name} {value!r} contains a line break or control character")
        if row.split not in SPLITS:
            raise unknown(f"split in {row.where}:", row.split, SPLITS)
        if row.label not in (0, 1):
            raise UserError(
                f"{row.where}: label {row.label!r} is neither 0 ({task.class_names[0]}) nor 1 "
                f"({task.class_names[1]}); mend the adapter"
            )
        if row.label == 0 and row.category:
            raise UserError(
                f"{row.where}: a {task.class_names[0]} row has category {row.category!r}; leave it empty, "
                f"only {task.class_names[1]} rows have one ({task.category_meaning})"
            )
        if row.saliency_kind not in SALIENCY_KINDS:
            raise unknown(f"saliency_kind in {row.where}:", row.saliency_kind, SALIENCY_KINDS)
        if (row.saliency is None) != (row.saliency_kind == "none"):
            named = "no map is named" if row.saliency is None else "a map is named"
            raise UserError(f"{row.where}: saliency_kind is {row.saliency_kind!r}, but {named}; mend one of them")
        if row.sample_id in ids:
            raise UserError(
                f"{row.where}: sample_id {row.sample_id!r} is also that of {ids[row.sample_id]}; "
                "remove one row or give it an id of its own"
            )
        ids[row.sample_id] = row.where
        first = subjects.setdefault(row.subject, row)
        if first.split != row.split:
            raise UserError(
                f"{row.where}: subject {row.subject!r} is in {row.split}, but in {first.split} too "
                f"({first.where}); put all images of a subject in one split"
            )
        classes[row.split][row.label] += 1

    for split, (negatives, positives) in classes.items():
        if not negatives + positives:
            raise UserError(f"there are no rows in the {split} split; train, validation and test all need some")
        if split != "test" and not (negatives and positives):
            lacking = task.class_names[1 if negatives else 0]
            raise UserError(
                f"the {split} split has no {lacking} rows (of {negatives + positives}); it needs both classes"
            )


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
    try:
        real = file.resolve()
        if not real.is_relative_to(root):
            link = f" (it is a link to {real})" if real != file.absolute() and ".." not in file.parts else ""
            raise UserError(
                f"{row.where}: the {part}{_named(file)} lies outside {root}{link}; keep all files inside that folder"
            )
        return real.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{row.where}: there is no {part}{_named(file)}; mend the path or remove the row") from error
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{row.where}: the {part}{_named(file)} cannot be read ({reason})") from error


def _named(file: Path | bytes | None) -> str:
    return f" {file}" if isinstance(file, Path) else ""
