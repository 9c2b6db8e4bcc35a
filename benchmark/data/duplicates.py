"""The same picture twice: by its pixels, whatever the file, and nearly, by a small print of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from divsal_bench.data.damage import refused_if_damaged
from divsal_bench.data.images import eight_bit_image, see_through
from divsal_bench.errors import plural

if TYPE_CHECKING:
    from divsal_bench.data.decoding import Picture

#: Side of the grid whose neighbours are compared; a print has twice its square in bits.
SIDE = 16
#: Bits in which two prints may differ. Among 1.7 million pairs of 1,867 chest films the nearest different ones differ
#: in 52; the same film at a third of the size and as a JPEG of quality 50 in 20 (median) to 46.
NEAR = 40
#: Comparisons of prints that are done at all: about two minutes.
MOST_PAIRS = 10**10


class Sighting(NamedTuple):
    """Where a picture was seen first."""

    name: str
    split: str
    label: int


class SeenPictures:
    """Pictures by their pixels."""

    def __init__(self) -> None:
        self._first: dict[bytes, Sighting] = {}

    def add(self, pixels: bytes, here: Sighting) -> Sighting | None:
        """Take one picture; where it was seen before, None where it was not."""
        first = self._first.setdefault(pixels, here)
        return None if first is here else first


def pixel_digest(picture: Picture) -> bytes:
    """A hash of what a picture shows: the same for grey and for RGB of equal channels, and for every file format."""
    with refused_if_damaged():
        if picture.deep:
            values = np.asarray(picture.image).astype(np.uint16)
        elif picture.image.mode == "L" and not see_through(picture):
            values = np.asarray(picture.image)
        else:
            colour = picture.image.mode not in ("1", "L", "LA", "La")
            values = np.asarray(eight_bit_image(picture, 3 if colour else 1))
            if colour and all((values[..., 0] == values[..., channel]).all() for channel in (1, 2)):
                values = values[..., 0]
        total = hashlib.sha256(f"{values.shape} {values.dtype} {picture.deep and picture.negative}".encode())
        total.update(np.ascontiguousarray(values).data)
        return total.digest()


def print_of(picture: Picture) -> np.ndarray:
    """A print of a picture: which cells of a small grid are brighter than their left and their upper neighbours.

    It changes little when a picture is saved with loss, made smaller or brighter ("dHash", Krawetz 2013).

    Returns:
        uint64, (8,).
    """
    from PIL.Image import Resampling

    image = eight_bit_image(picture, 1)
    cells = np.asarray(image.resize((SIDE + 1, SIDE + 1), Resampling.BOX, reducing_gap=2.0)).astype(np.int16)
    bits = [cells[:SIDE, 1:] > cells[:SIDE, :-1], cells[1:, :SIDE] > cells[:-1, :SIDE]]
    return np.packbits(np.stack(bits)).view(np.uint64)


def nearest(prints: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each print the nearest of others.

    Args:
        prints: uint64, (N, 8), from :func:`print_of`.
        others: uint64, (M, 8), M > 0.

    Returns:
        Its index, int64, (N,), and in how many bits it differs, int64, (N,).
    """
    index, bits = np.zeros(len(prints), np.int64), np.zeros(len(prints), np.int64)
    step = max(1, 2**22 // len(others))
    for start in range(0, len(prints), step):
        some = prints[start : start + step]
        apart = np.zeros((len(some), len(others)), np.uint16)
        for word in range(prints.shape[1]):
            apart += np.bitwise_count(some[:, word, None] ^ others[None, :, word])
        index[start : start + step] = apart.argmin(1)
        bits[start : start + step] = apart.min(1)
    return index, bits


def near_copies(looks: Sequence[tuple[Sighting, np.ndarray]], splits: Sequence[str]) -> list[str]:
    """Images that look like one of another split, though their pixels differ: in one line, or none.

    Args:
        looks: Where each image is, and its :func:`print_of`.
    """
    by_split = {split: [one for one in looks if one[0].split == split] for split in splits}
    pairs: list[tuple[int, str, str]] = []
    for number, split in enumerate(splits):
        here = by_split[split]
        before = [one for other in splits[:number] for one in by_split[other]]
        if not here or not before:
            continue
        if len(here) * len(before) > MOST_PAIRS:
            return ["there are too many images to look for nearly equal ones in two splits"]
        index, bits = nearest(np.stack([look for _, look in here]), np.stack([look for _, look in before]))
        for row in np.flatnonzero(bits <= NEAR):
            one, other = here[row][0], before[index[row]][0]
            pairs.append((int(bits[row]), f"{one.name!r} in {one.split}", f"{other.name!r} in {other.split}"))
    if not pairs:
        return []
    _, first, second = min(pairs)
    return [
        f"{plural(len(pairs), 'image')} look{'s' * (len(pairs) == 1)} like one of another split (saved again with "
        f"loss, made smaller or brighter?): e.g. {first} and {second}"
    ]
