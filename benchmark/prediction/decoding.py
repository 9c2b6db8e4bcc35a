"""From what somebody gives as an image to pixels at a network's size, or the reason why there are none."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from divsal_bench.data import decoding, reading
from divsal_bench.data.damage import NotAnImage
from divsal_bench.data.images import FULL, Window
from divsal_bench.files import foreign

if TYPE_CHECKING:
    from PIL.Image import Image

    from divsal_bench.prediction.inputs import Source
    from divsal_bench.prediction.pretrained import Pretrained


@decoding.one_large_at_a_time()
def looked_at(pretrained: Pretrained, source: Source) -> tuple[np.ndarray | str, int]:
    """Decode an image as a network sees it.

    Returns:
        Pixels at the network's size, uint8 (1 or 3, S, S), or in one line why there are none; and the largest value of
        a file of 16 bits, 0 for any other.
    """
    try:
        picture = decoding.decode_image(file_bytes(source))
        facts = reading.image_facts(picture)
        return pretrained.preprocessing.pixels(picture, pretrained.window), facts.high
    except NotAnImage as error:
        reason = str(error)
    except OSError as error:
        reason = f"cannot be read ({error.strerror or error})"
    except MemoryError:
        reason = "needs more memory than there is"
    except Exception as error:  # decoders meet damaged files with every kind of exception; the other images count
        reason = f"is damaged ({type(error).__name__}: {error})"
    return " ".join(reason.split())[:300], 0


def file_bytes(source: Source) -> bytes:
    """The bytes of an image file; NotAnImage if there is none that can be read whole."""
    if isinstance(source, bytes):
        return source
    if not isinstance(source, str | Path):
        return as_tiff(source)
    path = Path(source)
    if not path.exists():
        raise NotAnImage("is not there")
    if not path.is_file():  # a pipe or a device might never end
        raise NotAnImage("is not a file")
    try:
        return foreign.read_bytes(path)
    except foreign.RefusedError as error:
        raise NotAnImage(str(error)) from None


def as_tiff(image: Image) -> bytes:
    """A PIL image as an uncompressed file: one decoder for all, whatever the mode."""
    from PIL import ImageOps

    buffer = io.BytesIO()
    try:
        if image.has_transparency_data and image.mode in ("L", "P", "RGB"):
            image = image.convert("RGBA")  # TIFF would forget which colour is transparent
        ImageOps.exif_transpose(image).save(buffer, "TIFF")
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise NotAnImage(f"is no PIL image that can be read ({error}); convert it to L or RGB") from error
    return buffer.getvalue()


def depth_notices(deep: Sequence[int], window: Window) -> list[str]:
    """What to say about files of 16 bits, once for all of them.

    Args:
        deep: The largest value of each.
        window: The values that were read as black and white.
    """
    low, high = window
    dark = [highest for highest in deep if highest - low < (high - low) / 2]
    bright = [highest for highest in deep if highest > high]
    found = []
    if deep and window != FULL:
        found.append(f"{len(deep):,} 16-bit files were read with {low} as black and {high} as white")
    if dark:
        bits = max(dark).bit_length()
        found.append(
            f"{len(dark):,} of {len(deep):,} 16-bit files use only their lowest {bits} bits (largest value "
            f"{max(dark)}), so they are dark to the network; --window {max(9, bits)}bit or LO:HI says which values are "
            "black and white"
        )
    if bright:
        found.append(f"{len(bright):,} of {len(deep):,} 16-bit files have values above {high}; they are cut off there")
    return found
