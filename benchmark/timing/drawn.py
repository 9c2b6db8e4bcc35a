"""Data for timing: noise with a disc that is brighter in positives, drawn at the size asked for into its own cache."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from divsal_bench.data.array_files import ImageAndMap, store_arrays
from divsal_bench.data.arrays import open_cached
from divsal_bench.data.room import Shape

if TYPE_CHECKING:
    from divsal_bench.data.arrays import DataArrays

#: Training batches in an epoch.
BATCHES = 16
#: Rows of the validation split, and of each of the two sources of the test split.
VALIDATION, TEST = 128, 32
#: Noise, grey levels. A disc is brighter than it by a normal number: of this mean in positives (0 in negatives), and of
#: this deviation, so that no network can tell all images apart and AUROC shows what arithmetic does.
NOISE, BRIGHTER, DEVIATION = (48, 176), 12, 8


def draw_data(folder: Path, size: int, channels: int, batch: int, seed: int = 0, mapped: int = 100) -> DataArrays:
    """Draw all three splits; a row's human map is where its disc is or would be.

    Args:
        folder: Where the cache goes; whoever made it removes it.
        size: Side of the square images, pixels.
        channels: Of the images, 1 or 3.
        batch: Rows of a training batch; the training split has :data:`BATCHES` of them.
        mapped: Per cent of the rows that have a map, in both classes alike.

    Raises:
        UserError: There is no room for it.
    """
    splits = [("train", "drawn", BATCHES * batch), ("validation", "drawn", VALIDATION),
              ("test", "drawn", TEST), ("test", "unseen", TEST)]  # fmt: skip
    table: list[tuple[Any, ...]] = []
    for split, source, count in splits:
        for number in range(count):
            name = f"{split}-{source}-{number}"
            label, pair = number % 2, number // 2
            has_map = (pair + 1) * mapped // 100 > pair * mapped // 100
            kind = "mask" if has_map else "none"
            table.append((name, split, label, source, "bright" if label else "", name, kind, has_map))
    fingerprint = f"speed-{size}-{channels}-{batch}-{seed}-{mapped}"

    def pairs() -> Iterator[ImageAndMap]:
        random = np.random.default_rng(seed)
        across = np.arange(size)
        for row in table:
            down, right = random.uniform(0.3, 0.7, 2) * size
            disc = np.hypot(across[:, None] - down, across[None] - right) < max(1.0, 0.15 * size)
            image = random.integers(*NOISE, (channels, size, size), np.uint8)
            brighter = random.normal(BRIGHTER * row[2], DEVIATION)
            image[:, disc] = np.clip(image[:, disc] + brighter, 0, 255)
            yield image, (disc * 255).astype(np.uint8) if row[-1] else None

    target = folder / "drawn"
    store_arrays(
        target, pairs(), Shape(len(table), sum(row[-1] for row in table), channels, size),
        lambda digest: (table, {"fingerprint": fingerprint, "pixel_hash": digest}), None,
    )  # fmt: skip
    return open_cached(target)
