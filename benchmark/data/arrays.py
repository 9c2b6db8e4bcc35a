"""Arrays: every image of a data set decoded and resized once, kept on disk and memory-mapped by every run."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from divsal_bench.contracts.task import StandIn, Task
from divsal_bench.data import canonical, decoding, drawn, images, saliency_maps
from divsal_bench.data.array_files import ImageAndMap, store_arrays, whole_meta
from divsal_bench.data.canonical import COLUMNS, Progress
from divsal_bench.data.catalogue import STANDIN_SEED, DataSource, home
from divsal_bench.data.damage import NotAnImage
from divsal_bench.data.fingerprint import RowIdentity, bytes_digest, data_fingerprint, pixel_hash
from divsal_bench.errors import UserError
from divsal_bench.processes.threads import in_threads

if TYPE_CHECKING:
    import pandas as pd

#: Raised whenever the same files would give other arrays.
CACHE_VERSION = 3


@dataclass(frozen=True, eq=False)
class DataArrays:
    """A data set in memory-mapped arrays, N rows in one order throughout.

    Attributes:
        rows: Columns :data:`divsal_bench.data.canonical.COLUMNS`: label is 0 or 1, has_map a bool (False for a
            constant map too: it says nothing of where people look), the others strings.
        images: uint8, (N, C, S, S).
        maps: uint8, (N, S, S); 0 where there is no map.
        fingerprint: Recomputed when the arrays were made.
        pixel_hash: For stand-ins of the pixels as drawn; for prepared data of the arrays, so that two
            decoders that differ can be told apart. The arrays are the ones it belongs to: opening checks their hashes.
        path: The cache folder; what :func:`open_cached` takes.
    """

    rows: pd.DataFrame = field(repr=False)
    images: np.ndarray = field(repr=False)
    maps: np.ndarray = field(repr=False)
    fingerprint: str
    pixel_hash: str
    path: Path
    notices: tuple[str, ...] = ()


def load_arrays(task: Task, source: DataSource, size: int, progress: Progress | None = None) -> DataArrays:
    """Load a data set at one size, decoding it only the first time.

    Args:
        task: The task; its ``channels`` decide between grey and RGB.
        size: Side S of the square images and maps; the aspect ratio is not kept.

    Raises:
        UserError: The data is damaged, was changed after preparing, or the cache cannot be written.
    """
    if source.kind == "standin":
        return _load_standin(task, source, size, progress)
    return _load_prepared(task, source, size, progress)


def open_cached(path: Path) -> DataArrays:
    """Memory-map arrays that :func:`load_arrays` has made; decodes nothing, so worker processes start at once.

    Args:
        path: ``DataArrays.path``.

    Raises:
        UserError: The folder is missing or damaged.
    """
    import pandas as pd

    try:
        meta = whole_meta(path)
        rows = pd.read_parquet(path / "rows.parquet")
        pixels = np.load(path / "images.npy", mmap_mode="r")
        maps = np.load(path / "maps.npy", mmap_mode="r")
        if not len(rows) == len(pixels) == len(maps):
            raise ValueError("the arrays differ in length")
        return DataArrays(rows, pixels, maps, meta["fingerprint"], meta["pixel_hash"], path)
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise UserError(f"the cached data in {path} cannot be read ({error}); delete that folder") from error


def _load_prepared(task: Task, source: DataSource, size: int, progress: Progress | None) -> DataArrays:
    folder = source.folder()
    info = canonical.read_info(folder)
    if info.fingerprint != source.fingerprint:
        raise UserError(f"the data in {folder} was replaced while it was being loaded; run the command again")
    look = f"divsal-bench data check {shlex.quote(str(folder))}"
    identity: Any = source.revision or [
        [name, (folder / name).stat().st_size, (folder / name).stat().st_mtime_ns] for name in info.files
    ]
    target = _target("prepared", source.repo, identity, info.fingerprint, size, task.channels)
    cached = _reopen(target)
    if cached:
        return cached

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

    store_arrays(target, pairs(), (info.rows, task.channels, size), finish, progress)
    return open_cached(target)


def _load_standin(task: Task, source: DataSource, size: int, progress: Progress | None) -> DataArrays:
    code = drawn.code_of(task)
    note = _target("drawn", code, task.name, source.fingerprint, size, task.channels).with_suffix(".drawn")
    arrays = _drawn_before(note, source) if code else None
    if not arrays:
        arrays = _draw(task, source, size, progress)
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
    arrays = _reopen(home() / "cache" / name) if name else None
    return arrays if arrays and arrays.fingerprint == source.fingerprint else None


def _draw(task: Task, source: DataSource, size: int, progress: Progress | None) -> DataArrays:
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
    cached = _reopen(target)
    if cached:
        return cached
    meta = {"fingerprint": source.fingerprint, "pixel_hash": pixels}
    pairs = in_threads(lambda index: _resize(standin, index, size), range(len(rows)))
    store_arrays(target, pairs, (len(rows), task.channels, size), lambda _: (table, meta), progress)
    return open_cached(target)


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


def _reopen(target: Path) -> DataArrays | None:
    """Open a cache folder; a damaged one is removed and counts as missing."""
    if not target.exists():
        return None
    try:
        return open_cached(target)
    except UserError:
        shutil.rmtree(target, ignore_errors=True)
        return None
