"""The images that somebody names: files, folders, lists."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Union

from divsal_bench.data import decoding
from divsal_bench.errors import UserError
from divsal_bench.files import foreign

if TYPE_CHECKING:
    from PIL.Image import Image


#: What can be scored: a path, the bytes of an image file, or a PIL image.
Source = Union[str, Path, bytes, "Image"]


#: Columns of a CSV file that may list the images; else its first does.
LIST_COLUMNS = ("image", "path")


#: A first row with one of these is a heading, unless it names a file.
HEADINGS = frozenset({*LIST_COLUMNS, "label", "file", "filename", "file name", "file_name", "images", "image_path",
                      "filepath", "file_path", "image index", "name", "id", "score"})  # fmt: skip


@dataclass(frozen=True, eq=False)
class Input:
    """One image to score.

    Attributes:
        image: As it was given, for tables.
        source: What is decoded.
        parts: Its place below what was given, for naming files after it: ``("a", "x.png")``.
    """

    image: str
    source: Source
    parts: tuple[str, ...]


def inputs_of(sources: Sequence[Source]) -> list[Input]:
    """Sources as inputs: a path is named as it is given, anything else by its number from 1."""
    found = []
    for number, source in enumerate(sources, start=1):
        is_path = isinstance(source, str | Path)
        image = str(source) if is_path else f"image {number}"
        found.append(Input(image, source, relative_parts(image)))
    return found


def relative_parts(path: str) -> tuple[str, ...]:
    """Folders and name of a relative path; of an absolute one, or one that leads upwards, the name alone."""
    pure = PurePath(path)
    return (pure.name,) if pure.is_absolute() or ".." in pure.parts else pure.parts


def collect_images(paths: Sequence[str | Path]) -> list[Input]:
    """Every image that is meant.

    Args:
        paths: Image files; folders, whose images are found below them, in order, hidden ones left out; and CSV
            files, whose column ``image`` or ``path``, else the first, lists paths relative to the CSV file's folder; a
            first row with a word such as ``image``, ``file`` or ``label`` that names no file is a heading.

    Raises:
        UserError: Something is not there, a folder holds no image, a CSV file lists none or cannot be read.
    """
    found: list[Input] = []
    for given in paths:
        path = Path(given)
        if path.is_dir():
            found += images_below(path)
        elif not path.exists():
            raise UserError(f"there is no file or folder {path}; give images, a folder or a CSV file that lists them")
        elif path.suffix.lower() == ".csv" and path.is_file():
            found += images_listed(path)
        else:
            found.append(Input(str(given), path, relative_parts(str(given))))
    if not found:
        raise UserError("there are no images; give images, a folder or a CSV file that lists them")
    return found


def images_below(folder: Path) -> list[Input]:
    """Images of a folder and its folders, by their suffixes."""
    suffixes = image_suffixes()
    found = [path for path in files_below(folder) if path.suffix.lower() in suffixes]
    if not found:
        raise UserError(
            f"the folder {folder} holds no image ({', '.join(decoding.FORMATS)} are read){left_out([folder])}"
        )
    found.sort(key=lambda path: path.parts)
    return [Input(str(folder / path), folder / path, path.parts) for path in found]


def files_below(folder: Path) -> Iterator[PurePath]:
    """Files of a folder and its folders, relative to it; hidden ones left out."""
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = PurePath(place).relative_to(folder)
        yield from (below / name for name in names if not name.startswith("."))


def left_out(paths: Sequence[str | Path]) -> str:
    """In words, how many files of the folders among some paths are no images by their names; "" where all are."""
    suffixes = image_suffixes()
    folders = [Path(path) for path in paths if Path(path).is_dir()]
    count = sum(path.suffix.lower() not in suffixes for folder in folders for path in files_below(folder))
    if not count:
        return ""
    were = "files have" if count > 1 else "file has"
    return f"; {count:,} {were} no suffix of an image and {'were' if count > 1 else 'was'} left out"


def image_suffixes() -> set[str]:
    """Of the formats that are read: ``.jpg``, ``.png``, …"""
    from PIL.Image import registered_extensions

    return {suffix for suffix, kind in registered_extensions().items() if kind in decoding.FORMATS} | {".dcm"}


def images_listed(file: Path) -> list[Input]:
    """Images that a CSV file lists."""
    head, rows = listed(file)
    column = image_column(head)
    if not rows:
        raise UserError(f"{file} lists no image below its heading")
    found = []
    for number, row in rows:
        name = row[column].strip() if column < len(row) else ""
        if not name:
            raise UserError(f"{file}, row {number}: no image is named in column {column + 1}; give its path")
        found.append(Input(name, file.parent / name, relative_parts(name)))
    return found


def listed(file: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The rows of a CSV file that lists images.

    The first row is a heading if it has a word of headings, and its image is no file that is there: the names of
    images may have no suffix.

    Returns:
        The heading in small letters, empty where there is none; and the other rows with their numbers from 1.

    Raises:
        UserError: It cannot be read, or is empty.
    """
    try:
        text = foreign.read_bytes(file).decode("utf-8-sig")
        rows = [(number, row) for number, row in enumerate(csv.reader(io.StringIO(text)), start=1) if any(row)]
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{file} cannot be read as a CSV file ({error}); save it as UTF-8 text") from error
    if not rows:
        raise UserError(f"{file} is empty; list one image a line, with a heading such as image")
    first = [cell.strip() for cell in rows[0][1]]
    head = [cell.lower() for cell in first]
    if HEADINGS.isdisjoint(head) or is_there(file.parent / first[image_column(head)]):
        return [], rows
    return head, rows[1:]


def image_column(head: Sequence[str]) -> int:
    """The column that names the images: the one that is called so, else the first."""
    return next((head.index(name) for name in LIST_COLUMNS if name in head), 0)


def is_there(path: Path) -> bool:
    """Whether a file is there; what cannot be a name is not."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
