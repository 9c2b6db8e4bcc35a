"""One picture an image: what the network saw, and where its features speak for either class."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from divsal_bench.files import whole
from divsal_bench.pictures import figure
from divsal_bench.pictures.figure import FAINT, INK, PAPER
from divsal_bench.pictures.text import fitted, font, line_height, wrapped

if TYPE_CHECKING:
    from PIL.Image import Image

    from divsal_bench.pictures.text import Font
    from divsal_bench.prediction.prediction import Prediction

#: Smallest side of a panel, and text and space, all in pixels.
PANEL, TEXT, SMALL, SPACE, BAR = 224, 15, 13, 12, 16


def save_overlay(picture: Image, path: Path) -> None:
    """Write a PNG; what is there whole stays until the new one is."""
    with whole.new_file(path) as aside:
        picture.save(aside, "PNG", compress_level=4)  # half the time of 6, 7 % larger


def overlay_picture(prediction: Prediction, class_names: tuple[str, str], threshold: float | None) -> Image:
    """The image beside itself under its difference map, with a caption.

    Blue speaks for class 0, red for class 1; how strongly is how opaque it is, up to the map's own largest magnitude.

    Args:
        prediction: With pixels and difference map.
        threshold: On the logit margin; None: nothing is called class 1.

    Returns:
        RGB.
    """
    from PIL import Image, ImageDraw

    assert prediction.pixels is not None
    assert prediction.difference is not None
    panel = upscaled(prediction.pixels)
    side = panel.width
    extent = figure.extent_of(prediction.difference)
    width = 2 * side + 3 * SPACE
    room = width - 2 * SPACE
    text, small = font(TEXT), font(SMALL)
    lines = [
        (line, text, INK)
        for content in (
            fitted(prediction.image, room, text, keep="end"),
            decision_line(prediction, class_names, threshold),
        )
        for line in wrapped(content, room, text)
    ]
    about = f"difference map, {class_names[1]} minus {class_names[0]}, in logits; its mean plus the bias is the score"
    notes = [(line, small, FAINT) for line in wrapped(about, room, small)]
    ends = (f"-{extent:.3g} {class_names[0]}", f"{class_names[1]} +{extent:.3g}")
    legend = len(scale_labels(ends, small, room)) * line_height(small) + BAR + SPACE // 2
    caption = sum(line_height(style) for _, style, _ in lines + notes) + legend + SPACE
    canvas = Image.new("RGB", (width, side + caption + 3 * SPACE), PAPER)
    canvas.paste(panel, (SPACE, SPACE))
    shown = figure.Panel("", prediction.difference, extent, signed=True)
    canvas.paste(figure.with_map(panel, shown), (side + 2 * SPACE, SPACE))
    pen = ImageDraw.Draw(canvas)
    y = side + 2 * SPACE
    for line, style, colour in lines:
        pen.text((SPACE, y), line, fill=colour, font=style)
        y += line_height(style)
    y += SPACE // 2
    canvas.paste(figure.colour_bar(room, BAR, signed=True), (SPACE, y))
    pen.rectangle((SPACE, y, SPACE + room - 1, y + BAR - 1), outline=FAINT)
    y += BAR + 2
    for row in scale_labels(ends, small, room):
        for x, label in row:
            pen.text((SPACE + x, y), label, fill=INK, font=small)
        y += line_height(small)
    y += SPACE // 2 - 2
    for line, style, colour in notes:
        pen.text((SPACE, y), line, fill=colour, font=style)
        y += line_height(style)
    return canvas


def decision_line(prediction: Prediction, class_names: tuple[str, str], threshold: float | None) -> str:
    """Decision and numbers in one line."""
    limit = "no threshold" if threshold is None else f"threshold {threshold:+.3f}"
    return (
        f"{prediction.decision}: score {prediction.score:+.3f} ({limit}), "
        f"probability of {class_names[1]} {prediction.probability:.3f}"
    )


def upscaled(pixels: np.ndarray) -> Image:
    """Pixels (1 or 3, S, S) uint8 as an RGB image, enlarged by a whole number to at least :data:`PANEL` px."""
    from PIL.Image import Resampling, fromarray

    image = fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))).convert("RGB")
    factor = math.ceil(PANEL / image.width)
    # Every pixel stays a visible square: this is all that the network had to decide from.
    return image.resize((image.width * factor, image.height * factor), Resampling.NEAREST) if factor > 1 else image


def scale_labels(ends: tuple[str, str], style: Font, room: int) -> list[list[tuple[int, str]]]:
    """What stands below the scale, as rows of (x, text): in one row if the ends leave room for the 0 between them."""
    left, right = fitted(ends[0], room, style), fitted(ends[1], room, style, keep="end")
    zero = round((room - style.getlength("0")) / 2)
    at_end = round(room - style.getlength(right))
    if style.getlength(left) + SPACE < zero and at_end > zero + style.getlength("0") + SPACE:
        return [[(0, left), (zero, "0"), (at_end, right)]]
    return [[(0, left)], [(at_end, right)]]
