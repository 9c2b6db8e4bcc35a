"""Files as they are delivered: each in the data set's folder, there, and a picture's."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from divsal_bench.contracts.adapter import Row
from divsal_bench.data import spelling
from divsal_bench.errors import Mistake, UserError
from divsal_bench.files import foreign

#: Files that hold gaze points or boxes as numbers, not as an image.
TABLES = (".csv", ".tsv", ".txt", ".json", ".xml", ".xlsx")


def misplaced_files(rows: list[Row], root: Path) -> Iterator[Mistake]:
    """Files that are not there or cannot be read, before any of them is decoded."""
    folders: dict[Path, Path] = {}
    known: set[str] = set()
    for row in rows:
        for part, file in (("image", row.image), ("map", row.saliency)):
            if isinstance(file, Path) and (wrong := file_problem(file, root, part, folders, f"no {part}" not in known)):
                known.add(wrong[0])
                yield Mistake(wrong[0], row.where, wrong[1])


def file_problem(
    file: Path, root: Path, part: str, folders: dict[Path, Path], hint: bool = True
) -> tuple[str, str] | None:
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
        meant = _file_meant(file) if hint else ""
        return f"no {part}", f"there is no {part} {file}{meant}; mend the path or remove the row"
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        return f"{part} unreadable", f"the {part} {file} cannot be read ({reason})"
    return None


def _file_meant(file: Path) -> str:
    """A file beside it whose name differs only in capitals or in how its letters are composed."""
    wanted = spelling.seen(file.name).casefold()
    with suppress(OSError):
        for other in file.parent.iterdir():
            if spelling.seen(other.name).casefold() == wanted:
                return f" (there is {other.name!a})"
    return ""


def delivered_bytes(row: Row, file: Path | bytes, root: Path, part: str) -> bytes:
    """Read a file, unless it lies outside the data set's folder."""
    if isinstance(file, bytes):
        return file
    wrong = file_problem(file, root, part, {})
    if wrong:
        raise UserError(f"{row.where}: {wrong[1]}")
    try:
        return foreign.read_bytes(file.resolve())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or f"it {error}"
        raise UserError(f"{row.where}: the {part}{named_file(file)} cannot be read ({reason})") from error


def named_file(file: Path | bytes | None) -> str:
    """A file's name as it follows ``the image`` or ``the map``; nothing where there are only bytes."""
    return f" {file}" if isinstance(file, Path) else ""
