"""Decoding: every kind of image file that data sets deliver, upright and in its own mode."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from divsal_bench.data import dicom
from divsal_bench.data.damage import NotAnImage, refused_if_damaged

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
_PNG = b"\x89PNG\r\n\x1a\n"
_PHOTOMETRIC = 262
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


@dataclass(frozen=True)
class Picture:
    """A decoded file.

    Attributes:
        image: Upright, in the file's own mode.
        turn: The EXIF orientation (1 to 8) that was undone; None where the file states none.
        negative: Whether larger values of 16 bits are darker (white is zero); only
            :func:`divsal_bench.data.images.eight_bit_image` undoes it.
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


def decode_image(data: bytes) -> Picture:
    """Decode a file completely: a cut-off file opens well and fails only here.

    Raises:
        NotAnImage: Empty, truncated, damaged as far as its format can tell, too large, of several pages, not an
            image, or of a kind without a fixed brightness range.
    """
    from PIL import Image, UnidentifiedImageError

    if not data:
        raise NotAnImage("is empty")
    if dicom.is_dicom(data):
        _wait_if_large(1, len(data))
        image, negative = dicom.decode_dicom(data, MOST_PIXELS)
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
        _require_single_page(image)
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


def _require_single_page(image: Image) -> None:
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


def _orientation(image: Image) -> int | None:
    """Return the EXIF orientation (1 to 8), or None where the file states none."""
    try:
        value = image.getexif().get(_ORIENTATION)
    except Exception:  # damaged EXIF of any kind: viewers show such a file as it is stored
        return None
    return value if value in range(1, 9) else None


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
