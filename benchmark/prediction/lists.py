"""CSV files that list images, each perhaps with its class: read in one way, with one rule for the heading."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from divsal_bench.errors import UserError
from divsal_bench.files import foreign

#: Columns that may name the images; else the first does.
IMAGE_COLUMNS = ("image", "path")
#: The column that may name each image's class.
LABEL_COLUMN = "label"
#: A first row with one of these is a heading, unless it names a file.
HEADINGS = frozenset({*IMAGE_COLUMNS, LABEL_COLUMN, "file", "filename", "file name", "file_name", "images",
                      "image_path", "filepath", "file_path", "image index", "name", "id", "score"})  # fmt: skip


@dataclass(frozen=True)
class ListedImage:
    """One row of a list.

    Attributes:
        image: Its path, relative to the list's folder.
        label: Its class as it stands there; "" where none does.
        row: In the file, from 1.
    """

    image: str
    label: str
    row: int


def images_listed(file: Path) -> list[ListedImage]:
    """The images that a CSV file lists.

    The first row is a heading if it has a word of :data:`HEADINGS`, and its image is no file that is there: the names
    of images may have no suffix.

    Raises:
        UserError: It cannot be read, lists no image, or a row names none.
    """
    rows = numbered_rows(file)
    first = [cell.strip() for cell in rows[0][1]]
    head = [cell.lower() for cell in first]
    if HEADINGS.isdisjoint(head) or is_there(file.parent / first[image_column(head)]):
        head = []
    else:
        rows = rows[1:]
    if not rows:
        raise UserError(f"{file} lists no image below its heading")
    images, labels = image_column(head), head.index(LABEL_COLUMN) if LABEL_COLUMN in head else None
    found = []
    for number, row in rows:
        name = cell_of(row, images)
        if not name:
            raise UserError(f"{file}, row {number}: no image is named in column {images + 1}; give its path")
        found.append(ListedImage(name, "" if labels is None else cell_of(row, labels), number))
    return found


def numbered_rows(file: Path) -> list[tuple[int, list[str]]]:
    """Rows that are not empty, with their numbers from 1; at least one."""
    try:
        text = foreign.read_bytes(file).decode("utf-8-sig")
        rows = [(number, row) for number, row in enumerate(csv.reader(io.StringIO(text)), start=1) if any(row)]
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{file} cannot be read as a CSV file ({error}); save it as UTF-8 text") from error
    if not rows:
        raise UserError(f"{file} is empty; list one image a line, with a heading such as image")
    return rows


def cell_of(row: Sequence[str], column: int) -> str:
    """A cell without the space around it; "" where the row ends before it."""
    return row[column].strip() if column < len(row) else ""


def image_column(head: Sequence[str]) -> int:
    """The column that names the images: the one that is called so, else the first."""
    return next((head.index(name) for name in IMAGE_COLUMNS if name in head), 0)


def is_there(path: Path) -> bool:
    """Whether a file is there; what cannot be a name is not."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
