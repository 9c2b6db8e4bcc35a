"""The images that somebody names: files, folders, lists, or what is in memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Union

from divsal_bench.data import decoding
from divsal_bench.errors import UserError
from divsal_bench.prediction.lists import images_listed

if TYPE_CHECKING:
    from PIL.Image import Image

#: What can be scored: a path, the bytes of an image file, or a PIL image.
Source = Union[str, Path, bytes, "Image"]


@dataclass(frozen=True, eq=False)
class Input:
    """One image to score.

    Attributes:
        image: As it was given, for tables.
        source: What is decoded.
        parts: Its place below what was given, for naming files after it: ``("a", "x.png")``.
        label: Its class as the list that names it says; "" where none does.
        place: The row of that list, for messages; "" without one.
    """

    image: str
    source: Source
    parts: tuple[str, ...]
    label: str = ""
    place: str = ""


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
            files, whose column ``image`` or ``path``, else the first, lists paths relative to the CSV file's folder,
            and whose column ``label`` their classes; a first row with a word such as ``image``, ``file`` or ``label``
            that names no file is a heading.

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
            for one in images_listed(path):
                place = f"{path}, row {one.row}"
                found.append(Input(one.image, path.parent / one.image, relative_parts(one.image), one.label, place))
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
