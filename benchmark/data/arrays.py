"""Arrays: every image of a data set decoded and resized once, kept on disk and read by every run, row by row."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from divsal_bench.contracts.task import StandIn, Task
from divsal_bench.data import canonical, decoding, drawn, images, saliency_maps
from divsal_bench.data.array_files import ImageAndMap, open_folder, sole_maker, store_arrays
from divsal_bench.data.canonical import COLUMNS, Info, Progress
from divsal_bench.data.catalogue import STANDIN_SEED, DataSource, home
from divsal_bench.data.damage import NotAnImage
from divsal_bench.data.fingerprint import RowIdentity, bytes_digest, data_fingerprint, pixel_hash
from divsal_bench.data.room import Shape
from divsal_bench.data.stored_rows import DamagedCacheError, StoredRows
from divsal_bench.errors import UserError
from divsal_bench.files import whole
from divsal_bench.processes.threads import in_threads

if TYPE_CHECKING:
    import pandas as pd

#: Raised whenever the same files would give other arrays, or these are kept otherwise.
CACHE_VERSION = 4
#: Is told in one line that another process is waited for.
Say = Callable[[str], None]


@dataclass(frozen=True, eq=False, kw_only=True)
class DataRows:
    """What is known of a data set, N rows in one order throughout, be its images decoded or not.

    Attributes:
        rows: Columns :data:`divsal_bench.data.canonical.COLUMNS`: label is 0 or 1, has_map a bool, the others strings.
        fingerprint: Recomputed when the arrays were made; before that, as stated by the data.
        pixel_hash: For stand-ins of the pixels as drawn; for prepared data of the arrays, so that two
            decoders that differ can be told apart. "" before they are decoded.
        shape: Of the pixels; before they are decoded, the most that they will be.
        path: The cache folder; what :func:`open_cached` takes.
        decoded: Whether it is there.
    """

    rows: pd.DataFrame = field(repr=False)
    fingerprint: str
    pixel_hash: str
    shape: Shape
    path: Path
    decoded: bool = False
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class DataArrays(DataRows):
    """A data set with its pixels, which are read from the disk when they are indexed.

    Attributes:
        rows: As :class:`DataRows` has them; has_map is False for a constant map too: it says nothing of where people
            look.
        images: uint8, (N, C, S, S).
        maps: uint8, (N, S, S); 0 where there is no map.
    """

    images: StoredRows = field(repr=False)
    maps: StoredRows = field(repr=False)
    decoded: bool = True


def say_nothing(text: str) -> None:
    """Nobody is told that another process is waited for."""


def load_arrays(
    task: Task,
    source: DataSource,
    size: int,
    progress: Progress | None = None,
    say: Say = say_nothing,
) -> DataArrays:
    """Load a data set at one size, decoding it only the first time.

    Args:
        task: The task; its ``channels`` decide between grey and RGB.
        size: Side S of the square images and maps; the aspect ratio is not kept.
        say: Told when another process decodes the same data and is waited for.

    Raises:
        UserError: The data is damaged, was changed after preparing, or the cache cannot be written.
    """
    if source.kind == "standin":
        return _load_standin(task, source, size, progress, say)
    return _load_prepared(task, source, size, progress, say)


def load_rows(
    task: Task,
    source: DataSource,
    size: int,
    progress: Progress | None = None,
    say: Say = say_nothing,
) -> DataRows:
    """What is known of a data set without decoding it; stand-ins are drawn, prepared data is read but for its pictures.

    Args:
        task, source, size, progress, say: As :func:`load_arrays` takes them.

    Returns:
        The :class:`DataArrays` where they are there already. Otherwise has_map says which rows come with a map, be it
        a constant one.

    Raises:
        UserError: As :func:`load_arrays`, as far as it shows in the rows.
    """
    if source.kind == "standin":
        return _load_standin(task, source, size, progress, say)
    import pandas as pd

    folder, info, target = _prepared_target(task, source, size)
    with suppress(UserError):
        return open_cached(target)
    rows = pd.DataFrame(canonical.read_rows(folder, info), columns=list(COLUMNS))
    return DataRows(
        rows=rows, fingerprint=info.fingerprint, pixel_hash="", shape=_shape(task, info, size), path=target
    )  # fmt: skip


def open_cached(path: Path) -> DataArrays:
    """Open arrays that :func:`load_arrays` has made; decodes nothing, so worker processes start at once.

    Args:
        path: ``DataArrays.path``.

    Raises:
        UserError: The folder is missing or damaged.
    """
    try:
        found = open_folder(path)
        meta, (_, channels, side, _) = found.meta, found.images.shape
        return DataArrays(
            rows=found.rows,
            fingerprint=meta["fingerprint"],
            pixel_hash=meta["pixel_hash"],
            shape=Shape(len(found.rows), int(found.rows["has_map"].sum()), channels, side),
            path=path,
            images=found.images,
            maps=found.maps,
        )
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise DamagedCacheError(path, str(error)) from error


def _prepared_target(task: Task, source: DataSource, size: int) -> tuple[Path, Info, Path]:
    """The folder of prepared data, what it says of itself, and the cache folder of its arrays."""
    folder = source.folder()
    info = canonical.read_info(folder)
    if info.fingerprint != source.fingerprint:
        raise UserError(f"the data in {folder} was replaced while it was being loaded; run the command again")
    identity: Any = source.revision or [
        [name, (folder / name).stat().st_size, (folder / name).stat().st_mtime_ns] for name in info.files
    ]
    return folder, info, _target("prepared", source.repo, identity, info.fingerprint, size, task.channels)


def _shape(task: Task, info: Info, size: int) -> Shape:
    """The size of prepared data once it is decoded, as it says itself."""
    maps = sum(max(0, count.maps) for count in info.counts)
    return Shape(info.rows, min(maps, info.rows), task.channels, size)


def _load_prepared(task: Task, source: DataSource, size: int, progress: Progress | None, say: Say) -> DataArrays:
    folder, info, target = _prepared_target(task, source, size)
    look = f"divsal-bench data check {shlex.quote(str(folder))}"
    table: list[tuple[Any, ...]] = []
    identities: list[RowIdentity] = []
    subjects: dict[str, str] = {}

    def decode(sample: canonical.Sample) -> tuple[canonical.Sample, RowIdentity, ImageAndMap]:
        wrong = canonical.value_problem(sample)
        if wrong:
            raise UserError(f"{folder}: sample {sample.sample_id!r}: {wrong}; see {look}")
        return sample, sample.identity(), _decode(sample, folder, task.channels, size)

    def pairs() -> Iterator[ImageAndMap]:
        for sample, row, pair in in_threads(decode, canonical.read_samples(folder, info)):
            # Data prepared by others is not trusted to keep test subjects out of training.
            if subjects.setdefault(sample.subject, sample.split) != sample.split:
                raise UserError(f"{folder}: subject {sample.subject!r} is in two splits; see {look}")
            identities.append(row)
            image, saliency = pair
            mapped = saliency is not None and bool(np.ptp(saliency))
            table.append((*row[:6], sample.saliency_kind, mapped))
            yield image, saliency if mapped else None

    def finish(arrays: str) -> tuple[list[tuple[Any, ...]], dict[str, str]]:
        if len({row.sample_id for row in identities}) < len(identities):
            raise UserError(f"{folder}: a sample_id occurs twice; see {look}")
        # The stored fingerprint is trusted only once these very files have given it.
        fingerprint = data_fingerprint(identities)
        if fingerprint != info.fingerprint:
            raise UserError(
                f"the data in {folder} was changed after preparing: its rows do not give the stored "
                "fingerprint; prepare it again with --force"
            )
        return table, {"fingerprint": fingerprint, "pixel_hash": arrays}

    return _made_once(target, lambda: store_arrays(target, pairs(), _shape(task, info, size), finish, progress), say)


def _load_standin(task: Task, source: DataSource, size: int, progress: Progress | None, say: Say) -> DataArrays:
    code = drawn.code_of(task)
    note = _target("drawn", code, task.name, source.fingerprint, size, task.channels).with_suffix(".drawn")
    arrays = _drawn_before(note, source) if code else None
    if not arrays:
        arrays = _draw(task, source, size, progress, say)
        if code:
            drawn.note_cache(note, arrays.path.name)
    if task.standin_pixels.get(source.variant, arrays.pixel_hash) == arrays.pixel_hash:
        return arrays
    notice = (
        f"{task.name} {source.variant}: this processor rounds some drawn pixels otherwise than the release's (by one "
        "grey level); runs made here compare well, published ones may differ in the third digit."
    )
    return replace(arrays, notices=(notice,))


def _drawn_before(note: Path, source: DataSource) -> DataArrays | None:
    """The arrays that the same code drew earlier; drawing takes seconds."""
    name = drawn.noted_cache(note)
    with suppress(UserError):
        arrays = open_cached(home() / "cache" / name) if name else None
        return arrays if arrays and arrays.fingerprint == source.fingerprint else None
    return None


def _draw(task: Task, source: DataSource, size: int, progress: Progress | None, say: Say) -> DataArrays:
    """Draw a stand-in, and find or make its arrays."""
    standin = task.draw_standin(source.variant, STANDIN_SEED)
    pixels = pixel_hash(standin.images, standin.maps)
    rows = standin.rows.reset_index(drop=True)
    table = [
        (*row, row[-1] != "none")
        for row in rows[list(COLUMNS[:-1])].astype({"label": int}).itertuples(index=False, name=None)
    ]
    # The key holds what was drawn, rows and pixels, so that a changed generator never meets an old cache.
    content = bytes_digest(json.dumps(table).encode())
    target = _target("standin", task.name, source.fingerprint, pixels, content, size, task.channels)
    meta = {"fingerprint": source.fingerprint, "pixel_hash": pixels}
    mapped = [row[-1] for row in table]

    def resized(index: int) -> ImageAndMap:
        image, saliency = _resize(standin, index, size)
        return image, saliency if mapped[index] else None

    def make() -> None:
        pairs = in_threads(resized, range(len(rows)))
        store_arrays(
            target, pairs, Shape(len(rows), sum(mapped), task.channels, size), lambda _: (table, meta), progress
        )

    return _made_once(target, make, say)


@decoding.one_large_at_a_time()
def _decode(sample: canonical.Sample, folder: Path, channels: Literal[1, 3], size: int) -> ImageAndMap:
    """Decode one row of prepared data."""
    part = "image"
    try:
        picture = decoding.decode_image(sample.image)
        pixels = images.image_pixels(picture, channels, size)
        if sample.saliency is None:
            return pixels, None
        part = "map"
        saliency = saliency_maps.align(decoding.decode_image(sample.saliency), picture)
        return pixels, saliency_maps.resized_map(saliency, size)
    except NotAnImage as error:
        raise UserError(
            f"{folder}: the {part} of sample {sample.sample_id!r} {error}; prepare the data again with --force"
        ) from error


def _resize(standin: StandIn, index: int, size: int) -> ImageAndMap:
    """Resize one drawn image and its map, as files are."""
    from PIL.Image import Resampling, fromarray

    image, saliency = standin.images[index], standin.maps[index]
    if image.shape[:2] != (size, size):
        image = np.asarray(fromarray(image).resize((size, size), Resampling.BILINEAR))
        saliency = np.asarray(fromarray(saliency).resize((size, size), Resampling.BOX))
    return (image[None] if image.ndim == 2 else image.transpose(2, 0, 1)), saliency


def _target(*identity: Any) -> Path:
    """Return the cache folder that belongs to an identity."""
    return home() / "cache" / bytes_digest(json.dumps([CACHE_VERSION, *identity]).encode())[:32]


def _made_once(target: Path, make: Callable[[], None], say: Say) -> DataArrays:
    """Open a cache folder, which is made first where there is none or a damaged one; by one process at a time."""
    with suppress(UserError):
        return open_cached(target)
    with sole_maker(target, say):
        with suppress(UserError):
            return open_cached(target)
        whole.remove(target)
        make()
        return open_cached(target)
