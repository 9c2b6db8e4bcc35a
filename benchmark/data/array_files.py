"""Cache folders of decoded data: written whole, sealed with hashes, memory-mapped by every run."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from divsal_bench.data.canonical import COLUMNS, Progress
from divsal_bench.data.fingerprint import bytes_digest
from divsal_bench.errors import UserError
from divsal_bench.files import foreign, whole
from divsal_bench.files.whole import new_folder

#: The image and the map of one row, if it has one.
ImageAndMap = tuple[np.ndarray, np.ndarray | None]
#: How much of the free room decoded data may take.
SHARE_OF_FREE = 0.9
#: The files of a cache folder whose hashes are in its meta.json.
HASHED = ("images.npy", "maps.npy", "rows.parquet")
#: Cache folders that this process found whole, with the state of their files then.
_CHECKED: dict[Path, tuple[tuple[tuple[str, int, int, int], ...], str]] = {}


def seal(folder: Path, meta: dict[str, str]) -> None:
    """Write meta.json of a cache folder: what is given, and the hashes of the other files."""
    meta = meta | {name: foreign.sha256(folder / name) for name in HASHED}
    (folder / "meta.json").write_text(json.dumps(meta | {"sum": sum_of_meta(meta)}), encoding="utf-8")


def whole_meta(path: Path) -> dict[str, str]:
    """Read meta.json of a cache folder whose files are as they were written: a flipped bit would be trained on.

    Raises:
        OSError, ValueError: A file is missing or damaged.
    """
    meta = foreign.read_json(path / "meta.json")
    if not isinstance(meta, dict) or meta.get("sum") != sum_of_meta(meta):
        raise ValueError("meta.json is damaged")
    states = tuple((name, *state_of_file(path / name)) for name in HASHED)
    if _CHECKED.get(path) != (states, meta["sum"]):
        with ThreadPoolExecutor(len(HASHED)) as pool:
            found = dict(zip(HASHED, pool.map(lambda name: foreign.sha256(path / name), HASHED), strict=True))
        damaged = [name for name in HASHED if found[name] != meta[name]]
        if damaged:
            raise ValueError(f"{' and '.join(damaged)} changed after writing")
        _CHECKED[path] = (states, meta["sum"])
    return meta


def sum_of_meta(meta: dict[str, str]) -> str:
    """The hash of meta.json's other entries."""
    return bytes_digest(json.dumps({name: meta[name] for name in sorted(meta) if name != "sum"}).encode())


def state_of_file(file: Path) -> tuple[int, int, int]:
    """What changes when a file is written to or replaced."""
    found = file.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino


def store_arrays(
    target: Path,
    pairs: Iterator[ImageAndMap],
    shape: tuple[int, int, int],
    finish: Callable[[str], tuple[list[tuple[Any, ...]], dict[str, str]]],
    progress: Progress | None,
) -> None:
    """Write a cache folder.

    Args:
        pairs: For each row its image, uint8 (C, S, S), and its map, uint8 (S, S), or None.
        shape: N, C and S.
        finish: Takes the hash of the arrays after the last row; returns the table and what meta.json holds.
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
            table, meta = finish(bytes_digest((image_array.sha.hexdigest() + map_array.sha.hexdigest()).encode()))
            pd.DataFrame(table, columns=list(COLUMNS)).to_parquet(aside / "rows.parquet", index=False)
            seal(aside, meta)
    except FileExistsError:
        pass  # another process has made the same arrays meanwhile


def require_room(target: Path, total: int, channels: int, size: int) -> None:
    """Refuse what would fill the disk before it is begun: the size may be what a stranger's run asks for."""
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
