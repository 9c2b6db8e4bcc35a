"""Fingerprints: one short text that says which data a number was measured on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np


class RowIdentity(NamedTuple):
    """What of a row counts for the fingerprint.

    Attributes:
        sample_id: Unique in the data set.
        category: What makes a positive positive; "" for negatives.
        image: :func:`bytes_digest` of the image file's bytes.
        saliency: :func:`bytes_digest` of the map file's bytes; "" without a map.
    """

    sample_id: str
    split: str
    label: int
    source: str
    category: str
    subject: str
    image: str
    saliency: str


def bytes_digest(data: bytes | None) -> str:
    """Return the sha256 of some bytes as 64 hexadecimal digits, or "" for None."""
    return "" if data is None else hashlib.sha256(data).hexdigest()


def data_fingerprint(rows: Iterable[RowIdentity]) -> str:
    """The fingerprint of a prepared data set, 64 hexadecimal digits, whatever the order of its rows."""
    total = hashlib.sha256()
    for row in sorted(rows):
        # JSON keeps fields apart whatever they contain, and a line ends where no field can.
        total.update(json.dumps([*row[:2], int(row.label), *row[3:]]).encode() + b"\n")
    return total.hexdigest()


def standin_fingerprint(task: str, variant: str, version: int, seed: int) -> str:
    """Return the fingerprint of a stand-in: what it was drawn from, not its pixels.

    Drawn pixels may differ in the last bit between numpy versions; :func:`pixel_hash` notices that.
    """
    return bytes_digest(json.dumps(["standin", task, variant, int(version), int(seed)]).encode())


def pixel_hash(*arrays: np.ndarray) -> str:
    """Return the sha256 over dtype, shape and values of arrays; a stand-in's are its images and its maps."""
    import numpy as np

    total = hashlib.sha256()
    for array in arrays:
        total.update(json.dumps([array.dtype.str, list(array.shape)]).encode())
        total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()
