"""Human maps as files: in their image's geometry, and their values out of every way to draw them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from divsal_bench.data import colormaps
from divsal_bench.data.damage import NotAnImage, refused_if_damaged
from divsal_bench.data.decoding import Picture

if TYPE_CHECKING:
    from PIL.Image import Image
from divsal_bench.data.images import alpha_channel, is_see_through, over_black, scaled_levels

#: Channels that differ by no more, of 255, are one grey: lossy formats round each by itself.
_SAME_GREY = 8
#: How a map can be read where its channels differ.
CHANNELS = ("red", "green", "blue", "alpha")
MAP_READINGS = (*CHANNELS, "index", *(f"colormap:{name}" for name in colormaps.NAMES))
#: A map none of whose small cells keeps this share of its largest value is made of dots, and is scaled up again.
_DOTS = 1 / 8


class Coloured(NotAnImage):
    """A map whose values depend on how its colours are meant."""


def align(saliency: Picture, picture: Picture) -> Picture:
    """Turn a map as its image was turned, and compare their sizes.

    A map drawn on the stored pixels of a turned photograph states no orientation of its own, and is turned
    like the photograph; one that states its own keeps it.

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


def resized_map(saliency: Picture, size: int) -> np.ndarray:
    """Convert and resize a map.

    Dots that are small beside a cell of the result stay: where no cell keeps an eighth of the map's largest value, the
    result is scaled up to it.

    Returns:
        uint8, (size, size); not the same value everywhere unless the map has it.

    Raises:
        Coloured: As :func:`map_values`.
        NotAnImage: The file was damaged in a way that shows only here.
    """
    from PIL.Image import Resampling, fromarray

    values = map_values(saliency)
    if values.shape == (size, size):
        return values
    small = np.asarray(fromarray(values).resize((size, size), Resampling.BOX))
    highest = int(values.max())
    if highest == int(values.min()) or int(small.max()) >= max(1, highest * _DOTS):
        return small
    exact = np.asarray(fromarray(values.astype(np.float32)).resize((size, size), Resampling.BOX))
    return np.asarray(np.rint(exact * (highest / exact.max())), np.uint8)


def map_values(saliency: Picture, reading: str = "", top: int = 0) -> np.ndarray:
    """Return a map's values: uint8, (height, width).

    A map of two values is a mask, whatever they are: 0 and 255. So is one of black and one other colour. Transparent
    parts hold no evidence.

    Args:
        reading: One of :data:`MAP_READINGS`; "" for a grey map.
        top: The value that becomes 255; 0 takes the largest that the file's bits can hold.

    Raises:
        Coloured: Its channels differ, or it is black on transparent, and it is not said how to read it.
        NotAnImage: It cannot be read as said, or was damaged in a way that shows only here.
    """
    values, full = levels(saliency, reading)
    if values.min() < values.max() and is_mask(values):
        return np.where(values == values.max(), np.uint8(255), np.uint8(0))
    top = top or full
    return values if top == 255 and values.dtype == np.uint8 else np.asarray(scaled_levels(0, top)[values])


def is_mask(values: np.ndarray) -> bool:
    """Whether there are at most two different values."""
    low, high = values.min(), values.max()
    few = values[::8, ::8]  # enough to tell most maps that are none
    return all(bool(((some == low) | (some == high)).all()) for some in (few, values))


def levels(saliency: Picture, reading: str = "") -> tuple[np.ndarray, int]:
    """A map's values as the file holds them, uint8 or uint16, and the largest that its bits can hold."""
    with refused_if_damaged():
        image = saliency.image
        if reading:
            return _values_as_told(image, reading), 255
        if saliency.deep:
            values = np.asarray(image).astype(np.uint16)
            return np.asarray(65535 - values if saliency.negative else values, np.uint16), 65535
        if image.mode in ("L", "1") and not is_see_through(image):
            return np.asarray(image if image.mode == "L" else image.convert("L")), 255
        return _grey(image), 255


def _grey(image: Image) -> np.ndarray:
    """The values of a map in colours that are all grey, or of a mask in one colour on black."""
    shown = over_black(image).convert("RGB")
    colours = np.asarray(shown)
    if is_see_through(image) and not colours.any() and np.asarray(alpha_channel(image)).any():
        raise Coloured("is black on transparent: over black nothing of it is left")
    apart = max(int(np.ptp(part, axis=2).max(initial=0)) for part in np.array_split(colours, 16))
    if apart:
        marked = colours.any(2)
        one = colours[np.unravel_index(marked.argmax(), marked.shape)]
        if all(
            (part == one).all(2)[inside].all()
            for part, inside in zip(np.array_split(colours, 16), np.array_split(marked, 16), strict=True)
        ):
            return np.where(marked, np.uint8(255), np.uint8(0))
    if apart <= _SAME_GREY:
        return np.asarray(shown.convert("L"))
    raise Coloured("is a colour picture: its channels differ, and their brightness is not its values")


def _values_as_told(image: Image, reading: str) -> np.ndarray:
    """The values of a map whose reading is said."""
    if reading == "index":
        if image.mode not in ("P", "PA"):
            raise NotAnImage("has no palette, whose index could be read")
        return (np.asarray(image.getchannel(0)) > 0).astype(np.uint8) * np.uint8(255)
    if reading == "alpha":
        if not image.has_transparency_data:
            raise NotAnImage("has no transparency, which is to be read")
        return np.asarray(alpha_channel(image))
    if image.mode.startswith("I"):
        raise NotAnImage("is grey of 16 bits and has no colours, which are to be read")
    shown = over_black(image).convert("RGB")
    if reading in CHANNELS:
        return np.asarray(shown.getchannel(CHANNELS.index(reading)))
    values = colormaps.undone(np.asarray(image.convert("RGB")), reading.removeprefix("colormap:"))
    if is_see_through(image):  # the colour map's black is a value; what is not there is none
        values = (values.astype(np.uint16) * np.asarray(alpha_channel(image)) // 255).astype(np.uint8)
    return values
