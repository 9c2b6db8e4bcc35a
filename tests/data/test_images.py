import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from divsal_bench.data import decoding, images, saliency_maps
from divsal_bench.data.damage import NotAnImage

pytestmark = pytest.mark.fast


def encode(image: Image.Image, kind: str = "PNG", **save) -> bytes:
    file = io.BytesIO()
    image.save(file, format=kind, **save)
    return file.getvalue()


def reopened(image: Image.Image, kind: str = "PNG", **save) -> decoding.Picture:
    return decoding.decode_image(encode(image, kind, **save))


def plain(image: Image.Image) -> decoding.Picture:
    return decoding.Picture(image, None)


RAMP = np.arange(120, dtype=np.uint8).reshape(10, 12) * 2
GREY = Image.fromarray(RAMP)
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8))


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "PA"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_gives_the_same_grey(mode, channels):
    image = GREY.convert(mode) if mode != "PA" else GREY.convert("P").convert("PA")
    # No format stores PA; a GIF or PNG with a transparent colour can be read as it.
    image = plain(image) if mode == "PA" else reopened(image)
    assert image.image.mode == mode
    pixels = np.asarray(images.image_pixels(image, channels, 10))
    expected = np.asarray(GREY.resize((10, 10), Image.Resampling.BILINEAR))
    assert pixels.shape == (channels, 10, 10)
    assert pixels.dtype == np.uint8
    assert (np.abs(pixels.astype(int) - expected) <= 1).all()


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_cut(kind):
    values = np.linspace(0, 65535, 100).round().astype(np.uint16).reshape(10, 10)
    image = reopened(Image.fromarray(values), kind)
    assert image.image.mode.startswith("I")
    assert (images.image_pixels(image, 1, 10)[0] == np.round(values / 65535 * 255)).all()
    assert (saliency_maps.map_values(image) == np.round(values / 65535 * 255)).all()


def test_sixteen_bits_in_the_mode_of_older_pillow():
    values = np.array([[0, 257], [65535, 32896]], np.int32)
    assert images.image_pixels(plain(Image.fromarray(values)), 1, 2)[0].tolist() == [[0, 1], [255, 128]]


def test_one_bit_images():
    image = reopened(Image.fromarray(RAMP > 100))
    assert image.image.mode == "1"
    assert (images.image_pixels(image, 1, 10) == images.image_pixels(plain(image.image.convert("L")), 1, 10)).all()
    assert set(np.unique(saliency_maps.map_values(image))) == {0, 255}


def test_colours_keep_their_channel_order():
    red = reopened(Image.new("RGB", (4, 4), (200, 100, 50)))
    assert images.image_pixels(red, 3, 2)[:, 0, 0].tolist() == [200, 100, 50]


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_exif_turns_image_and_map_alike(turn, kind):
    exif = Image.Exif()
    exif[0x0112] = turn
    dot = np.zeros((24, 32), np.uint8)
    dot[:8, :16] = 255  # in one corner and not square: every orientation is told apart
    image = reopened(Image.fromarray(dot), kind, exif=exif)
    saliency = reopened(Image.fromarray(dot))
    saliency = saliency_maps.align(saliency, image)
    tagged = Image.fromarray(dot)
    tagged.getexif()[0x0112] = turn
    upright = np.asarray(ImageOps.exif_transpose(tagged).resize((8, 8), Image.Resampling.BOX))
    assert (saliency_maps.resized_map(saliency, 8) > 127).tolist() == (upright > 127).tolist()
    assert ((images.image_pixels(image, 1, 8)[0] > 127) == (upright > 127)).all()


def test_a_map_with_an_orientation_of_its_own_keeps_it():
    exif = Image.Exif()
    exif[0x0112] = 6
    image = reopened(GREY, "JPEG", exif=exif)
    exif[0x0112] = 1
    upright_map = reopened(GREY.transpose(Image.Transpose.ROTATE_270), exif=exif)
    upright_map = saliency_maps.align(upright_map, image)
    assert (saliency_maps.resized_map(upright_map, 10) == np.asarray(upright_map.image.resize((10, 10), 4))).all()
    with pytest.raises(NotAnImage, match="12 x 10 pixels, but its image is 10 x 12 once both are turned"):
        saliency_maps.align(reopened(GREY, exif=exif), image)


def test_maps_of_zeros_and_ones_are_masks():
    ones = (RAMP > 100).astype(np.uint8)
    for image in (Image.fromarray(ones), Image.fromarray(ones.astype(np.uint16))):
        assert (saliency_maps.map_values(reopened(image)) == ones * 255).all()
    # Scaled before resizing: afterwards, fractions of 1 would all be 0.
    half = plain(Image.fromarray(np.array([[0, 1]], np.uint8)))
    assert saliency_maps.resized_map(half, 1).tolist() == [[128]]


def test_transparent_parts_of_a_map_hold_no_evidence():
    overlay = Image.new("RGBA", (2, 1), (255, 255, 255, 0))
    overlay.putpixel((0, 0), (255, 255, 255, 255))
    assert saliency_maps.map_values(reopened(overlay)).tolist() == [[255, 0]]


def test_images_shrink_smoothly_and_maps_by_area():
    stripes = Image.fromarray(np.tile(np.array([0, 255], np.uint8), (64, 32)))
    assert np.ptp(images.image_pixels(plain(stripes), 1, 8)) < 20  # without antialiasing: 0 or 255
    quarter = np.zeros((4, 4), np.uint8)
    quarter[0, 0] = 255
    assert saliency_maps.resized_map(plain(Image.fromarray(quarter)), 2).tolist() == [[64, 0], [0, 0]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"\x89PNG\r\n\x1a\n", "truncated|not an image"),
        (encode(NOISE)[:-200], "truncated"),
        (encode(NOISE, "JPEG")[:-20], "truncated"),
        (encode(NOISE, "TIFF")[:-20], "truncated"),
        (encode(NOISE)[:60], "truncated"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n", "not an image"),
        (encode(Image.fromarray(np.zeros((2, 2), np.float32)), "TIFF"), "floating point"),
        (encode(Image.fromarray(np.full((2, 2), 70000, np.int32)), "TIFF"), "beyond 0 to 65535"),
        (encode(Image.fromarray(np.full((2, 2), -1, np.int32)), "TIFF"), "beyond 0 to 65535"),
    ],
)
def test_refusals(data, message):
    with pytest.raises(NotAnImage, match=message):
        decoding.decode_image(data)


def test_a_picture_bomb_is_refused(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    with pytest.raises(NotAnImage, match="is too large"):
        decoding.decode_image(encode(GREY))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_is_ignored():
    data = encode(GREY, "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")
    assert decoding.decode_image(data).turn is None


def test_colour_spaces_without_a_known_way_to_rgb_are_refused():
    lab = Image.new("LAB", (4, 4))
    with pytest.raises(NotAnImage, match="LAB"):
        reopened(lab, "TIFF")
