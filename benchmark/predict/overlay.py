"""One picture an image: what the network saw, and where its features speak for either class."""

from __future__ import annotations

import math
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from divsal_bench.errors import UserError, printable
from divsal_bench.files import whole

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont
    from PIL.ImageFont import ImageFont as BitmapFont

    from divsal_bench.predict.prediction import Prediction

    Font = FreeTypeFont | BitmapFont

#: Smallest side of a panel, and text and space, all in pixels.
PANEL, TEXT, SMALL, SPACE, BAR = 224, 15, 13, 12, 16
#: Of class 0 and class 1; far apart in brightness-free colour, also for people who cannot tell red from green.
BLUE, RED = (33, 102, 204), (204, 33, 43)
#: How opaque the strongest cell of a map is.
OPACITY = 0.75
INK, FAINT, PAPER = (20, 20, 20), (90, 90, 90), (255, 255, 255)
#: Bytes of a file name before a clash's number and ``.png``; file systems allow 255 in all.
LONGEST_NAME = 180


def file_names(parts: Sequence[tuple[str, ...]]) -> list[str]:
    """One file name for each image, all different: its folders and its name joined by ``__``, a number on a clash.

    Args:
        parts: Of each image, its place below what was given. May be a stranger's; no name leads out of a folder.
    """
    taken: set[str] = set()
    names = []
    for own in parts:
        text = "__".join((*own[:-1], Path(own[-1]).stem)) if own else ""
        plain = unicodedata.normalize("NFC", re.sub(r"[^\w.-]+", "_", text))
        plain = plain.encode()[-LONGEST_NAME:].decode(errors="ignore").strip("._") or "image"
        number = 1
        # Some file systems do not tell upper from lower case.
        while (name := f"{plain}-{number}.png" if number > 1 else f"{plain}.png").casefold() in taken:
            number += 1
        taken.add(name.casefold())
        names.append(name)
    return names


def require_writable(folder: Path, option: str = "--overlay") -> None:
    """Refuse a folder that cannot be written, before any work and without creating it.

    Args:
        folder: May not be there yet.
        option: That named it, for messages.

    Raises:
        UserError: It, or the nearest parent that exists, is no folder or not writable.
    """
    place = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(path))
    if not place.is_dir():
        raise UserError(f"{option} {folder} cannot be written ({place} is not a folder); choose another")
    if not os.access(place, os.W_OK | os.X_OK):
        raise UserError(f"{option} {folder} cannot be written (no permission in {place}); choose another")


def save(picture: Image, path: Path) -> None:
    """Write a PNG; what is there whole stays until the new one is."""
    with whole.new_file(path) as aside:
        picture.save(aside, "PNG", compress_level=4)  # half the time of 6, 7 % larger


def draw(prediction: Prediction, class_names: tuple[str, str], threshold: float | None) -> Image:
    """The image beside itself under its difference map, with a caption.

    Blue speaks for class 0, red for class 1; how strongly is how opaque it is, up to the map's own largest magnitude.

    Args:
        prediction: With pixels and difference map.
        class_names: Of class 0 and class 1.
        threshold: On the logit margin; None: nothing is called class 1.

    Returns:
        RGB.
    """
    from PIL import Image, ImageDraw

    assert prediction.pixels is not None
    assert prediction.difference is not None
    panel = upscaled(prediction.pixels)
    side = panel.width
    reach = float(np.abs(prediction.difference).max())
    width = 2 * side + 3 * SPACE
    room = width - 2 * SPACE
    text, small = font(TEXT), font(SMALL)
    lines = [
        (line, text, INK)
        for content in (shortened(prediction.image, text, room), verdict(prediction, class_names, threshold))
        for line in wrapped(content, text, room)
    ]
    about = f"difference map, {class_names[1]} minus {class_names[0]}, in logits; its mean plus the bias is the score"
    notes = [(line, small, FAINT) for line in wrapped(about, small, room)]
    ends = (f"-{reach:.3g} {class_names[0]}", f"{class_names[1]} +{reach:.3g}")
    legend = len(labels(ends, small, room)) * line_height(small) + BAR + SPACE // 2
    caption = sum(line_height(style) for _, style, _ in lines + notes) + legend + SPACE
    canvas = Image.new("RGB", (width, side + caption + 3 * SPACE), PAPER)
    canvas.paste(panel, (SPACE, SPACE))
    canvas.paste(coloured(panel, prediction.difference, reach), (side + 2 * SPACE, SPACE))
    pen = ImageDraw.Draw(canvas)
    y = side + 2 * SPACE
    for line, style, colour in lines:
        pen.text((SPACE, y), line, fill=colour, font=style)
        y += line_height(style)
    y += SPACE // 2
    canvas.paste(bar(room), (SPACE, y))
    pen.rectangle((SPACE, y, SPACE + room - 1, y + BAR - 1), outline=FAINT)
    y += BAR + 2
    for row in labels(ends, small, room):
        for x, label in row:
            pen.text((SPACE + x, y), label, fill=INK, font=small)
        y += line_height(small)
    y += SPACE // 2 - 2
    for line, style, colour in notes:
        pen.text((SPACE, y), line, fill=colour, font=style)
        y += line_height(style)
    return canvas


def verdict(prediction: Prediction, class_names: tuple[str, str], threshold: float | None) -> str:
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


def coloured(panel: Image, difference: np.ndarray, reach: float) -> Image:
    """A panel under a map (h, w); cells are blended into each other.

    Args:
        panel: RGB.
        difference: In logits.
        reach: The largest magnitude, which is the most opaque; 0 for a map that is 0 everywhere.
    """
    from PIL.Image import Resampling, fromarray

    share = difference.astype(np.float32) / (reach or 1.0)
    smooth = np.asarray(fromarray(share).resize(panel.size, Resampling.BILINEAR))
    return fromarray(blended(np.asarray(panel, np.float32), smooth))


def blended(under: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Colours (H, W, 3) under shares of the scale (H, W) in [−1, 1]; uint8."""
    opacity = np.clip(np.abs(share), 0, 1)[..., None] * OPACITY
    colour = np.where(share[..., None] < 0, np.array(BLUE, np.float32), np.array(RED, np.float32))
    return np.asarray(np.rint(under * (1 - opacity) + colour * opacity)).astype(np.uint8)


def bar(width: int) -> Image:
    """The scale, from the strongest blue to the strongest red, on white."""
    from PIL.Image import fromarray

    share = np.tile(np.linspace(-1, 1, width, dtype=np.float32), (BAR, 1))
    return fromarray(blended(np.full((BAR, width, 3), 255, np.float32), share))


def labels(ends: tuple[str, str], style: Font, room: int) -> list[list[tuple[int, str]]]:
    """What stands below the scale, as rows of (x, text): in one row if the ends leave room for the 0 between them."""
    left, right = (shortened(end, style, room) for end in ends)
    zero = round((room - style.getlength("0")) / 2)
    at_end = round(room - style.getlength(right))
    if style.getlength(left) + SPACE < zero and at_end > zero + style.getlength("0") + SPACE:
        return [[(0, left), (zero, "0"), (at_end, right)]]
    return [[(0, left)], [(at_end, right)]]


def font(size: int) -> Font:
    """Pillow's own: nothing is installed for it."""
    from PIL import ImageFont

    return ImageFont.load_default(size)


def line_height(style: Font) -> int:
    """Pixels from line to line, with room for accents and tails."""
    return math.ceil(style.getbbox("Ågjp|")[3] * 1.15)


def shortened(text: str, style: Font, room: int) -> str:
    """One line: printable characters alone, the beginning left out where it is too long."""
    plain = printable(text)
    if style.getlength(plain) <= room:
        return plain
    while plain and style.getlength("…" + plain) > room:
        plain = plain[max(1, len(plain) // 20) :]
    return "…" + plain


def wrapped(text: str, style: Font, room: int) -> Iterator[str]:
    """Lines that fit; a word that does not is shortened."""
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}".lstrip()
        if line and style.getlength(longer) > room:
            yield line
            longer = word
        line = longer if style.getlength(longer) <= room else shortened(longer, style, room)
    yield line
