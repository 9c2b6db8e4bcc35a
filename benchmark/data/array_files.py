"""Cache folders of decoded data: made by one process at a time, written whole, sealed with hashes, read by every run.

A folder holds ``images.npy``; ``maps.npy`` with the maps of the rows that have one; ``sums.npy``, the CRC-32 of every
row of the two; ``rows.parquet``; and ``meta.json`` with the hashes of the small files. The large ones are verified row
by row when they are read.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from divsal_bench.data.canonical import COLUMNS, Progress
from divsal_bench.data.fingerprint import bytes_digest
from divsal_bench.data.room import FREE_SOME, Room, Shape
from divsal_bench.data.stored_rows import DAMAGE_NOTE, StoredRows, npy_header
from divsal_bench.errors import UserError
from divsal_bench.files import foreign, whole
from divsal_bench.files.locks import lock_file
from divsal_bench.files.whole import new_folder

if TYPE_CHECKING:
    import pandas as pd

#: The image and the map of one row, if it has one.
ImageAndMap = tuple[np.ndarray, np.ndarray | None]
#: The files of a cache folder whose hashes are in its meta.json.
HASHED = ("sums.npy", "rows.parquet")
#: Seconds between two looks at whether another process still makes a folder.
POLL = 0.2


@dataclass(frozen=True)
class CacheFolder:
    """What an opened cache folder holds: what ``meta.json`` says, the table, and the pixels of N rows."""

    meta: dict[str, Any]
    rows: pd.DataFrame
    images: StoredRows
    maps: StoredRows


def open_folder(path: Path) -> CacheFolder:
    """Open a cache folder; what is read here is what was written, and what is read later is verified then.

    Raises:
        OSError, ValueError, KeyError, TypeError: A file is missing or damaged.
    """
    import pandas as pd

    with suppress(FileNotFoundError):
        note = foreign.read_bytes(path / DAMAGE_NOTE).decode("utf-8", errors="replace")
        raise ValueError(note[:200] or "it is marked as damaged")
    meta = foreign.read_json(path / "meta.json")
    if not isinstance(meta, dict) or meta.get("sum") != sum_of_meta(meta):
        raise ValueError("meta.json is damaged")
    if meta["key"] != path.name:  # whoever put it there may have meant well
        raise ValueError("it holds other data")
    small = {}
    for name in HASHED:
        small[name] = foreign.read_bytes(path / name)
        if bytes_digest(small[name]) != meta[name]:
            raise ValueError(f"{name} changed after writing")
    rows = pd.read_parquet(io.BytesIO(small["rows.parquet"]))
    sums = np.load(io.BytesIO(small["sums.npy"]), allow_pickle=False)
    channels, side = meta["channels"], meta["side"]
    count, mapped = len(rows), rows["has_map"].to_numpy(dtype=bool)
    images = StoredRows(path / "images.npy", (count, channels, side, side), sums[:count])
    maps = StoredRows(path / "maps.npy", (count, side, side), sums[count:], mapped)
    return CacheFolder(meta, rows, images, maps)


def sum_of_meta(meta: dict[str, Any]) -> str:
    """The hash of meta.json's other entries."""
    return bytes_digest(json.dumps({name: meta[name] for name in sorted(meta) if name != "sum"}).encode())


@contextmanager
def sole_maker(target: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Be the one process that makes a cache folder; another is waited for, and one that dies holds nobody up.

    Args:
        say: Told that another process is waited for.

    Raises:
        UserError: The folder's place cannot be written.
    """
    missing = [parent for parent in target.parents if not parent.exists()]
    said = False
    try:
        try:
            while True:
                target.parent.mkdir(parents=True, exist_ok=True)
                lock = lock_file(target.with_suffix(".lock"))
                if lock is not None:
                    break
                if not said:
                    say(f"another process is decoding the same data (into {target}); waiting for the end of that")
                said = True
                time.sleep(POLL)
        except OSError as error:
            raise UserError(f"cannot write {target}: {error.strerror or error}; {FREE_SOME}") from error
        try:
            yield
        finally:
            lock.release()
    finally:
        whole.remove_empty(missing)


def store_arrays(
    target: Path,
    pairs: Iterator[ImageAndMap],
    shape: Shape,
    finish: Callable[[str], tuple[list[tuple[Any, ...]], dict[str, str]]],
    progress: Progress | None,
) -> None:
    """Write a cache folder.

    Args:
        pairs: For each row its image, uint8 (C, S, S), and its map, uint8 (S, S), or None.
        shape: What they will be; with fewer maps than it says they take less room.
        finish: Takes the hash of the arrays after the last row; returns the table, whose ``has_map`` says which rows
            had a map, and what meta.json holds.

    Raises:
        UserError: There is no room, or the disk would become full; nothing is left behind.
    """
    import pandas as pd

    room = Room(target)
    room.require(shape)
    none = bytes(shape.side**2)
    whole.sweep([target.parent])
    try:
        with new_folder(target, fix="set DIVSAL_BENCH_HOME to a folder with room") as aside:
            with (aside / "images.npy").open("wb") as image_file, (aside / "maps.npy").open("wb") as map_file:
                # Written in order and not through a memory map: a full disk is then an error, not a crash.
                images = _ArrayFile(image_file, (shape.channels, shape.side, shape.side), room)
                maps = _ArrayFile(map_file, (shape.side, shape.side), room)
                for done, (image, saliency) in enumerate(pairs, start=1):
                    images.append(image)
                    if saliency is None:
                        maps.sha.update(none)  # the hash is of all rows, as they are read
                    else:
                        maps.append(saliency)
                    if progress:
                        progress(done, shape.rows)
                images.close()
                maps.close()
            table, meta = finish(bytes_digest((images.sha.hexdigest() + maps.sha.hexdigest()).encode()))
            pd.DataFrame(table, columns=list(COLUMNS)).to_parquet(aside / "rows.parquet", index=False)
            np.save(aside / "sums.npy", np.array(images.sums + maps.sums, np.uint32))
            sealed: dict[str, Any] = meta | {"key": target.name, "channels": shape.channels, "side": shape.side}
            sealed |= {name: foreign.sha256(aside / name) for name in HASHED}
            (aside / "meta.json").write_text(json.dumps(sealed | {"sum": sum_of_meta(sealed)}), encoding="utf-8")
    except FileExistsError:
        pass  # another process has made the same arrays meanwhile, where there are no locks


class _ArrayFile:
    """An .npy file written row by row, the CRC-32 of each row, and the sha256 of the values."""

    def __init__(self, file: BinaryIO, row: tuple[int, ...], room: Room) -> None:
        self.file = file
        self.row = row
        self.room = room
        self.sha = hashlib.sha256()
        self.sums: list[int] = []
        file.write(npy_header((0, *row)))

    def append(self, values: np.ndarray) -> None:
        """Write the next row."""
        if values.shape != self.row or values.dtype != np.uint8:
            raise UserError(f"a picture is {values.dtype} {values.shape}, where uint8 {self.row} belongs")
        data = values.tobytes()
        self.room.take(len(data))
        self.sha.update(data)
        self.sums.append(zlib.crc32(data))
        self.file.write(data)

    def close(self) -> None:
        """Write down how many rows there are."""
        self.file.seek(0)
        self.file.write(npy_header((len(self.sums), *self.row)))
