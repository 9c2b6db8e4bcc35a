"""PNG files with the same bytes everywhere: what a fingerprint hashes may not depend on a compressor's version."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

#: Bytes that one stored block of a deflate stream can hold.
_BLOCK = 65535
#: An EXIF block that says "stored upright".
_UPRIGHT = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x01\0\0\0\0\0\0"


def encode(pixels: np.ndarray, upright: bool = False) -> bytes:
    """Write a PNG, uncompressed: zlib and zlib-ng compress the same pixels to other bytes.

    Args:
        pixels: uint8, (height, width) or (height, width, 3).
        upright: Whether the file states that it is stored upright (EXIF orientation 1).
    """
    import numpy as np

    height, width = pixels.shape[:2]
    lines = pixels.reshape(height, -1)
    # Each line begins with its filter, 0 for none.
    raw = np.concatenate([np.zeros((height, 1), np.uint8), lines], axis=1).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 8, 0 if pixels.ndim == 2 else 2, 0, 0, 0)
    parts = [_chunk(b"IHDR", header), _chunk(b"eXIf", _UPRIGHT) if upright else b""]
    return b"".join([b"\x89PNG\r\n\x1a\n", *parts, _chunk(b"IDAT", _stored(raw)), _chunk(b"IEND", b"")])


def _stored(raw: bytes) -> bytes:
    """A zlib stream of stored blocks."""
    parts = [b"\x78\x01"]
    for start in range(0, len(raw), _BLOCK):
        block = raw[start : start + _BLOCK]
        last = start + _BLOCK >= len(raw)
        parts += [struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF), block]
    return b"".join([*parts, struct.pack(">I", zlib.adler32(raw))])


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
