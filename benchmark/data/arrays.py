"""Arrays: every image of a data set decoded and resized once, kept on disk and memory-mapped by every run."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np

from divsal_bench.contracts.task import StandIn, Task
from divsal_bench.data import canonical, drawn, images
from divsal_bench.data.canonical import COLUMNS, Progress
from divsal_bench.data.catalogue import STANDIN_SEED, DataSource, home
from divsal_bench.data.fingerprint import RowIdentity, data_fingerprint, digest, pixel_hash
from divsal_bench.data.threads import in_threads
from divsal_bench.errors import UserError
from divsal_bench.files import foreign, whole
from divsal_bench.files.whole import new_folder

if TYPE_CHECKING:
    import pandas as pd

#: Raised whenever the same files would give other arrays.
CACHE_VERSION = 3
#: How much of the free room decoded data may take.
SHARE_OF_FREE = 0.9
#: Bytes that are hashed at a time.
BLOCK = 2**20

#: The files of a cache folder whose hashes are in its meta.json.
HASHED = ("images.npy", "maps.npy", "rows.parquet")
#: Cache folders that this process found whole, with the state of their files then.
_CHECKED: dict[Path, tuple[tuple[tuple[str, int, int, int], ...], str]] = {}

Pair = tuple[np.ndarray, np.ndarray | None]


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
        notices: What the user should know, in plain language.
    """

    rows: pd.DataFrame = field(repr=False)
    images: np.ndarray = field(repr=False)
    maps: np.ndarray = field(repr=False)
    fingerprint: str
    pixel_hash: str
    path: Path
    notices: tuple[str, ...] = ()


def load(task: Task, source: DataSource, size: int, progress: Progress | None = None) -> DataArrays:
    """Load a data set at one size, decoding it only the first time.

    Args:
        task: The task; its ``channels`` decide between grey and RGB.
        source: From :func:`divsal_bench.data.catalogue.resolve`.
        size: Side S of the square images and maps; the aspect ratio is not kept.
        progress: Called with (rows done, all rows) while decoding.

    Raises:
        UserError: The data is damaged, was changed after preparing, or the cache cannot be written.
    """
    if source.kind == "standin":
        return _load_standin(task, source, size, progress)
    return _load_prepared(task, source, size, progress)


def open_cached(path: Path) -> DataArrays:
    """Memory-map arrays that :func:`load` has made; decodes nothing, so worker processes start at once.

    Args:
        path: ``DataArrays.path``.

    Raises:
        UserError: The folder is missing or damaged.
    """
    import pandas as pd

    try:
        meta = _whole(path)
        rows = pd.read_parquet(path / "rows.parquet")
        pixels = np.load(path / "images.npy", mmap_mode="r")
        maps = np.load(path / "maps.npy", mmap_mode="r")
        if not len(rows) == len(pixels) == len(maps):
            raise ValueError("the arrays differ in length")
        return DataArrays(rows, pixels, maps, meta["fingerprint"], meta["pixel_hash"], path)
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise UserError(f"the cached data in {path} cannot be read ({error}); delete that folder") from error


def seal(folder: Path, meta: dict[str, str]) -> None:
    """Write meta.json of a cache folder: what is given, and the hashes of the other files."""
    meta = meta | {name: _file_hash(folder / name) for name in HASHED}
    (folder / "meta.json").write_text(json.dumps(meta | {"sum": _sum(meta)}), encoding="utf-8")


def _whole(path: Path) -> dict[str, str]:
    """Read meta.json of a cache folder whose files are as they were written: a flipped bit would be trained on.

    Raises:
        OSError, ValueError: A file is missing or damaged.
    """
    meta = foreign.read_json(path / "meta.json")
    if not isinstance(meta, dict) or meta.get("sum") != _sum(meta):
        raise ValueError("meta.json is damaged")
    states = tuple((name, *_state(path / name)) for name in HASHED)
    if _CHECKED.get(path) != (states, meta["sum"]):
        with ThreadPoolExecutor(len(HASHED)) as pool:
            found = dict(zip(HASHED, pool.map(lambda name: _file_hash(path / name), HASHED), strict=True))
        damaged = [name for name in HASHED if found[name] != meta[name]]
        if damaged:
            raise ValueError(f"{' and '.join(damaged)} changed after writing")
        _CHECKED[path] = (states, meta["sum"])
    return meta


def _sum(meta: dict[str, str]) -> str:
    """The hash of meta.json's other entries."""
    return digest(json.dumps({name: meta[name] for name in sorted(meta) if name != "sum"}).encode())


def _state(file: Path) -> tuple[int, int, int]:
    """What changes when a file is written to or replaced."""
    found = file.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino


def _file_hash(file: Path) -> str:
    """The sha256 of a file, read block by block."""
    total = hashlib.sha256()
    with file.open("rb", buffering=0) as handle:
        while block := handle.read(BLOCK):
            total.update(block)
    return total.hexdigest()


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

    def decode(entry: canonical.Entry) -> tuple[canonical.Entry, RowIdentity, Pair]:
        wrong = canonical.value_problem(entry)
        if wrong:
            raise UserError(f"{folder}: sample {entry.sample_id!r}: {wrong}; see {look}")
        return entry, entry.identity(), _decode(entry, folder, task.channels, size)

    def pairs() -> Iterator[Pair]:
        for entry, row, pair in in_threads(decode, canonical.read(folder, info)):
            # Data prepared by others is not trusted to keep test subjects out of training.
            if subjects.setdefault(entry.subject, entry.split) != entry.split:
                raise UserError(f"{folder}: subject {entry.subject!r} is in two splits; see {look}")
            identities.append(row)
            image, saliency = pair
            mapped = saliency is not None and bool(np.ptp(saliency))
            table.append((*row[:6], entry.saliency_kind, mapped))
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

    return _store(target, pairs(), (info.rows, task.channels, size), finish, progress)


def _load_standin(task: Task, source: DataSource, size: int, progress: Progress | None) -> DataArrays:
    code = drawn.code_of(task)
    note = _target("drawn", code, task.name, source.fingerprint, size, task.channels).with_suffix(".drawn")
    arrays = _drawn_before(note, source) if code else None
    if not arrays:
        arrays = _draw(task, source, size, progress)
        if code:
            drawn.keep(note, arrays.path.name)
    if task.standin_pixels.get(source.variant, arrays.pixel_hash) == arrays.pixel_hash:
        return arrays
    notice = (
        f"{task.name} {source.variant}: this processor rounds some drawn pixels otherwise than the release's (by one "
        "grey level); runs made here compare well, published ones may differ in the third digit."
    )
    return replace(arrays, notices=(notice,))


def _drawn_before(note: Path, source: DataSource) -> DataArrays | None:
    """The arrays that the same code drew earlier; drawing takes seconds."""
    name = drawn.kept(note)
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
    content = digest(json.dumps(table).encode())
    target = _target("standin", task.name, source.fingerprint, pixels, content, size, task.channels)
    cached = _reopen(target)
    if cached:
        return cached
    meta = {"fingerprint": source.fingerprint, "pixel_hash": pixels}
    pairs = in_threads(lambda index: _resize(standin, index, size), range(len(rows)))
    return _store(target, pairs, (len(rows), task.channels, size), lambda _: (table, meta), progress)


@images.one_large_at_a_time()
def _decode(entry: canonical.Entry, folder: Path, channels: Literal[1, 3], size: int) -> Pair:
    """Decode one row of prepared data."""
    part = "image"
    try:
        picture = images.decode(entry.image)
        pixels = images.image_pixels(picture, channels, size)
        if entry.saliency is None:
            return pixels, None
        part = "map"
        saliency = images.align(images.decode(entry.saliency), picture)
        return pixels, images.map_pixels(saliency, size)
    except images.NotAnImage as error:
        raise UserError(
            f"{folder}: the {part} of sample {entry.sample_id!r} {error}; prepare the data again with --force"
        ) from error


def _resize(standin: StandIn, index: int, size: int) -> Pair:
    """Resize one drawn image and its map, as files are."""
    from PIL.Image import Resampling, fromarray

    image, saliency = standin.images[index], standin.maps[index]
    if image.shape[:2] != (size, size):
        image = np.asarray(fromarray(image).resize((size, size), Resampling.BILINEAR))
        saliency = np.asarray(fromarray(saliency).resize((size, size), Resampling.BOX))
    return (image[None] if image.ndim == 2 else image.transpose(2, 0, 1)), saliency


def _target(*identity: Any) -> Path:
    """Return the cache folder that belongs to an identity."""
    return home() / "cache" / digest(json.dumps([CACHE_VERSION, *identity]).encode())[:32]


def _reopen(target: Path) -> DataArrays | None:
    """Open a cache folder; a damaged one is removed and counts as missing."""
    if not target.exists():
        return None
    try:
        return open_cached(target)
    except UserError:
        shutil.rmtree(target, ignore_errors=True)
        return None


def _store(
    target: Path,
    pairs: Iterator[Pair],
    shape: tuple[int, int, int],
    finish: Callable[[str], tuple[list[tuple[Any, ...]], dict[str, str]]],
    progress: Progress | None,
) -> DataArrays:
    """Write a cache folder.

    Args:
        target: The folder.
        pairs: For each row its image, uint8 (C, S, S), and its map, uint8 (S, S), or None.
        shape: N, C and S.
        finish: Takes the hash of the arrays after the last row; returns the table and what meta.json holds.
        progress: Called with (rows done, N).
    """
    import pandas as pd

    total, channels, size = shape
    require_room(target, total, channels, size)
    none = np.zeros((size, size), np.uint8)
    whole.sweep([target.parent])
    try:
        with new_folder(target, fix="set DIVSAL_BENCH_HOME to a folder with room") as aside:
            with (aside / "images.npy").open("wb") as image_file, (aside / "maps.npy").open("wb") as map_file:
                # Written in order and not through a memory map: a full disk is then an error, not a crash.
                image_array = _ArrayFile(image_file, (total, channels, size, size))
                map_array = _ArrayFile(map_file, (total, size, size))
                for done, (image, saliency) in enumerate(pairs, start=1):
                    image_array.append(image)
                    map_array.append(none if saliency is None else saliency)
                    if progress:
                        progress(done, total)
            table, meta = finish(digest((image_array.sha.hexdigest() + map_array.sha.hexdigest()).encode()))
            pd.DataFrame(table, columns=list(COLUMNS)).to_parquet(aside / "rows.parquet", index=False)
            seal(aside, meta)
    except FileExistsError:
        pass  # another process has made the same arrays meanwhile
    return open_cached(target)


def require_room(target: Path, total: int, channels: int, size: int) -> None:
    """Refuse what would fill the disk before it is begun: the size may be what a stranger's run asks for.

    Args:
        target: The folder to be written.
        total: Images.
        channels: Of each.
        size: Side, pixels.
    """
    there = next(folder for folder in target.resolve().parents if folder.exists())
    needed, free = total * (channels + 1) * size**2, shutil.disk_usage(there).free
    if needed > SHARE_OF_FREE * free:
        raise UserError(
            f"{total:,} images at {size} px take {needed / 1e9:,.1f} GB, and {there} has room for "
            f"{free / 1e9:,.1f} GB; free some space or set DIVSAL_BENCH_HOME to a folder with room"
        )


class _ArrayFile:
    """An .npy file written row by row, and the sha256 of its values."""

    def __init__(self, file: BinaryIO, shape: tuple[int, ...]) -> None:
        self.file = file
        self.sha = hashlib.sha256()
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_2_0(file, header)  # type: ignore[no-untyped-call]

    def append(self, values: np.ndarray) -> None:
        """Write the next row."""
        data = values.tobytes()
        self.sha.update(data)
        self.file.write(data)
