"""Decoding: every kind of image file that data sets deliver, to 8-bit pixels, and maps alike."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

#: Formats that are read. Not all that Pillow knows: some (EPS) start other programs.
FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "PPM", "JPEG2000")
_ORIENTATION = 0x0112
#: Modes with a known way to 8-bit grey and RGB; "F" is refused with a reason of its own.
_MODES = frozenset(
    "1 L LA La P PA RGB RGBA RGBa RGBX CMYK YCbCr HSV I I;16 I;16L I;16B I;16N F".split()  # noqa: SIM905
)


class NotAnImage(ValueError):  # noqa: N818 - named for what it says of the file
    """The bytes cannot be used as an image; the message says why, to be put after the file's name."""


@dataclass(frozen=True)
class Picture:
    """A decoded file.

    Attributes:
        image: Upright, in the file's own mode.
        turn: The EXIF orientation (1 to 8) that was undone; None where the file states none.
    """

    image: Image
    turn: int | None

    def turned(self, turn: int | None) -> Picture:
        """Return the picture with one more orientation undone."""
        return Picture(_upright(self.image, turn), turn)


def decode(data: bytes) -> Picture:
    """Decode a file completely: a cut-off file opens well and fails only here.

    Args:
        data: The file's bytes.

    Raises:
        NotAnImage: Empty, truncated, not an image, or of a kind without a fixed brightness range.
    """
    from PIL import Image, UnidentifiedImageError

    if not data:
        raise NotAnImage("is empty")
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
        stated = _orientation(image)
        image.load()
        # Pillow turns TIFF files itself while loading and forgets the tag; others still have it.
        left = _orientation(image)
    except UnidentifiedImageError:
        raise NotAnImage(f"is not an image ({', '.join(FORMATS)} are read)") from None
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise NotAnImage(f"is truncated or damaged ({error})") from error
    if image.mode not in _MODES:
        raise NotAnImage(f"has colours of a kind that is not read ({image.mode}); save it as grey or RGB")
    if image.mode == "F":
        raise NotAnImage("holds floating point numbers, which have no fixed range; save it with 8 or 16 bits")
    if image.mode == "I":
        low, high = image.getextrema()
        if float(low) < 0 or float(high) > 65535:  # type: ignore[arg-type]
            raise NotAnImage("holds 32-bit numbers beyond 0 to 65535; save it with 8 or 16 bits")
    return Picture(_upright(image, left), stated or left)


def image_pixels(picture: Picture, channels: Literal[1, 3], size: int) -> np.ndarray:
    """Convert and resize an image.

    Args:
        picture: From :func:`decode`.
        channels: 1 (grey) or 3 (RGB).
        size: Side of the square result; the aspect ratio is not kept.

    Returns:
        uint8, (channels, size, size).
    """
    from PIL.Image import Resampling

    image = plain(picture, channels)
    if image.size != (size, size):
        image = image.resize((size, size), Resampling.BILINEAR)
    pixels = np.asarray(image)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def plain(picture: Picture, channels: Literal[1, 3]) -> Image:
    """Convert an image to 8-bit grey (1) or RGB (3), at its own size."""
    image = _eight_bits(picture.image)
    if image.mode == "PA":  # Pillow converts it to L only by way of RGB
        image = image.convert("RGB")
    return image.convert("L" if channels == 1 else "RGB")


def align(saliency: Picture, picture: Picture) -> Picture:
    """Turn a map as its image was turned, and compare their sizes.

    A map drawn on the stored pixels of a turned photograph states no orientation of its own, and is turned
    like the photograph; one that states its own keeps it.

    Args:
        saliency: The map, from :func:`decode`.
        picture: Its image, from :func:`decode`.

    Returns:
        The map in its image's geometry.

    Raises:
        NotAnImage: The sizes differ.
    """
    if saliency.turn is None:
        saliency = saliency.turned(picture.turn)
    (width, height), (wide, high) = saliency.image.size, picture.image.size
    if (width, height) != (wide, high):
        # Other programs show the stored sizes.
        note = " once both are turned upright (EXIF)" if (saliency.turn or 1, picture.turn or 1) != (1, 1) else ""
        raise NotAnImage(f"is {width} x {height} pixels, but its image is {wide} x {high}{note}")
    return saliency


def map_pixels(saliency: Picture, size: int) -> np.ndarray:
    """Convert and resize a map.

    Args:
        saliency: From :func:`align`.
        size: Side of the square result.

    Returns:
        uint8, (size, size).
    """
    from PIL.Image import Resampling, fromarray

    image = fromarray(map_values(saliency))
    if image.size != (size, size):
        image = image.resize((size, size), Resampling.BOX)
    return np.asarray(image)


def map_values(saliency: Picture) -> np.ndarray:
    """Return a map's values: uint8, (height, width).

    Transparent parts hold no evidence. A map of only 0 and 1 is read as 0 and 255.
    """
    from PIL import Image

    image = saliency.image
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.max(initial=0) == 1:
            return (values * 255).astype(np.uint8)
        return np.asarray(_eight_bits(image))
    if image.has_transparency_data:
        colour = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", colour.size, (0, 0, 0, 255)), colour)
    values = np.asarray(image.convert("L"))
    return values * np.uint8(255) if values.max(initial=0) == 1 else values


def value_range(saliency: Picture) -> tuple[int, int]:
    """Return the smallest and the largest value of a map: as stored for grey maps, else as it is read."""
    image = saliency.image
    values = np.asarray(image) if image.mode == "L" or image.mode.startswith("I") else map_values(saliency)
    return int(values.min()), int(values.max())


def _orientation(image: Image) -> int | None:
    """Return the EXIF orientation (1 to 8), or None where the file states none."""
    try:
        value = image.getexif().get(_ORIENTATION)
    except Exception:  # damaged EXIF of any kind: viewers show such a file as it is stored
        return None
    return value if value in range(1, 9) else None


def _eight_bits(image: Image) -> Image:
    """Scale 16-bit grey to 8 bits; Pillow's own conversion cuts everything above 255 off."""
    from PIL.Image import fromarray

    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image).astype(np.uint32)
    return fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))


def _upright(image: Image, turn: int | None) -> Image:
    """Undo an EXIF orientation."""
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return image.transpose(turns[turn]) if turn in turns else image
