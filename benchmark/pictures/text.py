"""Text in pictures: one font, lines of a width."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from divsal_bench.errors import printable

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont, ImageFont

    Font = FreeTypeFont | ImageFont


def font(size: int = 14) -> Font:
    """Pillow's own font: the same on every machine."""
    from PIL import ImageFont

    return ImageFont.load_default(size)


def line_height(style: Font) -> int:
    """Pixels from line to line, with room for accents and tails."""
    return math.ceil(style.getbbox("Ågjp|")[3] * 1.15)


def drawable(text: str) -> str:
    """Text as the font can show it: without control characters, and without two signs that it does not have."""
    return printable(text).replace("−", "-").replace("½", "1/2")


def wrapped(text: str, width: int, style: Font | None = None) -> list[str]:
    """Lines no wider than a width in pixels; a word that is, is cut."""
    measure, lines = style or font(), [""]
    for word in drawable(" ".join(text.split())).split():
        longer = f"{lines[-1]} {word}".lstrip()
        if lines[-1] and measure.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return [fitted(line, width, measure) for line in lines]


def fitted(text: str, width: int, style: Font | None = None, keep: Literal["start", "end"] = "start") -> str:
    """A line cut to a width in pixels, with an ellipsis where something is missing."""
    text = drawable(text)
    measure = style or font()
    if measure.getlength(text) <= width:
        return text
    while text and measure.getlength(text + "...") > width:
        text = text[:-1] if keep == "start" else text[1:]
    return text.rstrip() + "..." if keep == "start" else "..." + text.lstrip()
