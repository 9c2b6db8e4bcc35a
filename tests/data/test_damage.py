"""Files that are damaged, too large, of several pages or see-through: one kind of refusal, or one visible picture."""

import io
import os
import random
import struct
import subprocess
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from depths import encoded, palette, ramp
from PIL import Image, TiffImagePlugin

from divsal_bench.data import decoding, duplicates, images, reading, saliency_maps
from divsal_bench.data.damage import NotAnImage

NOISE = np.random.default_rng(1).integers(0, 256, (20, 24, 3), np.uint8)
GREY = Image.fromarray(NOISE[..., 0])


def used(data: bytes) -> None:
    """Everything that is done with a file that was taken."""
    picture = decoding.decode_image(data)
    images.image_pixels(picture, 1, 8)
    images.image_pixels(picture, 3, 8)
    reading.image_facts(picture)
    duplicates.pixel_digest(picture)
    duplicates.print_of(picture)
    for way in ("", *saliency_maps.MAP_READINGS):
        try:
            saliency_maps.map_values(saliency_maps.align(picture, picture), way)
        except NotAnImage:
            continue


FILES = {
    "PNG": encoded(NOISE),
    "PNG, grey": encoded(GREY),
    "PNG, 16 bits": encoded(ramp(0, 65535)),
    "PNG, palette": palette(NOISE[..., 0] % 7, list(range(21)), transparency=3),
    "PNG, transparent": encoded(np.dstack([NOISE, NOISE[..., 0]])),
    "JPEG": encoded(NOISE, "JPEG"),
    "JPEG, CMYK": encoded(Image.fromarray(NOISE).convert("CMYK"), "JPEG"),
    "TIFF": encoded(NOISE, "TIFF"),
    "TIFF, deflate": encoded(NOISE, "TIFF", compression="tiff_adobe_deflate"),
    "TIFF, LZW": encoded(NOISE, "TIFF", compression="tiff_lzw"),
    "TIFF, 16 bits": encoded(ramp(0, 65535), "TIFF"),
    "BMP": encoded(NOISE, "BMP"),
    "WEBP": encoded(NOISE, "WEBP"),
    "GIF": encoded(GREY, "GIF"),
    "PPM": encoded(NOISE, "PPM"),
    "JPEG2000": encoded(NOISE, "JPEG2000"),
}


def with_sums_mended(data: bytes) -> bytes:
    """A PNG whose checksums fit its changed content, so that the change reaches the decoder."""
    out, at = bytearray(data[:8]), 8
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        body = data[at + 4 : at + 8 + size]
        if len(body) < 4 + size:
            break
        out += data[at : at + 8 + size] + struct.pack(">I", zlib.crc32(body))
        at += 12 + size
    return bytes(out)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", FILES)
def test_whatever_a_damaged_file_makes_its_decoder_raise_is_a_refusal(kind):
    dice, whole, refused = random.Random(kind), FILES[kind], []
    used(whole)
    for turn in range(150):
        data = bytearray(whole)
        for _ in range(dice.randint(1, 3)):
            data[dice.randrange(len(data) if turn % 2 else min(len(data), 120))] = dice.randrange(256)
        if turn % 5 == 0:
            data = data[: dice.randrange(len(data))]
        damaged = with_sums_mended(bytes(data)) if kind.startswith("PNG") and turn % 3 else bytes(data)
        try:
            used(damaged)
        except NotAnImage as error:
            refused.append(str(error))
    assert refused
    assert all(text and "\n" not in text for text in refused)


@pytest.mark.parametrize("kind", [kind for kind in FILES if kind.startswith("PNG")])
def test_every_flipped_bit_of_a_png_is_found(kind):
    # But those of its end, which holds nothing.
    dice, whole = random.Random(kind), FILES[kind]
    for _ in range(300):
        data = bytearray(whole)
        data[dice.randrange(8, len(data) - 12)] ^= 1 << dice.randrange(8)
        with pytest.raises(NotAnImage):
            decoding.decode_image(bytes(data))


PAGES = [GREY, Image.fromarray(NOISE[..., 1]), Image.fromarray(NOISE[..., 2])]


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "PNG", "WEBP"])
def test_files_of_several_pages_are_refused(kind):
    with pytest.raises(NotAnImage, match="has pages or frames 1 to 3, of which one would be read"):
        decoding.decode_image(encoded(PAGES[0], kind, save_all=True, append_images=PAGES[1:]))
    assert decoding.decode_image(encoded(PAGES[0], kind)).image.size == (24, 20)


def test_the_second_picture_of_a_telephone_is_passed_by():
    found = decoding.decode_image(encoded(PAGES[0], "MPO", save_all=True, append_images=PAGES[1:]))
    assert np.abs(np.asarray(found.image.convert("L")).astype(int) - NOISE[..., 0]).mean() < 30


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000"])
def test_a_large_picture_is_refused_before_it_is_decoded(kind, monkeypatch):
    data = encoded(GREY, kind)
    monkeypatch.setattr(decoding, "MOST_PIXELS", 24 * 20 - 1)
    with pytest.raises(NotAnImage, match=r"is too large \(24 x 20 pixels; up to 479 are read\)"):
        decoding.decode_image(data)
    monkeypatch.setattr(decoding, "MOST_PIXELS", 24 * 20)
    decoding.decode_image(data)


@pytest.mark.parametrize("side", [9000, 11000, 20000])
def test_it_is_one_line_where_warnings_are_errors(side, tmp_path):
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    packed = zlib.compress(bytes((side // 8 + 1) * 8))
    large = tmp_path / "large.png"
    large.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b""))
    code = (
        "import pathlib, sys; from divsal_bench.data.damage import NotAnImage\n"
        "from divsal_bench.data.decoding import decode_image\n"
        "try: decode_image(pathlib.Path(sys.argv[1]).read_bytes())\n"
        "except NotAnImage as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(large)], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("is too large (")
    assert done.stderr == ""


def frame(hidden, mode="LA"):
    """A picture with a transparent frame, and what an editor left under it."""
    alpha = np.zeros((20, 24), np.uint8)
    alpha[4:-4, 4:-4] = 255
    bands = [np.where(alpha == 0, np.uint8(hidden), NOISE[..., n]) for n in range(len(mode) - 1)]
    return encoded(Image.merge(mode, [Image.fromarray(band) for band in (*bands, alpha)]))


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_lies_under_transparent_parts_is_not_seen(mode, channels):
    found = [images.image_pixels(decoding.decode_image(frame(hidden, mode)), channels, 16) for hidden in (0, 90, 255)]
    assert (found[0] == found[1]).all()
    assert (found[0] == found[2]).all()
    assert found[0][:, 0].max() == 0
    assert reading.image_facts(decoding.decode_image(frame(90, mode))).see_through
    assert len({duplicates.pixel_digest(decoding.decode_image(frame(hidden, mode))) for hidden in (0, 90, 255)}) == 1


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_an_opaque_alpha_changes_nothing(mode):
    without = Image.fromarray(NOISE).convert(mode.removesuffix("A"))
    with_alpha = without.copy()
    with_alpha.putalpha(255)
    for channels in (1, 3):
        assert (
            images.image_pixels(decoding.decode_image(encoded(with_alpha)), channels, 16)
            == images.image_pixels(decoding.decode_image(encoded(without)), channels, 16)
        ).all()  # fmt: skip
    assert not reading.image_facts(decoding.decode_image(encoded(with_alpha))).see_through


def test_a_transparent_colour_of_a_palette_is_laid_over_black():
    data = palette(NOISE[..., 0] % 2, [200, 10, 10, 40, 50, 60], transparency=0)
    found = images.image_pixels(decoding.decode_image(data), 3, 24)
    shown = np.asarray(images.eight_bit_image(decoding.decode_image(data), 3))
    assert set(map(tuple, shown.reshape(-1, 3).tolist())) == {
        (0, 0, 0), (40, 50, 60)
    }  # fmt: skip
    assert found.shape == (3, 24, 24)


@pytest.mark.parametrize(
    "again",
    [
        encoded(GREY, compress_level=1),
        encoded(GREY, "TIFF"),
        encoded(GREY, "BMP"),
        encoded(GREY.convert("RGB")),
        encoded(GREY.convert("RGBA")),
        encoded(GREY.convert("LA")),
        encoded(GREY, "WEBP", lossless=True),
        encoded(GREY, "GIF"),
    ],
)
def test_a_picture_saved_again_is_the_same_picture(again):
    assert duplicates.pixel_digest(decoding.decode_image(again)) == duplicates.pixel_digest(
        decoding.decode_image(encoded(GREY))
    )


def test_other_pictures_are_other_pictures():
    some = [GREY, GREY.rotate(90, expand=True), Image.fromarray(NOISE), Image.fromarray(NOISE[..., 1])]
    some += [Image.fromarray(NOISE[..., 0] ^ 1), Image.fromarray(NOISE[..., 0].astype(np.uint16) * 257)]
    assert len({duplicates.pixel_digest(decoding.decode_image(encoded(one))) for one in some}) == len(some)


def smooth(seed: int) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (12, 14), np.uint8)
    return Image.fromarray(noise).resize((280, 240), Image.Resampling.BICUBIC)


def test_prints_of_a_picture_saved_with_loss_are_near_and_those_of_others_are_not():
    pictures = [smooth(seed) for seed in range(40)]
    prints = np.stack([duplicates.print_of(decoding.Picture(one, None)) for one in pictures])
    for change in (
        lambda one: Image.open(io.BytesIO(encoded(one, "JPEG", quality=50))),
        lambda one: one.resize((140, 120)),
        lambda one: one.point(lambda value: min(255, round(value * 0.8 + 10))),
    ):
        changed = np.stack([duplicates.print_of(decoding.Picture(change(one), None)) for one in pictures])
        index, bits = duplicates.nearest(changed, prints)
        assert index.tolist() == list(range(40))
        assert bits.max() <= duplicates.NEAR
    apart = [duplicates.nearest(prints[:n], prints[n:])[1].min() for n in (1, 20, 39)]
    assert min(apart) > duplicates.NEAR


def test_nearest_is_that_of_a_slow_search(monkeypatch):
    rng = np.random.default_rng(3)
    some, others = (rng.integers(0, 2**63, (n, 8), np.uint64) for n in (30, 17))
    slow = [[sum(int(a ^ b).bit_count() for a, b in zip(one, other, strict=True)) for other in others] for one in some]
    index, bits = duplicates.nearest(some, others)
    assert bits.tolist() == [min(row) for row in slow]
    assert index.tolist() == [row.index(min(row)) for row in slow]


def test_of_large_pictures_one_is_in_memory_at_a_time(monkeypatch):
    monkeypatch.setattr(decoding, "LARGE_PIXELS", 100)
    large, small = encoded(GREY), encoded(GREY.resize((5, 5)))
    together, most, failures = 0, 0, 0

    @decoding.one_large_at_a_time()
    def work(number: int) -> bool:
        nonlocal together, most, failures
        decoding.decode_image(small)
        decoding.decode_image(large)
        together += 1
        most = max(most, together)
        time.sleep(0.002)
        decoding.decode_image(large)  # its map: the same thread may have both
        together -= 1
        if number % 5 == 0:
            failures += 1
            raise NotAnImage("is refused")
        return True

    with ThreadPoolExecutor(6) as pool:
        futures = [pool.submit(work, number) for number in range(30)]
    assert sum(future.exception() is None for future in futures) == 24
    assert (most, failures) == (1, 6)
    decoding.decode_image(large)  # and nothing waits for ever


def test_the_pages_of_a_tiff_are_counted_to_a_hundred(monkeypatch):
    file = io.BytesIO()
    pages = [Image.fromarray(np.full((2, 2), number, np.uint8)) for number in range(120)]
    pages[0].save(file, "TIFF", save_all=True, append_images=pages[1:])
    monkeypatch.setattr(TiffImagePlugin.TiffImageFile, "n_frames", property(lambda image: 1 / 0))
    with pytest.raises(NotAnImage, match="has pages or frames 1 to 100 or more, of which one would be read"):
        decoding.decode_image(file.getvalue())


@pytest.mark.parametrize("size", [(4096, 4096), (64, 64)])
def test_a_jpeg_of_very_many_scans_is_refused_where_they_take_long(size):
    file = io.BytesIO()
    Image.new("L", size).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    start = data.index(b"\xff\xda")
    many = data[:start] + data[start:-2] * 40 + data[-2:]
    assert decoding.decode_image(data).image.size == size
    if size == (64, 64):
        assert decoding.decode_image(many).image.size == size
        return
    with pytest.raises(NotAnImage, match=r"is a JPEG of 2\d\d scans, which would take very long"):
        decoding.decode_image(many)


def test_what_follows_a_jpeg_is_no_scan_of_it():
    file = io.BytesIO()
    Image.new("L", (4096, 4096)).save(file, "JPEG")
    assert decoding.decode_image(file.getvalue() + b"\xff\xda\x00\x02" * 1000).image.size == (4096, 4096)


def test_a_large_transparent_image_is_laid_over_black_in_parts(monkeypatch):
    largest = []
    usual = Image.alpha_composite
    monkeypatch.setattr(Image, "alpha_composite", lambda one, two: largest.append(one.size) or usual(one, two))
    shown = images.eight_bit_image(decoding.Picture(Image.new("RGBA", (256, 4100), (9, 3, 200, 100)), None), 3)
    assert len(shown.getcolors()) == 1
    assert shown.getpixel((255, 4099)) == (4, 1, 78)
    assert {width * height for width, height in largest} <= {256 * 256, 256 * 4}
