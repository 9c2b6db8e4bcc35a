"""Prepare: what an adapter reads becomes a canonical data set, every row checked on the way."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from divsal_bench.contracts.adapter import Adapter, Row, SourceTerms
from divsal_bench.contracts.task import Task
from divsal_bench.data import catalogue, duplicates, images, png, reading, spelling, writer
from divsal_bench.data.canonical import SPLITS, Count, Entry, Progress
from divsal_bench.data.fingerprint import digest
from divsal_bench.data.rules import Rules
from divsal_bench.data.threads import in_threads
from divsal_bench.errors import Mistake, UserError, refusal, unknown
from divsal_bench.files import foreign

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
        options: The adapter's options, and those of :data:`divsal_bench.data.reading.OPTIONS`.
        force: Whether a data set already in ``out`` is replaced.
        progress: Called with (rows done, all rows).

    Raises:
        UserError: What is wrong, in which row and file, and what to do: all mistakes at once, one line for each kind.
    """
    options = options or {}
    for name in options:
        if name not in adapter.options and not reading.is_option(name):
            raise unknown(f"option of the adapter {adapter.name}", name, (*adapter.options, *reading.OPTIONS))
    told = reading.told({name: value for name, value in options.items() if name not in adapter.options})
    writer.check_target(out, force)
    if source is None and adapter.needs_source:
        raise UserError(f"the adapter {adapter.name} needs --source: {adapter.description}")
    if source is not None and not source.exists():
        raise UserError(f"there is no file or folder {source}; check --source")
    if force and source is not None and source.resolve().is_relative_to(out.resolve()):
        raise UserError(f"{source} lies in {out}, which --force would replace; move it, or choose another --out")

    source = source or Path()
    delivery = adapter.read(source, task, {name: options[name] for name in options if name in adapter.options})
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
    readings: dict[str, dict[str, str]] = {}
    info = writer.write(
        out,
        _entries(rows, root, task, told, notices, readings, progress),
        task=task.name,
        class_names=task.class_names,
        adapter=adapter.name,
        sources=_terms(delivery.terms),
        notices=notices,
        readings=readings,
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
    known: set[str] = set()
    for row in rows:
        for part, file in (("image", row.image), ("map", row.saliency)):
            if isinstance(file, Path) and (wrong := _problem(file, root, part, folders, f"no {part}" not in known)):
                known.add(wrong[0])
                yield Mistake(*wrong[:1], row.where, wrong[1])


def _problem(file: Path, root: Path, part: str, folders: dict[Path, Path], hint: bool = True) -> tuple[str, str] | None:
    """Why a file cannot be one of a data set: the kind of mistake and the words; None where nothing is wrong.

    Args:
        file: As the adapter names it.
        root: The folder of the data set, resolved.
        part: ``image`` or ``map``.
        folders: Folders that are resolved already, to themselves; it is filled.
        hint: Whether to look through its folder for a file that may be meant: once, of many that are not there.
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
        meant = _hint(file) if hint else ""
        return f"no {part}", f"there is no {part} {file}{meant}; mend the path or remove the row"
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


#: Bytes of files that are kept between the two times they are needed; beyond it they are read again.
KEPT_BYTES = 2**28


@dataclass(frozen=True, slots=True)
class _Checked:
    """What the files of a row showed, or the mistake in them.

    Attributes:
        files: The bytes of image and map.
        hashes: Of those bytes, where they are not kept.
    """

    row: Row
    files: tuple[bytes, bytes | None] = (b"", None)
    pixels: bytes = b""
    image: reading.ImageFacts = reading.ImageFacts(False)  # noqa: RUF009 - frozen
    saliency: reading.MapFacts | None = None
    turned: bool = False
    dicom: bool = False
    hashes: tuple[str, str] | None = None
    mistake: Mistake | None = None


def _entries(
    rows: list[Row],
    root: Path,
    task: Task,
    told: reading.Told,
    notices: list[str],
    readings: dict[str, dict[str, str]],
    progress: Progress | None,
) -> Iterator[Entry]:
    """Read and check the files of all rows, then read them once more and yield them as they are kept.

    How a source is read depends on all its files. ``notices`` and ``readings`` are complete when the first row is out.
    """
    checked: list[_Checked] = []
    kept = 0
    for one in in_threads(lambda row: _checked(row, root, told.map(row.source)), rows):
        kept += sum(len(data or b"") for data in one.files)
        checked.append(one if kept <= KEPT_BYTES else _without_files(one))
        if progress:
            progress(len(checked), len(rows))
    survey = reading.Survey()
    for one in checked:
        survey.add(one.row.source, one.image, one.saliency)
    found, problems, told_notices = survey.readings(told, {row.source for row in rows})
    mistakes = [one.mistake for one in checked if one.mistake] + _copies(checked, task)
    if not mistakes:
        mistakes = [Mistake(kind, "", text) for kind, text in problems]
    if mistakes:
        raise refusal(mistakes)
    notices += [*_notices(checked), *told_notices]
    readings.update({source: one.stated() for source, one in sorted(found.items()) if one.stated()})
    yield from (in_threads if readings or kept > KEPT_BYTES else map)(
        lambda one: _entry(one, root, found[one.row.source]), checked
    )


@images.one_large_at_a_time()
def _checked(row: Row, root: Path, maps: str) -> _Checked:
    """Read the files of one row and decode them completely."""
    part: tuple[str, Path | bytes | None] = ("image", row.image)
    try:
        image_bytes = _bytes(row, row.image, root, "image")
        saliency_bytes = None if row.saliency is None else _bytes(row, row.saliency, root, "map")
        picture = images.decode(image_bytes)
        facts, pixels = reading.image_facts(picture), duplicates.pixel_digest(picture)
        map_facts, turned = None, False
        if saliency_bytes is not None:
            part = ("map", row.saliency)
            saliency = images.decode(saliency_bytes)
            map_facts = reading.map_facts(images.align(saliency, picture), maps)
            turned = (picture.turn or 1) > 1 and saliency.turn is None
    except images.Coloured as error:
        name, file = part
        cure = f"say how such maps are read with --option map=WAY, one of {', '.join(images.MAP_READINGS)}"
        return _Checked(row, mistake=Mistake("coloured", row.where, f"the {name}{_named(file)} {error}; {cure}"))
    except images.NotAnImage as error:
        name, file = part
        text = f"the {name}{_named(file)} {error}; replace the file or remove the row"
        return _Checked(row, mistake=Mistake(f"unreadable {name}", row.where, text))
    except UserError as error:
        return _Checked(row, mistake=Mistake("file", "", str(error)))
    return _Checked(row, (image_bytes, saliency_bytes), pixels, facts, map_facts, turned, images.is_dicom(image_bytes))


def _copies(checked: list[_Checked], task: Task) -> list[Mistake]:
    """Pictures that stand in two splits, or in both classes, whatever file they are saved in."""
    found: list[Mistake] = []
    seen = duplicates.Pictures()
    for one in checked:
        row = one.row
        first = None if one.mistake else seen.add(one.pixels, duplicates.Seen(row.where, row.split, int(row.label)))
        if first is None:
            continue
        if first.split != row.split:
            text = (
                f"this image of {row.split} has the pixels of the one of {first.name} in {first.split}; "
                "remove one row, or put both in one split"
            )
            found.append(Mistake("copy", row.where, text))
        elif first.label != row.label:
            names = task.class_names
            text = (
                f"it is {names[row.label]}, but its copy {first.name} {names[first.label]}; "
                "remove the row that is wrong"
            )
            found.append(Mistake("both labels", row.where, text))
    return found


def _notices(checked: list[_Checked]) -> list[str]:
    """What is unusual and no mistake."""
    notices = []
    blank = sum(one.saliency is not None and one.saliency.blank for one in checked)
    if blank:
        notices.append(f"{blank:,} maps have the same value everywhere; methods treat them as no map.")
    see_through = sum(one.image.see_through for one in checked)
    if see_through:
        notices.append(f"{see_through:,} images have transparent parts; they are read over black.")
    dicom = sum(one.dicom for one in checked)
    if dicom:
        notices.append(f"{dicom:,} images are DICOM files; they are kept as 8-bit PNGs, with the window they state.")
    turned = sum(one.turned for one in checked)
    if turned:
        notices.append(
            f"{turned:,} images with a map carry an EXIF orientation and their maps do not: training turns "
            "both alike, `datasets` turns only the image."
        )
    return notices


def _without_files(one: _Checked) -> _Checked:
    """Let the bytes of a row go, which would fill the memory."""
    return replace(one, files=(b"", None), hashes=(digest(one.files[0]), digest(one.files[1])))


def _again(row: Row, root: Path, hashes: tuple[str, str]) -> tuple[bytes, bytes | None]:
    """Read the files of a row once more."""
    image = _bytes(row, row.image, root, "image")
    saliency = None if row.saliency is None else _bytes(row, row.saliency, root, "map")
    if (digest(image), digest(saliency)) != hashes:
        raise UserError(f"{row.where}: its files were changed while they were being prepared; run the command again")
    return image, saliency


@images.one_large_at_a_time()
def _entry(checked: _Checked, root: Path, how: reading.Reading) -> Entry:
    """Read the files of one row again, and write anew those that are not kept as delivered."""
    row = checked.row
    image, saliency = checked.files if checked.hashes is None else _again(row, root, checked.hashes)
    anew = checked.dicom or (checked.image.deep and how.window is not None)
    facts = checked.saliency
    rewritten = facts is not None and (how.maps != "" or (not facts.mask and facts.full in how.tops))
    if anew or rewritten:
        picture = images.decode(image)
        turned = picture.turn not in (None, 1)
        if saliency is not None and (rewritten or turned):
            upright = images.align(images.decode(saliency), picture)
            values = images.map_values(upright, how.maps, how.tops.get(facts.full, 0) if facts else 0)
            # Beside a turned image a map that states nothing would be turned like it.
            saliency = png.encode(values, upright=turned and not anew)
        if anew:
            image = png.encode(images.eight_bits(picture, how.window))
    return Entry(
        row.sample_id,
        row.split,
        int(row.label),
        row.source,
        row.category,
        row.subject,
        image,
        saliency,
        row.saliency_kind,
        facts is not None and facts.blank,
    )


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
        raise UserError(
            f"{row.where}: the {part}{_named(file)} cannot be read ({foreign.why_unread(error)})"
        ) from error


def _named(file: Path | bytes | None) -> str:
    return f" {file}" if isinstance(file, Path) else ""
