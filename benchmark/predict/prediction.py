"""Scores of image files as a stream: decoding runs ahead of the network by a few batches and no further."""

from __future__ import annotations

import csv
import io
import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, TypeVar, Union

import numpy as np

from divsal_bench.data import images, reading
from divsal_bench.data.images import NotAnImage
from divsal_bench.errors import UserError
from divsal_bench.files import foreign
from divsal_bench.training import training

if TYPE_CHECKING:
    import pandas as pd
    from PIL.Image import Image
    from torch import Tensor

    from divsal_bench.predict.loading import Pretrained

#: What can be scored: a path, the bytes of an image file, or a PIL image.
Source = Union[str, Path, bytes, "Image"]
COLUMNS = ("image", "score", "probability", "decision", "error")
#: Columns of a CSV file that may list the images; else its first does.
LIST_COLUMNS = ("image", "path")
#: A first row with one of these is a heading, unless it names a file.
HEADINGS = frozenset({*LIST_COLUMNS, "label", "file", "filename", "file name", "file_name", "images", "image_path",
                      "filepath", "file_path", "image index", "name", "id", "score"})  # fmt: skip
#: Bytes. Beyond it a file is not read into memory.
LARGEST_FILE = 2**30
#: Bytes of one batch as the network's input, float32. A config.json may be a stranger's and ask for large inputs.
LARGEST_BATCH = 2**28
#: Batches that are decoded while one is in the network.
AHEAD = 2

T = TypeVar("T")
R = TypeVar("R")


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


@dataclass(frozen=True, eq=False)
class Prediction:
    """One scored image.

    Attributes:
        image: As it was given.
        score: The logit margin z1 − z0; NaN where there is an error.
        probability: Of class 1.
        decision: A class name; "" where there is an error.
        error: Why it could not be read, in one line; else "".
        pixels: What the network saw, uint8 (1 or 3, S, S); None unless maps were asked for.
        difference: CAM of class 1 minus that of class 0, (h, w) float32, in logits; its mean and the difference of
            the biases add up to the score. None unless asked for.
        highest: The largest value of a file of 16 bits; 0 for one of 8.
    """

    image: str
    score: float
    probability: float
    decision: str
    error: str
    pixels: np.ndarray | None = None
    difference: np.ndarray | None = None
    highest: int = 0


def stream(
    pretrained: Pretrained, inputs: Iterable[Input], batch_size: int = 32, with_maps: bool = False
) -> Iterator[Prediction]:
    """Score images in order, with a few batches in memory at a time.

    Args:
        pretrained: Used on the device where its model is.
        inputs: What to score. One that cannot be read gives a row with its error, and the others are still scored.
        batch_size: Images in one forward pass; fewer where so many inputs would exceed :data:`LARGEST_BATCH`.
        with_maps: Also return pixels and difference maps.
    """
    protocol = pretrained.preprocessing.as_protocol(pretrained.precision, pretrained.channels_last)
    batch_size = fitting(pretrained, batch_size)
    decoded = ahead(lambda one: (one.image, *looked_at(pretrained, one.source)), inputs, AHEAD * batch_size)
    while batch := list(islice(decoded, batch_size)):
        readable = [pixels for _, pixels, _ in batch if not isinstance(pixels, str)]
        margins, maps = np.zeros(0), None
        if readable:
            logits, cams = training.predict(pretrained.model, stacked(readable), protocol, with_maps, batch_size)
            values = logits.double().numpy()
            margins = values[:, 1] - values[:, 0]
            maps = None if cams is None else (cams[:, 1] - cams[:, 0]).numpy()
        row = 0
        for image, pixels, highest in batch:
            if isinstance(pixels, str):
                yield failed(image, pixels)
                continue
            score = float(margins[row])
            if math.isfinite(score):
                seen, cam = (None, None) if maps is None else (pixels, maps[row])
                called = pretrained.decision(score)
                yield Prediction(image, score, probability(score), called, "", seen, cam, highest)
            else:
                yield failed(image, "gives a score that is not finite")
            row += 1


def fitting(pretrained: Pretrained, batch_size: int) -> int:
    """Images of one forward pass, as asked for but no more than :data:`LARGEST_BATCH` holds; at least one."""
    preprocessing = pretrained.preprocessing
    one = 4 * preprocessing.in_chans * preprocessing.size**2
    return max(1, min(batch_size, LARGEST_BATCH // one))


def table(predictions: Iterable[Prediction]) -> pd.DataFrame:
    """Predictions as rows, columns :data:`COLUMNS`."""
    import pandas as pd

    rows = [tuple(getattr(one, name) for name in COLUMNS) for one in predictions]  # without pixels and maps
    # Not pandas' own strings: a file name may be no text.
    types = {"score": np.float64, "probability": np.float64}
    columns = {name: [row[number] for row in rows] for number, name in enumerate(COLUMNS)}
    return pd.DataFrame({name: pd.Series(cells, dtype=types.get(name, object)) for name, cells in columns.items()})


def failed(image: str, error: str) -> Prediction:
    """A row without a score."""
    return Prediction(image, math.nan, math.nan, "", error)


def probability(score: float) -> float:
    """The sigmoid; neither end overflows."""
    if score >= 0:
        return 1 / (1 + math.exp(-score))
    odds = math.exp(score)
    return odds / (1 + odds)


def stacked(pixels: Sequence[np.ndarray]) -> Tensor:
    """A uint8 batch (B, C, S, S)."""
    import torch

    return torch.from_numpy(np.stack(pixels))


def ahead(work: Callable[[T], R], items: Iterable[T], count: int) -> Iterator[R]:
    """Apply a function in threads, in order, at most ``count`` results ahead of whoever takes them.

    Unlike :func:`divsal_bench.data.threads.in_threads` it goes on working while the taker is busy.
    """
    items = iter(items)
    pool = ThreadPoolExecutor(min(8, usable_processors()))
    try:
        pending: deque[Future[R]] = deque(pool.submit(work, item) for item in islice(items, count))
        while pending:
            yield pending.popleft().result()
            pending.extend(pool.submit(work, item) for item in islice(items, 1))
    finally:
        pool.shutdown(cancel_futures=True)


def usable_processors() -> int:
    """Of this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def decode(pretrained: Pretrained, source: Source) -> np.ndarray | str:
    """Pixels at the network's size, uint8 (1 or 3, S, S), or why there are none."""
    return looked_at(pretrained, source)[0]


@images.one_large_at_a_time()
def looked_at(pretrained: Pretrained, source: Source) -> tuple[np.ndarray | str, int]:
    """What :func:`decode` returns, and the largest value of a file of 16 bits (0 for any other)."""
    try:
        picture = images.decode(content(source))
        facts = reading.image_facts(picture)
        return pretrained.preprocessing.pixels(picture, pretrained.window), facts.high
    except NotAnImage as error:
        reason = str(error)
    except OSError as error:
        reason = f"cannot be read ({error.strerror or error})"
    except MemoryError:
        reason = "needs more memory than there is"
    except Exception as error:  # decoders meet damaged files with every kind of exception; the other images count
        reason = f"is damaged ({type(error).__name__}: {error})"
    return " ".join(reason.split())[:300], 0


def content(source: Source) -> bytes:
    """The bytes of an image file.

    Raises:
        NotAnImage: There is no such file, or none that can be read whole.
    """
    if isinstance(source, bytes):
        return source
    if not isinstance(source, str | Path):
        return file_of(source)
    path = Path(source)
    if not path.exists():
        raise NotAnImage("is not there")
    if not path.is_file():  # a pipe or a device might never end
        raise NotAnImage("is not a file")
    if path.stat().st_size > LARGEST_FILE:
        raise NotAnImage(f"has more than {LARGEST_FILE:,} bytes")
    return path.read_bytes()


def file_of(image: Image) -> bytes:
    """A PIL image as an uncompressed file: one decoder for all, whatever the mode."""
    from PIL import ImageOps

    buffer = io.BytesIO()
    try:
        if image.has_transparency_data and image.mode in ("L", "P", "RGB"):
            image = image.convert("RGBA")  # TIFF would forget which colour is transparent
        ImageOps.exif_transpose(image).save(buffer, "TIFF")
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise NotAnImage(f"is no PIL image that can be read ({error}); convert it to L or RGB") from error
    return buffer.getvalue()


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
            f"the folder {folder} holds no image ({', '.join(images.FORMATS)} are read){left_out([folder])}"
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

    return {suffix for suffix, kind in registered_extensions().items() if kind in images.FORMATS} | {".dcm"}


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
