"""Figures of maps on an image: panels side by side, each with its stated colour scale."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from divsal_bench.pictures.colours import DIVERGING, SEQUENTIAL, coloured
from divsal_bench.pictures.text import fitted, font, wrapped

if TYPE_CHECKING:
    from PIL.Image import Image

#: Side of a panel, and what lies around it, pixels.
SIDE, GAP, TITLE, BAR, LINE = 224, 12, 22, 14, 18
#: Colours of text, of what lies around a picture, of small text and of an empty panel.
INK, PAPER, FAINT, BLANK = (24, 24, 28), (255, 255, 255), (110, 110, 118), (240, 240, 240)
#: What a colour scale lies on.
GROUND = (236, 236, 236, 255)


@dataclass(frozen=True, eq=False)
class Panel:
    """One map on the image, or the image alone.

    Attributes:
        title: Above it.
        values: (h, w); None shows the image alone.
        extent: The scale's end, > 0: from 0 for maps without sign, from −extent for signed ones. Cells without a
            value count as 0.
        signed: Whether negative values mean something; otherwise they are shown as nothing.
        unit: Of the numbers under the scale.
        note: Instead of a scale, e.g. why there is no map.
        text: Instead of a picture, e.g. why there is none.
        outlines: Cells to draw a line around, each (h, w) bool.
        numbered: Whether these carry numbers, from 1.
    """

    title: str
    values: np.ndarray | None = None
    extent: float = 1.0
    signed: bool = False
    unit: str = ""
    note: str = ""
    text: str = ""
    outlines: Sequence[np.ndarray] = ()
    numbered: bool = True


def figure(
    image: np.ndarray, panels: Sequence[Panel], heading: Sequence[str] = (), footer: Sequence[str] = ()
) -> bytes:
    """Draw panels in one row, as :func:`sheet`: a PNG as small as can be, which takes half a second."""
    file = io.BytesIO()
    sheet(image, panels, heading, footer).save(file, "PNG", optimize=True)
    return file.getvalue()


def sheet(
    image: np.ndarray,
    panels: Sequence[Panel],
    heading: Sequence[str] = (),
    footer: Sequence[str] = (),
    columns: int | None = None,
) -> Image:
    """Draw panels.

    Args:
        image: uint8, (H, W) or (H, W, 3); shown in every panel, square.
        panels: From left to right, row by row.
        heading: Lines above.
        footer: Lines below.
        columns: Panels in a row; None puts all in one.

    Returns:
        RGB.
    """
    from PIL import Image, ImageDraw

    base = square(image)
    lines = (len(heading), len(footer))
    across = min(columns or len(panels), len(panels))
    width = GAP + across * (SIDE + GAP)
    first, tall = GAP + lines[0] * LINE, TITLE + SIDE + 2 * LINE + BAR
    height = first + math.ceil(len(panels) / across) * tall + lines[1] * LINE + GAP
    made = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(made)
    for number, text in enumerate(heading):
        draw.text((GAP, GAP // 2 + number * LINE), fitted(text, width - 2 * GAP), INK, font())
    for number, panel in enumerate(panels):
        row, column = divmod(number, across)
        left, top = GAP + column * (SIDE + GAP), first + row * tall
        draw.text((left, top), fitted(panel.title, SIDE), INK, font())
        made.paste(worded(panel.text) if panel.text else with_map(base, panel), (left, top + TITLE))
        draw_scale(made, panel, left, top + TITLE + SIDE + 4)
    for number, text in enumerate(footer):
        draw.text((GAP, height - GAP // 2 - (lines[1] - number) * LINE), fitted(text, width - 2 * GAP), FAINT, font())
    return made


def square(image: np.ndarray) -> Image:
    """The image in a panel's size, RGB; small ones are enlarged without inventing edges."""
    from PIL.Image import Resampling, fromarray

    return fromarray(image).convert("RGB").resize((SIDE, SIDE), Resampling.BICUBIC)


def with_map(base: Image, panel: Panel) -> Image:
    """The image under a panel's map."""
    from PIL import Image

    if panel.values is None:
        return base
    shares = np.nan_to_num(np.asarray(panel.values, np.float64)) / panel.extent
    if panel.signed:
        shares = (shares + 1) / 2
    # The numbers are enlarged, not the colours: half way between blue and red lies nothing, not purple.
    smooth = Image.fromarray(np.clip(shares, 0, 1).astype(np.float32)).resize(base.size, Image.Resampling.BICUBIC)
    colours = coloured(np.asarray(smooth), DIVERGING if panel.signed else SEQUENTIAL)
    grey = base.convert("L").convert("RGBA")
    made = Image.alpha_composite(grey, Image.fromarray(colours)).convert("RGB")
    draw_outlines(made, panel)
    return made


def draw_outlines(picture: Image, panel: Panel) -> None:
    """Draw a line around each region of a panel's map, and its number at its strongest cell."""
    from PIL import ImageDraw

    draw = ImageDraw.Draw(picture)
    for colour, wide in ((PAPER, 3), (INK, 1)):  # dark on light: seen on every ground
        for cells in panel.outlines:
            for line in borders(cells, picture.size):
                draw.line(line, colour, wide)
    if panel.values is None or not panel.numbered:
        return
    for rank, cells in enumerate(panel.outlines, start=1):
        y, x = np.unravel_index(np.where(cells, np.abs(panel.values), -1.0).argmax(), cells.shape)
        at = ((int(x) + 0.5) * picture.width / cells.shape[1], (int(y) + 0.5) * picture.height / cells.shape[0])
        draw.text(at, str(rank), INK, font(15), anchor="mm", stroke_width=2, stroke_fill=PAPER)


def borders(cells: np.ndarray, size: tuple[int, int]) -> Iterator[tuple[float, float, float, float]]:
    """Sides of cells beyond which the region ends, as lines (x, y, x, y) in a picture of a size."""
    (rows, columns), (width, height) = cells.shape, (size[0] - 1, size[1] - 1)
    padded = np.pad(cells, 1)
    for y, x in np.argwhere(cells).tolist():
        left, right = x * width / columns, (x + 1) * width / columns
        top, bottom = y * height / rows, (y + 1) * height / rows
        for dy, dx, line in (
            (0, 1, (left, top, right, top)), (2, 1, (left, bottom, right, bottom)),
            (1, 0, (left, top, left, bottom)), (1, 2, (right, top, right, bottom)),
        ):  # fmt: skip
            if not padded[y + dy, x + dx]:
                yield line


def worded(text: str) -> Image:
    """A panel of words where there is no picture."""
    from PIL import Image, ImageDraw

    panel = Image.new("RGB", (SIDE, SIDE), BLANK)
    draw = ImageDraw.Draw(panel)
    for number, line in enumerate(wrapped(text, SIDE - 2 * GAP)[: (SIDE - GAP) // LINE]):
        draw.text((GAP, GAP + number * LINE), line, FAINT, font())
    return panel


def draw_scale(sheet: Image, panel: Panel, left: int, top: int) -> None:
    """A panel's colour scale with its numbers, or its note."""
    from PIL import ImageDraw

    draw = ImageDraw.Draw(sheet)
    if panel.note or panel.text or panel.values is None:
        draw.text((left, top), fitted(panel.note, SIDE), FAINT, font())
        return
    sheet.paste(colour_bar(SIDE, BAR, panel.signed), (left, top))
    low = -panel.extent if panel.signed else 0.0
    ends = (f"{low:.3g}", "0" if panel.signed else "", f"{panel.extent:.3g}{panel.unit}")
    for text, anchor, at in zip(ends, ("la", "ma", "ra"), (left, left + SIDE // 2, left + SIDE), strict=True):
        draw.text((at, top + BAR + 2), text, FAINT, font(12), anchor=anchor)


def colour_bar(width: int, height: int, signed: bool) -> Image:
    """A colour scale from its lowest to its highest value, on light grey: what stays transparent shows."""
    from PIL import Image

    ramp = coloured(np.linspace(0, 1, width)[None].repeat(height, 0), DIVERGING if signed else SEQUENTIAL)
    return Image.alpha_composite(Image.new("RGBA", (width, height), GROUND), Image.fromarray(ramp)).convert("RGB")


def extent_of(*maps: np.ndarray) -> float:
    """The scale's end for maps that are shown beside each other: their largest magnitude; 1 where all are zero."""
    largest = max((float(np.abs(np.nan_to_num(one)).max(initial=0)) for one in maps), default=0.0)
    return largest or 1.0
