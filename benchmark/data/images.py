"""Decoding: every kind of image file that data sets deliver, to 8-bit pixels, and maps alike."""

from __future__ import annotations

import functools
import io
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from divsal_bench.data import colormaps, dicom
from divsal_bench.data.damage import NotAnImage, refused_if_damaged

__all__ = ["NotAnImage", "Picture", "decode"]

if TYPE_CHECKING:
    from PIL.Image import Image

#: Formats that are read. Not all that Pillow knows: some (EPS) start other programs.
FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "PPM", "JPEG2000")
_ORIENTATION = 0x0112
#: Modes with a known way to 8-bit grey and RGB; "F" is refused with a reason of its own.
_MODES = frozenset(
    "1 L LA La P PA RGB RGBA RGBa RGBX CMYK YCbCr HSV I I;16 I;16L I;16B I;16N F".split()  # noqa: SIM905
)


#: A larger picture is refused.
MOST_PIXELS = 2**26
#: Of pictures larger than this one is in memory at a time, where threads decode many.
LARGE_PIXELS = 2**24
#: Pages that are counted; and how often a JPEG of the largest size may go over its pixels (10 times are usual).
MOST_COUNTED, MOST_SCANS = 100, 32
#: The next marker of a JPEG after the data of a scan, in which FF is followed by 0 or a restart.
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
#: Rows that are laid over black at once.
_STRIP = 256
#: Values of 16 bits that are read as black and white.
Window = tuple[int, int]
FULL: Window = (0, 65535)
_PNG = b"\x89PNG\r\n\x1a\n"
_PHOTOMETRIC = 262
#: Channels that differ by no more, of 255, are one grey: lossy formats round each by itself.
_SAME_GREY = 8
#: How a map can be read where its channels differ.
CHANNELS = ("red", "green", "blue", "alpha")
MAP_READINGS = (*CHANNELS, "index", *(f"colormap:{name}" for name in colormaps.NAMES))
#: A map none of whose small cells keeps this share of its largest value is made of dots, and is scaled up again.
_DOTS = 1 / 8


_turn = threading.local()
_large = threading.Lock()


@contextmanager
def one_large_at_a_time() -> Iterator[None]:
    """Until the end of this, a thread that decodes a large picture is the only one that has one.

    A picture of 64 megapixels with its copies takes about a gigabyte, and many threads decode.
    """
    _turn.mine = False
    try:
        yield
    finally:
        if _turn.mine:
            _large.release()
        _turn.mine = None


def _wait_if_large(width: int, height: int) -> None:
    if width * height > LARGE_PIXELS and getattr(_turn, "mine", None) is False:
        _large.acquire()
        _turn.mine = True


class Coloured(NotAnImage):
    """A map whose values depend on how its colours are meant."""


@dataclass(frozen=True)
class Picture:
    """A decoded file.

    Attributes:
        image: Upright, in the file's own mode.
        turn: The EXIF orientation (1 to 8) that was undone; None where the file states none.
        negative: Whether larger values of 16 bits are darker (white is zero); :func:`plain` undoes it.
    """

    image: Image
    turn: int | None
    negative: bool = False

    @property
    def deep(self) -> bool:
        """Whether it is grey of more than 8 bits."""
        return self.image.mode.startswith("I")

    def turned(self, turn: int | None) -> Picture:
        """Return the picture with one more orientation undone."""
        return Picture(_upright(self.image, turn), turn, self.negative)


def decode(data: bytes) -> Picture:
    """Decode a file completely: a cut-off file opens well and fails only here.

    Args:
        data: The file's bytes.

    Raises:
        NotAnImage: Empty, truncated, damaged as far as its format can tell, too large, of several pages, not an
            image, or of a kind without a fixed brightness range.
    """
    from PIL import Image, UnidentifiedImageError

    if not data:
        raise NotAnImage("is empty")
    if dicom.is_dicom(data):
        _wait_if_large(1, len(data))
        image, negative = dicom.opened(data, MOST_PIXELS)
        return Picture(image, None, negative)
    with refused_if_damaged():
        try:
            if data.startswith(_PNG):
                _check_sums(data)
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        except UnidentifiedImageError:
            raise NotAnImage(f"is not an image ({', '.join(FORMATS)} and DICOM are read)") from None
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise NotAnImage(f"is too large (up to {MOST_PIXELS:,} pixels are read); make it smaller") from error
        _require_one_picture(image)
        if image.format in ("JPEG", "MPO"):
            _require_few_scans(data, image.width * image.height)
        stated = _orientation(image)
        negative = image.format == "TIFF" and image.tag_v2.get(_PHOTOMETRIC) == 0  # type: ignore[attr-defined]
        image.load()
        # Pillow turns TIFF files itself while loading and forgets the tag; others still have it.
        left = _orientation(image)
        if image.mode not in _MODES:
            raise NotAnImage(f"has colours of a kind that is not read ({image.mode}); save it as grey or RGB")
        if image.mode == "F":
            raise NotAnImage("holds floating point numbers, which have no fixed range; save it with 8 or 16 bits")
        if image.mode == "I":
            low, high = image.getextrema()
            if float(low) < 0 or float(high) > 65535:  # type: ignore[arg-type]
                raise NotAnImage("holds 32-bit numbers beyond 0 to 65535; save it with 8 or 16 bits")
        picture = Picture(_upright(image, left), stated or left)
        # Pillow inverts 8 bits itself.
        return Picture(picture.image, picture.turn, negative and picture.deep)


def _check_sums(data: bytes) -> None:
    """Compare the checksums of a PNG, which Pillow passes by when it decodes."""
    from PIL import Image

    image = Image.open(io.BytesIO(data), formats=("PNG",))
    try:
        image.verify()
    except Exception as error:
        raise NotAnImage(f"is truncated or damaged (its checksum is wrong: {error})") from error


def _require_one_picture(image: Image) -> None:
    """Refuse what is too large and what holds several pictures.

    A photograph of a telephone may carry a second one beside it (MPO); the first is the photograph.
    """
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise NotAnImage(
            f"is too large ({width:,} x {height:,} pixels; up to {MOST_PIXELS:,} are read); make it smaller"
        )
    _wait_if_large(width, height)
    if image.format != "MPO" and getattr(image, "is_animated", False):
        raise NotAnImage(
            f"has pages or frames 1 to {_last_page(image)}, of which one would be read; save the one that is meant by "
            "itself"
        )


def _last_page(image: Image) -> str:
    """The number of the last page, of a TIFF up to some: Pillow's time to count them grows with their square."""
    if image.format != "TIFF":
        return f"{image.n_frames:,}"  # type: ignore[attr-defined]
    for page in range(1, MOST_COUNTED):
        try:
            image.seek(page)
        except EOFError:
            return str(page)
    return f"{MOST_COUNTED} or more"


def _require_few_scans(data: bytes, pixels: int) -> None:
    """Refuse a JPEG that goes over its pixels again and again: some kilobytes of scans can take hours."""
    scans, place = 0, 2
    while len(data) >= place + 4 and data[place] == 0xFF and data[place + 1] != 0xD9:
        scans += data[place + 1] == 0xDA
        start = place + 2 + int.from_bytes(data[place + 2 : place + 4])
        found = _MARKER.search(data, start)
        if found is None:
            break
        place = found.end() - 2
    if scans * pixels > MOST_SCANS * MOST_PIXELS:
        raise NotAnImage(f"is a JPEG of {scans:,} scans, which would take very long; save it again")


def image_pixels(picture: Picture, channels: Literal[1, 3], size: int, window: Window = FULL) -> np.ndarray:
    """Convert and resize an image.

    Args:
        picture: From :func:`decode`.
        channels: 1 (grey) or 3 (RGB).
        size: Side of the square result; the aspect ratio is not kept.
        window: As :func:`plain` takes it.

    Returns:
        uint8, (channels, size, size).

    Raises:
        NotAnImage: The file was damaged in a way that shows only here.
    """
    from PIL.Image import Resampling

    image = plain(picture, channels, window)
    if image.size != (size, size):
        image = image.resize((size, size), Resampling.BILINEAR)
    pixels = np.asarray(image)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def plain(picture: Picture, channels: Literal[1, 3], window: Window = FULL) -> Image:
    """Convert an image to 8-bit grey (1) or RGB (3), at its own size.

    Transparent parts are laid over black: what an editor left below them is not to be seen.

    Args:
        picture: From :func:`decode`.
        channels: 1 (grey) or 3 (RGB).
        window: The values of 16 bits that become black and white; 8-bit images have none.

    Raises:
        NotAnImage: The file was damaged in a way that shows only here.
    """
    from PIL.Image import fromarray

    with refused_if_damaged():
        image = fromarray(_eight_bits(picture, window)) if picture.deep else _over_black(picture.image)
        if image.mode == "PA":  # Pillow converts it to L only by way of RGB
            image = image.convert("RGB")
        return image.convert("L" if channels == 1 else "RGB")


def eight_bits(picture: Picture, window: Window | None = None) -> np.ndarray:
    """An upright image in 8 bits: uint8, (height, width), or (height, width, 3) where it has colours.

    Args:
        picture: From :func:`decode`.
        window: As :func:`plain` takes it; None for all values.

    Raises:
        NotAnImage: As :func:`plain`.
    """
    grey = picture.deep or picture.image.mode in ("1", "L", "LA", "La")
    return np.asarray(plain(picture, 1 if grey else 3, window or FULL))


def is_dicom(data: bytes) -> bool:
    """Whether the bytes are a DICOM file."""
    return dicom.is_dicom(data)


def see_through(picture: Picture) -> bool:
    """Whether an image has transparent parts."""
    with refused_if_damaged():
        return _see_through(picture.image)


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

    Dots that are small beside a cell of the result stay: where no cell keeps an eighth of the map's largest value, the
    result is scaled up to it.

    Args:
        saliency: From :func:`align`.
        size: Side of the square result.

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
        saliency: From :func:`align`.
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
    return values if top == 255 and values.dtype == np.uint8 else np.asarray(_scaled(0, top)[values])


def is_mask(values: np.ndarray) -> bool:
    """Whether there are at most two different values."""
    low, high = values.min(), values.max()
    few = values[::8, ::8]  # enough to tell most maps that are none
    return all(bool(((some == low) | (some == high)).all()) for some in (few, values))


def levels(saliency: Picture, reading: str = "") -> tuple[np.ndarray, int]:
    """A map's values as the file holds them, uint8 or uint16, and the largest that its bits can hold.

    Args:
        saliency: From :func:`align`.
        reading: As :func:`map_values` takes it.

    Raises:
        Coloured, NotAnImage: As in :func:`map_values`.
    """
    with refused_if_damaged():
        image = saliency.image
        if reading:
            return _told(image, reading), 255
        if saliency.deep:
            values = np.asarray(image).astype(np.uint16)
            return np.asarray(65535 - values if saliency.negative else values, np.uint16), 65535
        if image.mode in ("L", "1") and not _see_through(image):
            return np.asarray(image if image.mode == "L" else image.convert("L")), 255
        return _grey(image), 255


def _grey(image: Image) -> np.ndarray:
    """The values of a map in colours that are all grey, or of a mask in one colour on black."""
    shown = _over_black(image).convert("RGB")
    colours = np.asarray(shown)
    if _see_through(image) and not colours.any() and np.asarray(_alpha(image)).any():
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


def _told(image: Image, reading: str) -> np.ndarray:
    """The values of a map whose reading is said."""
    if reading == "index":
        if image.mode not in ("P", "PA"):
            raise NotAnImage("has no palette, whose index could be read")
        return (np.asarray(image.getchannel(0)) > 0).astype(np.uint8) * np.uint8(255)
    if reading == "alpha":
        if not image.has_transparency_data:
            raise NotAnImage("has no transparency, which is to be read")
        return np.asarray(_alpha(image))
    if image.mode.startswith("I"):
        raise NotAnImage("is grey of 16 bits and has no colours, which are to be read")
    shown = _over_black(image).convert("RGB")
    if reading in CHANNELS:
        return np.asarray(shown.getchannel(CHANNELS.index(reading)))
    values = colormaps.undone(np.asarray(image.convert("RGB")), reading.removeprefix("colormap:"))
    if _see_through(image):  # the colour map's black is a value; what is not there is none
        values = (values.astype(np.uint16) * np.asarray(_alpha(image)) // 255).astype(np.uint8)
    return values


def _orientation(image: Image) -> int | None:
    """Return the EXIF orientation (1 to 8), or None where the file states none."""
    try:
        value = image.getexif().get(_ORIENTATION)
    except Exception:  # damaged EXIF of any kind: viewers show such a file as it is stored
        return None
    return value if value in range(1, 9) else None


def _eight_bits(picture: Picture, window: Window = FULL) -> np.ndarray:
    """Scale 16-bit grey to 8 bits; Pillow's own conversion cuts everything above 255 off."""
    values = _scaled(*window)[np.asarray(picture.image).astype(np.uint16, copy=False)]
    return 255 - values if picture.negative else values


@functools.lru_cache(maxsize=16)
def _scaled(low: int, high: int) -> np.ndarray:
    """The 8 bits of every value of 16: what lies below ``low`` is 0, and above ``high`` 255."""
    reach = high - low
    values = np.clip(np.arange(65536, dtype=np.int64) - low, 0, reach)
    return ((values * 255 + (reach - 1) // 2) // reach).astype(np.uint8)


def _alpha(image: Image) -> Image:
    return (image if image.mode in ("LA", "PA", "RGBA") else image.convert("RGBA")).getchannel("A")


def _see_through(image: Image) -> bool:
    if image.mode.startswith("I") or not image.has_transparency_data:
        return False
    return bool(_alpha(image).getextrema()[0] < 255)  # type: ignore[operator]


def _over_black(image: Image) -> Image:
    """Lay an image with transparent parts over black; any other stays as it is."""
    from PIL.Image import alpha_composite, new

    if not _see_through(image):
        return image
    result = new("RGB", image.size)
    for top in range(0, image.height, _STRIP):  # whole, a large one would take a gigabyte more
        strip = image.crop((0, top, image.width, min(top + _STRIP, image.height))).convert("RGBA")
        strip = alpha_composite(new("RGBA", strip.size, (0, 0, 0, 255)), strip)
        result.paste(strip.convert("RGB"), (0, top))
    return result


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
