"""Image files of more than 8 bits, in colours and in pages, as other programs write them."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
from PIL import Image


def encoded(pixels: np.ndarray | Image.Image, kind: str = "PNG", **save: Any) -> bytes:
    """An image as a file."""
    file = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(file, format=kind, **save)
    return file.getvalue()


def ramp(low: int, high: int, seed: int = 0, size: tuple[int, int] = (12, 10)) -> np.ndarray:
    """Noise that reaches from one value to another: uint16, (height, width)."""
    values = np.random.default_rng(seed).integers(low, high + 1, (size[1], size[0])).astype(np.uint16)
    values[0, :2] = low, high
    return values


def tiff(values: np.ndarray, photometric: int = 1, signed: bool = False) -> bytes:
    """An uncompressed TIFF whose photometric interpretation is chosen by the caller (0: white is zero)."""
    data = values.tobytes()
    bits = values.dtype.itemsize * 8
    height, width = values.shape
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 0, 277: 1, 278: height, 279: len(data)}
    if signed:
        tags[339] = 2
    start = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(
        struct.pack("<HHIHH", tag, 3, 1, value, 0) if tag not in (273, 279)
        else struct.pack("<HHII", tag, 4, 1, start if tag == 273 else value)
        for tag, value in sorted(tags.items())
    )  # fmt: skip
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0) + data


def palette(indices: np.ndarray, colours: list[int], **save: Any) -> bytes:
    """An indexed PNG."""
    image = Image.fromarray(indices.astype(np.uint8), "P")
    image.putpalette(colours)
    return encoded(image, **save)


def dicom(values: np.ndarray, **elements: Any) -> bytes:
    """A DICOM file, written by pydicom; elements replace those of a plain 12-bit radiograph."""
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = elements.pop("syntax", ExplicitVRLittleEndian)
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["divsal"])
    squeezed = meta.TransferSyntaxUID.is_encapsulated
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    colour = values.ndim == 3 and values.shape[2] == 3
    bits = values.dtype.itemsize * 8
    plain = {
        "PatientName": "Doe^Jane",
        "Rows": values.shape[0],
        "Columns": values.shape[1],
        "SamplesPerPixel": 3 if colour else 1,
        "PhotometricInterpretation": "RGB" if colour else "MONOCHROME2",
        "BitsAllocated": bits,
        "BitsStored": bits if bits == 8 else 12,
        "HighBit": (bits if bits == 8 else 12) - 1,
        "PixelRepresentation": int(np.issubdtype(values.dtype, np.signedinteger)),
        "PixelData": encapsulate([values.tobytes()]) if squeezed else values.tobytes(),
    }
    if colour:
        plain["PlanarConfiguration"] = 0
    for name, value in {**plain, **elements}.items():
        if value is not None:
            setattr(made, name, value)
    if made.get("PixelData") is not None:
        made["PixelData"].VR = "OW" if bits == 16 and not squeezed else "OB"
    file = io.BytesIO()
    pydicom.dcmwrite(file, made, enforce_file_format=True)
    return file.getvalue()
