"""DICOM files, as pydicom writes them: what a viewer would show."""

import sys

import numpy as np
import pytest
from depths import dicom, ramp

from divsal_bench.data import decoding, images
from divsal_bench.data.canonical import read_entries, read_info
from divsal_bench.data.check import check_data_set
from divsal_bench.data.damage import NotAnImage
from divsal_bench.data.prepare import prepare_data_set
from divsal_bench.errors import UserError
from divsal_bench.tasks.adapters.manifest_csv import ADAPTER

pytestmark = pytest.mark.fast

pydicom = pytest.importorskip("pydicom")
VALUES = ramp(0, 4095)


def seen(data: bytes) -> np.ndarray:
    return np.asarray(images.eight_bit_image(decoding.decode_image(data), 1)).astype(float)


def linear(values, centre, width):
    """PS3.3 C.11.2.1.2.1, for 8 bits."""
    return np.clip(((values - (centre - 0.5)) / (width - 1) + 0.5) * 255, 0, 255)


LUT = (np.arange(4096) ** 2 // 4095 * 16).astype(np.uint16)


def with_lut() -> bytes:
    item = pydicom.Dataset()
    item.LUTDescriptor = [4096, 0, 16]
    item.add_new("LUTData", "OW", LUT.tobytes())
    return dicom(VALUES, VOILUTSequence=[item])


SHOWN = {
    "the range of its bits": (dicom(VALUES), VALUES / 4095 * 255),
    "16 bits": (dicom(ramp(0, 65535), BitsStored=16, HighBit=15), ramp(0, 65535) / 65535 * 255),
    "signed": (dicom(VALUES.astype(np.int16) - 2048), VALUES / 4095 * 255),
    "a window": (dicom(VALUES, WindowCenter=1000, WindowWidth=600), linear(VALUES, 1000, 600)),
    "the first of several windows": (
        dicom(VALUES, WindowCenter=[900, 10], WindowWidth=[800, 20]), linear(VALUES, 900, 800),
    ),
    "a window and a rescale": (
        dicom(VALUES, WindowCenter=-500, WindowWidth=400, RescaleSlope=0.5, RescaleIntercept=-1024),
        linear(VALUES * 0.5 - 1024, -500, 400),
    ),
    "an exact window": (
        dicom(VALUES, WindowCenter=2000, WindowWidth=1000, VOILUTFunction="LINEAR_EXACT"),
        np.clip(((VALUES - 2000.0) / 1000 + 0.5) * 255, 0, 255),
    ),
    "a sigmoid": (
        dicom(VALUES, WindowCenter=2000, WindowWidth=1000, VOILUTFunction="SIGMOID"),
        255 / (1 + np.exp(-4 * (VALUES - 2000.0) / 1000)),
    ),
    "a lookup table": (with_lut(), LUT[VALUES] / 65535 * 255),
    "MONOCHROME1": (dicom(VALUES, PhotometricInterpretation="MONOCHROME1"), 255 - VALUES / 4095 * 255),
    "MONOCHROME1 with a window": (
        dicom(VALUES, PhotometricInterpretation="MONOCHROME1", WindowCenter=1000, WindowWidth=600),
        255 - linear(VALUES, 1000, 600),
    ),
    "8 bits": (dicom((VALUES // 16).astype(np.uint8)), VALUES // 16),
}  # fmt: skip


@pytest.mark.parametrize("name", SHOWN)
def test_a_file_looks_as_in_a_viewer(name):
    data, expected = SHOWN[name]
    assert np.abs(seen(data) - expected).max() <= 1


@pytest.mark.parametrize("name", ["a window", "a sigmoid", "a lookup table"])
def test_pydicom_applies_the_same_window(name):
    data = SHOWN[name][0]
    import io

    from pydicom.pixels import apply_voi_lut

    theirs = apply_voi_lut(VALUES, pydicom.dcmread(io.BytesIO(data))).astype(float)
    full = 65535 if name == "a lookup table" else 4095
    assert np.abs(seen(data) - theirs / full * 255).max() <= 1


def test_colours():
    colours = np.random.default_rng(0).integers(0, 256, (10, 12, 3), np.uint8)
    assert (np.asarray(images.eight_bit_image(decoding.decode_image(dicom(colours)), 3)) == colours).all()


REFUSED = {
    "several frames": (dicom(np.stack([VALUES, VALUES]), Rows=10, Columns=12, NumberOfFrames=2), "has 2 frames"),
    "no picture": (dicom(VALUES, PixelData=None), "without a picture"),
    "a palette": (dicom((VALUES // 16).astype(np.uint8), PhotometricInterpretation="PALETTE COLOR"), "PALETTE COLOR"),
    "cut off": (dicom(VALUES)[:-50], "truncated or damaged"),
    "no more than a beginning": (dicom(VALUES)[:140], "truncated or damaged|without a picture"),
    "a window without width": (dicom(VALUES, WindowCenter=5, WindowWidth=0), "width 0"),
    "compressed, without a decompressor": (dicom(VALUES, syntax=pydicom.uid.HTJ2KLossless), "pip install"),
    "deflated": (dicom(VALUES, syntax=pydicom.uid.DeflatedExplicitVRLittleEndian), "deflated"),
    "too large": (dicom(VALUES, Rows=60000, Columns=60000), "is too large"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name):
    data, message = REFUSED[name]
    with pytest.raises(NotAnImage, match=message) as caught:
        decoding.decode_image(data)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore")
def test_damaged_files_are_refused_or_read():
    dice, whole, refused = np.random.default_rng(0), SHOWN["a window"][0], []
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(3):
            data[dice.integers(132, len(data))] = dice.integers(256)
        try:
            seen(bytes(data))
        except NotAnImage as error:
            refused.append(str(error))
    assert refused
    assert all(text and "\n" not in text for text in refused)


def test_without_pydicom_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(NotAnImage, match=r"pip install 'divsal-bench\[dicom\]'"):
        decoding.decode_image(dicom_before)


dicom_before = dicom(VALUES)


def run(task, delivered, **options):
    return prepare_data_set(task, ADAPTER, delivered.save(), delivered.folder.parent / "out", options, force=True)


def test_prepare_keeps_what_a_viewer_shows_as_png_without_the_patient(task, delivered):
    expected = {}
    for number, row in enumerate(delivered.rows):
        values = ramp(0, 4095, number)
        delivered.file(row["image"]).unlink()
        row["image"] = row["image"].replace(".png", ".dcm")
        delivered.file(row["image"]).write_bytes(dicom(values, WindowCenter=2000, WindowWidth=3000))
        expected[row["image"]] = linear(values, 2000, 3000)
    done = run(task, delivered)
    assert done.notices == ("16 images are DICOM files; they are kept as 8-bit PNGs, with the window they state.",)
    assert check_data_set(done.path).ok
    entries = list(read_entries(done.path, read_info(done.path)))
    assert len(entries) == 16
    for entry in entries:
        assert entry.image.startswith(b"\x89PNG")
        assert b"Doe" not in entry.image
        assert np.abs(seen(entry.image) - expected[entry.sample_id]).max() <= 1
    assert run(task, delivered).fingerprint == done.fingerprint
    assert entries == list(read_entries(done.path, read_info(done.path)))


def test_files_that_state_no_window_and_use_few_of_their_bits_are_refused_until_told(task, delivered):
    for number, row in enumerate(delivered.rows):
        delivered.file(row["image"]).write_bytes(dicom(ramp(0, 1000, number)))  # of 12 bits
    with pytest.raises(UserError, match="source a: 12 images are 16-bit files that use only"):
        run(task, delivered)
    assert check_data_set(run(task, delivered, window="minmax").path).ok
