"""Text in pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass
if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont, ImageFont

    ImageFontLike = FreeTypeFont | ImageFont


def wrapped(text: str, width: int) -> list[str]:
    """Lines no wider than a width in pixels; a word that is, is cut."""
    measure, lines = font(), [""]
    for word in plain(text).split():
        longer = f"{lines[-1]} {word}".lstrip()
        if lines[-1] and measure.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return [fitted(line, width) for line in lines]


def font(size: int = 14) -> ImageFontLike:
    """Pillow's own font: the same on every machine."""
    from PIL import ImageFont

    return ImageFont.load_default(size)


def plain(text: str) -> str:
    """Text without what Pillow's font has no sign for."""
    return text.replace("−", "-").replace("½", "1/2")


def fitted(text: str, width: int) -> str:
    """A line cut to a width in pixels, with an ellipsis where something is missing."""
    text = plain(text)
    measure = font()
    if measure.getlength(text) <= width:
        return text
    while text and measure.getlength(text + "...") > width:
        text = text[:-1]
    return text.rstrip() + "..."
