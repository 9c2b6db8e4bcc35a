"""Images of 16 bits: one window a source, told or refused, and where it is kept."""

import io
import json

import numpy as np
import pytest
from depths import encoded, ramp, tiff
from PIL import Image

from divsal_bench.data import decoding, images
from divsal_bench.data.canonical import read_entries, read_info
from divsal_bench.data.check import check_data_set
from divsal_bench.data.fingerprint import bytes_digest
from divsal_bench.data.prepare import prepare_data_set
from divsal_bench.errors import UserError
from divsal_bench.tasks.adapters.manifest_csv import ADAPTER

pytestmark = pytest.mark.fast


def run(task, delivered, **options):
    return prepare_data_set(task, ADAPTER, delivered.save(), delivered.folder.parent / "out", options, force=True)


def fill(delivered, low, high, source="a", make=lambda values: encoded(values)):
    """Give every image of a source 16 bits; returns what they hold, by name."""
    values = {}
    for number, row in enumerate(row for row in delivered.rows if row["source"] == source):
        values[row["image"]] = ramp(low, high, 100 * len(source) + number)
        delivered.file(row["image"]).write_bytes(make(values[row["image"]]))
    return values


def kept(folder):
    return {entry.sample_id: entry for entry in read_entries(folder, read_info(folder))}


LOW = {
    "12 bits": (0, 4095, encoded, r"only their lowest 12 bits \(largest value 4095\): 17 grey levels", "12bit"),
    "10 bits": (0, 1000, encoded, r"lowest 10 bits \(largest value 1000\): 5 grey levels", "10bit"),
    "8 bits in 16": (0, 255, encoded, r"lowest 8 bits \(largest value 255\): 2 grey levels", "0:255"),
    "15 bits, signed": (0, 32767, lambda values: tiff(values.astype("<i2"), signed=True), "lowest 15 bits", "15bit"),
    "12 bits in 32": (0, 4095, lambda values: tiff(values.astype("<i4"), signed=True), "lowest 12 bits", "12bit"),
    "12 bits in a TIFF": (0, 4095, lambda values: encoded(values, "TIFF"), "lowest 12 bits", "minmax"),
    "12 bits from the middle on": (32768, 36863, encoded, "only 32768 to 36863: 17 grey levels", "32768:36863"),
}


@pytest.mark.parametrize("name", LOW)
def test_a_source_that_leaves_most_of_16_bits_unused_is_refused_until_it_is_told(task, delivered, name):
    low, high, make, message, window = LOW[name]
    values = fill(delivered, low, high, make=make)
    with pytest.raises(UserError, match=rf"^source a: 12 images .*{message}.*--option window=") as caught:
        run(task, delivered)
    assert "\n" not in str(caught.value)
    done = run(task, delivered, window=window)
    info = json.loads((done.path / "divsal.json").read_text())
    assert list(info["readings"]) == ["a"]
    bottom, top = (int(number) for number in info["readings"]["a"]["window"].split(":"))
    assert bottom <= low < high <= top
    expected = np.clip((values["img/train-a-0.png"].astype(float) - bottom) / (top - bottom), 0, 1)
    read_again = np.asarray(Image.open(io.BytesIO(kept(done.path)["img/train-a-0.png"].image)))
    assert np.abs(read_again - expected * 255).max() <= 0.5
    assert f"source a: 12 images of 16 bits are read with {bottom} as black and {top} as white" in done.notices[-1]
    report = check_data_set(done.path)
    assert report.ok
    assert report.warnings == ()


def test_data_prepared_without_a_window_is_a_problem_of_check(task, delivered, monkeypatch):
    from divsal_bench.data import reading

    fill(delivered, 0, 4095)
    with monkeypatch.context() as patch:  # as before windows were asked for
        patch.setattr(reading, "_LEAST_SPAN", 0)
        out = run(task, delivered).path
    (problem,) = check_data_set(out).problems
    assert problem.startswith("source a: 12 images are 16-bit files that use only their lowest 12 bits")


def test_minmax_is_that_of_the_source_and_not_of_each_image(task, delivered):
    fill(delivered, 100, 3000)
    dark = ramp(100, 1500, 7)
    delivered.file("img/train-a-0.png").write_bytes(encoded(dark))
    done = run(task, delivered, window="minmax")
    assert read_info(done.path).readings == {"a": {"window": "100:3000"}}
    found = np.asarray(Image.open(io.BytesIO(kept(done.path)["img/train-a-0.png"].image)))
    assert found.max() == round(1400 / 2900 * 255)


def test_each_source_can_have_a_window_of_its_own(task, delivered):
    fill(delivered, 0, 4095)
    fill(delivered, 0, 1023, "b")
    done = run(task, delivered, **{"window": "12bit", "window:b": "10bit"})
    assert read_info(done.path).readings == {"a": {"window": "0:4095"}, "b": {"window": "0:1023"}}


def test_windows_make_other_fingerprints(task, delivered):
    fill(delivered, 0, 4095)
    assert run(task, delivered, window="12bit").fingerprint != run(task, delivered, window="0:4000").fingerprint


@pytest.mark.parametrize("window", ["", "12bit", "minmax"])
def test_a_source_of_two_depths_is_refused(task, delivered, window):
    fill(delivered, 0, 65535)
    for name in ("img/train-a-0.png", "img/val-a-1.png"):
        delivered.file(name).write_bytes(encoded(ramp(0, 4095, len(name))))
    with pytest.raises(UserError, match=r"source a: 12 images have 16 bits, .*(2 reach no more than 4095|10 of them)"):
        run(task, delivered, **({"window": window} if window else {}))
    assert run(task, delivered, window="0:65535").notices  # where the dark ones are meant to be dark


def test_full_16_bits_and_8_bits_beside_a_window_are_kept_byte_for_byte(task, delivered):
    fill(delivered, 0, 4095)
    eight = kept(run(task, delivered, window="12bit").path)["img/test-b-0.png"].image
    assert eight == delivered.file("img/test-b-0.png").read_bytes()
    fill(delivered, 20, 65000)
    done = run(task, delivered)
    assert done.notices == ()
    assert read_info(done.path).readings == {}
    assert all(entry.image == delivered.file(name).read_bytes() for name, entry in kept(done.path).items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": "12"}, "write 12bit, minmax or LO:HI"),
        ({"window": "4095:0"}, "write 12bit"),
        ({"window": "0:70000"}, "write 12bit"),
        ({"window": "8bit"}, "write 12bit"),
        ({"window": ""}, "write 12bit"),
        ({"window:c": "12bit"}, r"for a source that is not there \(a, b\)"),
        ({"window": "12bit", "window:b": "12bit"}, "b has no 16-bit images"),
        ({"map": "purple"}, "unknown value of the option map"),
        ({"map:b": "red"}, "b has no maps"),
        ({"windows": "12bit"}, "Did you mean 'window'"),
    ],
)
def test_options_that_mean_nothing(task, delivered, options, message):
    if "window" in options:
        fill(delivered, 0, 4095)
    with pytest.raises(UserError, match=message):
        run(task, delivered, **options)


def test_a_window_without_any_16_bit_image(task, delivered):
    with pytest.raises(UserError, match="the data has no 16-bit images; leave it out"):
        run(task, delivered, window="12bit")


@pytest.mark.parametrize("dtype", ["u1", "<u2"])
def test_white_is_zero(dtype):
    values = (np.arange(120).reshape(10, 12) * (2 if dtype == "u1" else 500)).astype(dtype)
    black = images.image_pixels(decoding.decode_image(tiff(values, 1)), 1, 10)
    white = images.image_pixels(decoding.decode_image(tiff(values, 0)), 1, 10)
    assert np.abs(white.astype(int) - (255 - black.astype(int))).max() <= 1


def test_white_is_zero_is_inverted_inside_the_window(task, delivered):
    values = fill(delivered, 0, 4095, make=lambda values: tiff(values.astype("<u2"), 0))
    done = run(task, delivered, window="12bit")
    found = np.asarray(Image.open(io.BytesIO(kept(done.path)["img/train-a-0.png"].image)))
    expected = (4095 - values["img/train-a-0.png"].astype(float)) / 4095 * 255
    assert np.abs(found - expected).max() <= 0.5


def test_what_is_written_anew_has_the_same_bytes_everywhere():
    from divsal_bench.data import png

    pixels = np.arange(300 * 301 * 3, dtype=np.uint32).astype(np.uint8).reshape(300, 301, 3)
    for some in (pixels, pixels[..., 0], pixels[:1, :1]):
        assert (np.asarray(decoding.decode_image(png.encode(some)).image) == some).all()
        assert (np.asarray(decoding.decode_image(png.encode(some, upright=True)).image) == some).all()
    assert decoding.decode_image(png.encode(pixels, upright=True)).turn == 1
    # No compressor takes part, so that this is true with every version of every zlib.
    assert bytes_digest(png.encode(pixels[..., 0]))[:16] == "3545dbe6cc3426d3"


def test_turned_images_and_their_maps_stay_together(task, delivered):
    from divsal_bench.data import arrays, catalogue

    exif = Image.Exif()
    exif[0x0112] = 6
    fill(delivered, 0, 4095, make=lambda values: encoded(values, exif=exif))
    dot = np.zeros((10, 12), np.uint8)
    dot[:5, :6] = 255
    delivered.file("img/train-a-1.map.png").write_bytes(encoded(dot))
    done = run(task, delivered, window="12bit")
    entry = kept(done.path)["img/train-a-1.png"]
    assert (
        decoding.decode_image(entry.image).image.size
        == decoding.decode_image(entry.saliency or b"").image.size
        == (10, 12)
    )
    data = arrays.load_arrays(task, catalogue.resolve(task, str(done.path)), 10)
    turned = np.asarray(Image.fromarray(dot).transpose(Image.Transpose.ROTATE_270).resize((10, 10), 4))
    row = data.rows.index[data.rows["sample_id"] == "img/train-a-1.png"][0]
    assert (data.maps[row] == turned).all()
