"""Check the pictures and maps of a gallery that came from outside."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from divsal_bench.errors import UserError
from divsal_bench.leaderboard.claims.gallery import ClassCams, Gallery

#: Largest picture, bytes.
MOST_PICTURE = 60_000
#: Side of the pictures and of the CAM grid, at most.
PICTURE_SIDE, GRID_SIDE = 96, 64
#: What Pillow raises on a damaged picture, whichever chunk is broken.
BROKEN_PICTURE = (
    SyntaxError, OSError, ValueError, LookupError, EOFError, zlib.error, struct.error, Image.DecompressionBombError,
)  # fmt: skip


def check_gallery(gallery: Gallery, test: Mapping[str, tuple[int, str]], path: Path) -> None:
    """Check that pictures are small PNGs of test rows, with maps in [0, 1].

    Args:
        test: Key to label and condition of every test row.
    """
    if gallery.maps:
        raise UserError(f"{path} has maps of methods; they belong into the methods' own files")
    if bool(gallery.pictures) == bool(gallery.absent):
        raise UserError(f"{path} needs either pictures or the reason why there are none, in `absent`")
    for picture in gallery.pictures:
        where = f"{path}: picture {picture.key[:20]!r}"
        try:
            content = base64.b64decode(picture.image, validate=True)
        except ValueError:
            raise UserError(f"{where} is not base64") from None
        width, height = (int.from_bytes(content[i : i + 4], "big") for i in (16, 20))
        if content[:8] != b"\x89PNG\r\n\x1a\n" or not 0 < width <= PICTURE_SIDE or not 0 < height <= PICTURE_SIDE:
            raise UserError(f"{where} is not a PNG of at most {PICTURE_SIDE} px")
        if len(content) > MOST_PICTURE:
            raise UserError(f"{where} has {len(content):,} bytes, {MOST_PICTURE:,} are allowed")
        if picture.key not in test:
            raise UserError(f"{where} is no test row of the data set")
        if (picture.label, picture.condition) != test[picture.key]:
            raise UserError(f"{where} has another label or condition than its row in key.parquet; submit it again")
        check_png(content, where)
        if picture.human is not None:
            values = checked_map(picture.human, where)
            if values.min() < 0 or values.max() > 1:
                raise UserError(f"{where} has a human map outside [0, 1]")


def check_png(content: bytes, where: str) -> None:
    """Decode a picture to its end: a broken later chunk does not show in its header."""
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            if max(image.size) > PICTURE_SIDE:  # a second header overrides the first
                raise UserError(f"{where} is not a PNG of at most {PICTURE_SIDE} px")
            image.load()
    except BROKEN_PICTURE:
        raise UserError(f"{where} is a damaged PNG; submit it again") from None


def checked_map(rows: list[list[float]], where: str) -> np.ndarray:
    """A map as an array, (h, w) of at most :data:`GRID_SIDE`; finite, as its schema demands."""
    widths = {len(row) for row in rows}
    if len(widths) != 1 or not 0 < len(rows) <= GRID_SIDE or not 0 < min(widths) <= GRID_SIDE:
        raise UserError(f"{where} has a map that is no grid of at most {GRID_SIDE}×{GRID_SIDE}")
    return np.array(rows)


def check_cams(key: str, cams: ClassCams, pictures: set[str], path: Path) -> None:
    """Check that maps are two grids of one of the gallery's pictures."""
    if key not in pictures:
        raise UserError(f"{path} has maps of {key[:20]!r}, which is no picture of the gallery")
    if len(cams) != 2 or len({checked_map(one, str(path)).shape for one in cams}) != 1:
        raise UserError(f"{path}: the maps of {key} are not two grids of one size")
