"""Decoded images as the 8-bit pixels that networks see, at any size."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Literal

import numpy as np

from divsal_bench.data.damage import refused_if_damaged
from divsal_bench.data.decoding import Picture

if TYPE_CHECKING:
    from PIL.Image import Image

#: Rows that are laid over black at once.
_STRIP = 256
#: Values of 16 bits that are read as black and white.
Window = tuple[int, int]
FULL: Window = (0, 65535)


def image_pixels(picture: Picture, channels: Literal[1, 3], size: int, window: Window = FULL) -> np.ndarray:
    """Convert and resize an image.

    Args:
        size: Side of the square result; the aspect ratio is not kept.
        window: As :func:`eight_bit_image` takes it.

    Returns:
        uint8, (channels, size, size).

    Raises:
        NotAnImage: The file was damaged in a way that shows only here.
    """
    from PIL.Image import Resampling

    image = eight_bit_image(picture, channels, window)
    if image.size != (size, size):
        image = image.resize((size, size), Resampling.BILINEAR)
    pixels = np.asarray(image)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def eight_bit_image(picture: Picture, channels: Literal[1, 3], window: Window = FULL) -> Image:
    """Convert an image to 8-bit grey (1) or RGB (3), at its own size.

    Transparent parts are laid over black: what an editor left below them is not to be seen.

    Args:
        window: The values of 16 bits that become black and white; 8-bit images have none.

    Raises:
        NotAnImage: The file was damaged in a way that shows only here.
    """
    from PIL.Image import fromarray

    with refused_if_damaged():
        image = fromarray(_eight_bits(picture, window)) if picture.deep else over_black(picture.image)
        if image.mode == "PA":  # Pillow converts it to L only by way of RGB
            image = image.convert("RGB")
        return image.convert("L" if channels == 1 else "RGB")


def eight_bits(picture: Picture, window: Window | None = None) -> np.ndarray:
    """An upright image in 8 bits: uint8, (height, width), or (height, width, 3) where it has colours.

    Args:
        window: As :func:`eight_bit_image` takes it; None for all values.

    Raises:
        NotAnImage: As :func:`eight_bit_image`.
    """
    grey = picture.deep or picture.image.mode in ("1", "L", "LA", "La")
    return np.asarray(eight_bit_image(picture, 1 if grey else 3, window or FULL))


def see_through(picture: Picture) -> bool:
    """Whether an image has transparent parts."""
    with refused_if_damaged():
        return is_see_through(picture.image)


def _eight_bits(picture: Picture, window: Window = FULL) -> np.ndarray:
    """Scale 16-bit grey to 8 bits; Pillow's own conversion cuts everything above 255 off."""
    values = scaled_levels(*window)[np.asarray(picture.image).astype(np.uint16, copy=False)]
    return 255 - values if picture.negative else values


@functools.lru_cache(maxsize=16)
def scaled_levels(low: int, high: int) -> np.ndarray:
    """The 8 bits of every value of 16: what lies below ``low`` is 0, and above ``high`` 255."""
    reach = high - low
    values = np.clip(np.arange(65536, dtype=np.int64) - low, 0, reach)
    return ((values * 255 + (reach - 1) // 2) // reach).astype(np.uint8)


def alpha_channel(image: Image) -> Image:
    """How solid each pixel is."""
    return (image if image.mode in ("LA", "PA", "RGBA") else image.convert("RGBA")).getchannel("A")


def is_see_through(image: Image) -> bool:
    """Whether a picture has transparent parts."""
    if image.mode.startswith("I") or not image.has_transparency_data:
        return False
    return bool(alpha_channel(image).getextrema()[0] < 255)  # type: ignore[operator]


def over_black(image: Image) -> Image:
    """Lay an image with transparent parts over black; any other stays as it is."""
    from PIL.Image import alpha_composite, new

    if not is_see_through(image):
        return image
    result = new("RGB", image.size)
    for top in range(0, image.height, _STRIP):  # whole, a large one would take a gigabyte more
        strip = image.crop((0, top, image.width, min(top + _STRIP, image.height))).convert("RGBA")
        strip = alpha_composite(new("RGBA", strip.size, (0, 0, 0, 255)), strip)
        result.paste(strip.convert("RGB"), (0, top))
    return result
