"""Draw a cache folder of any size, as decoding makes them, for measurements of memory and time.

``python tests/benchmarks/draw_cache.py FOLDER --rows 50000 --size 224`` writes 8.3 GB of noise, which ``open_cached``
opens; nothing asks for it again, so delete it afterwards. Other scripts call :func:`draw_cache`. Rows are shifted parts
of one block of random bytes: all different, and drawn as fast as the disk takes them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from divsal_bench.data.array_files import ImageAndMap, store_arrays
from divsal_bench.data.arrays import open_cached
from divsal_bench.data.fingerprint import bytes_digest
from divsal_bench.data.room import Shape, amount


def draw_cache(
    folder: Path, rows: int, size: int, channels: int = 3, others: int = 500, mapped: float = 0.25, seed: int = 0
) -> Path:
    """Draw a cache folder; the first bytes of each image are its label, so that there is something to learn.

    Args:
        rows: Training rows.
        others: Rows of the validation split, and of the test split, which has two sources.
        mapped: Share of rows that have a map.

    Returns:
        The folder.
    """
    draws = np.random.default_rng(seed)
    splits = np.repeat(["train", "validation", "test"], [rows, others, others])
    labels = np.arange(len(splits)) % 2
    has_map = draws.random(len(splits)) < mapped
    unseen = (splits == "test") & (np.arange(len(splits)) % 4 > 1)
    table: list[tuple[Any, ...]] = [
        (f"row-{number}", str(split), int(label), "b" if far else "a", "positive" if label else "", f"person-{number}",
         "mask" if kept else "none", bool(kept))
        for number, (split, label, far, kept) in enumerate(zip(splits, labels, unseen, has_map, strict=True))
    ]  # fmt: skip
    length = channels * size**2
    block = draws.integers(0, 256, length + 2**16, dtype=np.uint8)
    starts = draws.integers(0, 2**16, len(splits))

    def pairs() -> Iterator[ImageAndMap]:
        for start, label, kept in zip(starts.tolist(), labels.tolist(), has_map.tolist(), strict=True):
            image = block[start : start + length].copy()
            image[: length // 8] //= 4
            image[: length // 8] += 150 * label
            human = None
            if kept:
                human = np.zeros((size, size), np.uint8)
                human[: size // 8] = 255
            yield image.reshape(channels, size, size), human

    fingerprint = bytes_digest(repr((rows, size, channels, others, mapped, seed)).encode())
    shape = Shape(len(splits), int(has_map.sum()), channels, size)
    store_arrays(
        folder, pairs(), shape, lambda pixels: (table, {"fingerprint": fingerprint, "pixel_hash": pixels}), None
    )
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where it goes; must not be there")
    parser.add_argument("--rows", type=int, default=50_000, help="training rows")
    parser.add_argument("--size", type=int, default=224, help="pixels of a side")
    parser.add_argument("--channels", type=int, default=3, choices=(1, 3))
    parser.add_argument("--others", type=int, default=500, help="validation rows, and test rows")
    parser.add_argument("--mapped", type=float, default=0.25, help="share of rows with a map")
    arguments = parser.parse_args()
    if arguments.folder.exists():
        sys.exit(f"{arguments.folder} is there already; give another")
    started = time.perf_counter()
    draw_cache(
        arguments.folder, arguments.rows, arguments.size, arguments.channels, arguments.others, arguments.mapped
    )  # fmt: skip
    found = open_cached(arguments.folder)
    took = time.perf_counter() - started
    print(f"{found.path}: {found.shape}, {amount(found.shape.bytes)} in {took:.0f} s; delete it when you are done")
    return 0


if __name__ == "__main__":
    sys.exit(main())
