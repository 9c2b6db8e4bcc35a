"""DICOM files, by pydicom: what a viewer shows of one grey or colour frame.

The steps are those of DICOM PS3.3 C.11 and C.7.6.3.1.2: modality LUT or rescale, VOI LUT or window, photometric
interpretation.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from divsal_bench.data.damage import NotAnImage, refused_if_damaged

if TYPE_CHECKING:
    from PIL.Image import Image

_DEFLATED = "1.2.840.10008.1.2.1.99"


def is_dicom(data: bytes) -> bool:
    """Whether the bytes begin as DICOM's part 10 says."""
    return data[128:132] == b"DICM"


def decode_dicom(data: bytes, most_pixels: int) -> tuple[Image, bool]:
    """Decode one file.

    Args:
        most_pixels: A larger picture is refused before its pixels are decoded.

    Returns:
        The picture, and whether its larger values are darker (MONOCHROME1). ``RGB`` for colours; ``L`` where the file
        states a window or a VOI LUT, which is applied; else ``I;16``, the range of the stored bits widened to 16.

    Raises:
        NotAnImage: pydicom or a decompressor is missing, the file is damaged, or of a kind that is not read.
    """
    try:
        import pydicom
    except ImportError:
        raise NotAnImage("is a DICOM file; to read it: pip install 'divsal-bench[dicom]'") from None
    with refused_if_damaged():
        if _DEFLATED.encode() in data[132:2048]:
            raise NotAnImage("is a deflated DICOM file, whose size once unpacked is unknown; save it uncompressed")
        stated = pydicom.dcmread(io.BytesIO(data))
        _require_one_frame(stated, most_pixels)
        return _picture(stated, _pixels(stated))


def _require_one_frame(stated: Any, most_pixels: int) -> None:
    rows, columns = stated.get("Rows"), stated.get("Columns")
    if not rows or not columns or not any(name in stated for name in ("PixelData", "FloatPixelData")):
        raise NotAnImage("is a DICOM file without a picture")
    if "PixelData" not in stated:
        raise NotAnImage("holds floating point numbers, which have no fixed range; save it with 8 or 16 bits")
    frames = int(stated.get("NumberOfFrames") or 1)
    if frames > 1:
        raise NotAnImage(f"has {frames:,} frames, of which one would be read; save the one that is meant by itself")
    if rows * columns > most_pixels:
        raise NotAnImage(
            f"is too large ({columns:,} x {rows:,} pixels; up to {most_pixels:,} are read); make it smaller"
        )


def _pixels(stated: Any) -> np.ndarray:
    """The stored values; colours as RGB."""
    try:
        return np.asarray(stated.pixel_array)
    except (RuntimeError, NotImplementedError) as error:
        syntax = stated.file_meta.TransferSyntaxUID
        if not syntax.is_compressed:
            raise
        raise NotAnImage(
            f"is compressed ({syntax.name}) in a way that needs another package; "
            "pip install 'pylibjpeg[all]', or save it uncompressed"
        ) from error


def _picture(stated: Any, values: np.ndarray) -> tuple[Image, bool]:
    from PIL.Image import fromarray

    kind = str(stated.PhotometricInterpretation)
    if kind not in ("MONOCHROME1", "MONOCHROME2"):
        if kind == "PALETTE COLOR" or values.ndim != 3 or values.shape[2] != 3 or values.dtype != np.uint8:
            raise NotAnImage(f"has colours of a kind that is not read ({kind}); save it as grey or RGB")
        return fromarray(values), False
    if values.ndim != 2:
        raise NotAnImage(f"has {values.ndim} axes of pixels; one grey frame is read")
    from pydicom.pixels.processing import apply_modality_lut

    shown = _shown(stated, np.asarray(apply_modality_lut(values, stated), np.float64))
    if shown is None:
        low, high = _range(stated)
        scaled = np.clip((values.astype(np.float64) - low) / (high - low), 0, 1)
        return fromarray(np.rint(scaled * 65535).astype(np.uint16)), kind == "MONOCHROME1"
    if kind == "MONOCHROME1":
        shown = 1 - shown
    return fromarray(np.rint(np.clip(shown, 0, 1) * 255).astype(np.uint8)), False


def _shown(stated: Any, values: np.ndarray) -> np.ndarray | None:
    """The values within the window that the file states, black 0 and white 1; None where it states none."""
    if stated.get("VOILUTSequence"):
        from pydicom.pixels.processing import apply_voi

        bits = int(stated.VOILUTSequence[0].LUTDescriptor[2])
        found = apply_voi(np.rint(values).astype(np.int64), stated)
        return np.asarray(found / (2**bits - 1), np.float64)
    centre, width = (_first(stated.get(name)) for name in ("WindowCenter", "WindowWidth"))
    if centre is None or width is None:
        return None
    function = str(stated.get("VOILUTFunction") or "LINEAR").upper()
    if width < 1 or not np.isfinite([centre, width]).all():
        raise NotAnImage(f"states a window of width {width:g}; mend the file")
    if function == "SIGMOID":
        return np.asarray(1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700))))
    if function == "LINEAR_EXACT":
        return np.asarray((values - centre) / width + 0.5)
    if width == 1:
        return np.asarray(values > centre - 0.5, np.float64)
    return np.asarray((values - (centre - 0.5)) / (width - 1) + 0.5)


def _first(value: Any) -> float | None:
    """A file may state several windows: the first is the one to begin with."""
    if value is None or value == "":
        return None
    numbers = [value] if isinstance(value, int | float | str) else list(value)
    return float(numbers[0]) if numbers else None


def _range(stated: Any) -> tuple[int, int]:
    """The least and the greatest value of the stored bits."""
    bits = int(stated.get("BitsStored") or stated.BitsAllocated)
    if int(stated.get("PixelRepresentation") or 0):
        return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return 0, 2**bits - 1
