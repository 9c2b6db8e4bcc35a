"""The colours of maps: one palette for every picture and page, and tiny PNGs of it for pages to lay over images."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

Floats = npt.NDArray[np.float64]
Anchor = tuple[float, int, int, int, int]
#: Position on the scale, red, green, blue, opacity. Nothing stays transparent, so that the image shows.
#: Blue and orange-red differ in brightness too: those who see no red still tell them apart.
SEQUENTIAL: Final[tuple[Anchor, ...]] = (
    (0.0, 255, 214, 102, 0), (0.35, 255, 196, 61, 120), (0.7, 240, 110, 35, 185), (1.0, 178, 24, 72, 220),
)  # fmt: skip
DIVERGING: Final[tuple[Anchor, ...]] = (
    (0.0, 24, 78, 170, 225), (0.25, 60, 140, 220, 165), (0.5, 200, 200, 200, 0), (0.75, 240, 130, 40, 165),
    (1.0, 178, 24, 72, 225),
)  # fmt: skip
#: Steps of a scale: more than eyes tell apart, few enough for a small palette, and one of them the middle.
LEVELS = 65


def coloured(shares: np.ndarray, scale: Sequence[Anchor]) -> npt.NDArray[np.uint8]:
    """Positions on a scale, (…) in [0, 1], to uint8 (…, 4): red, green, blue, opacity."""
    anchors = np.asarray(scale, np.float64)
    at = np.clip(shares, 0, 1)
    return np.stack([np.interp(at, anchors[:, 0], anchors[:, i]) for i in range(1, 5)], -1).round().astype(np.uint8)


def palette(scale: Sequence[Anchor]) -> npt.NDArray[np.uint8]:
    """The (LEVELS, 4) colours of a scale, red, green, blue, opacity."""
    return coloured(np.linspace(0.0, 1.0, LEVELS), scale)


def as_png(shares: Floats, scale: Sequence[Anchor]) -> str:
    """A data URL of a PNG with one pixel a cell.

    Args:
        shares: (h, w) positions on the scale, in [0, 1].
        scale: :data:`SEQUENTIAL` or :data:`DIVERGING`.
    """
    colours = palette(scale)
    image = Image.fromarray((np.clip(shares, 0.0, 1.0) * (LEVELS - 1)).round().astype(np.uint8), "L")
    image.putpalette(colours[:, :3].tobytes())
    file = io.BytesIO()
    image.save(file, "PNG", transparency=colours[:, 3].tobytes(), optimize=False)
    return data_url(file.getvalue(), "png")


def sequential(grid: Floats, high: float) -> str:
    """Overlay of (h, w) values from 0 (transparent, like everything below) to ``high`` > 0."""
    return as_png(np.asarray(grid) / high, SEQUENTIAL)


def diverging(grid: Floats, extent: float) -> str:
    """Overlay of (h, w) values from −``extent`` over 0 (transparent) to ``extent`` > 0."""
    return as_png(0.5 + np.asarray(grid) / (2 * extent), DIVERGING)


def data_url(content: bytes, kind: str) -> str:
    """Image bytes as a ``data:image/<kind>`` address."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
