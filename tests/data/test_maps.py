"""Maps in other values, bits and colours: what they mean is the same, or it is asked for."""

import numpy as np
import pytest
from depths import encoded, palette
from PIL import Image

from divsal_bench.data import arrays, catalogue, colormaps, decoding, saliency_maps
from divsal_bench.data.canonical import read_entries, read_info
from divsal_bench.data.check import check_data_set
from divsal_bench.data.prepare import prepare_data_set
from divsal_bench.errors import UserError
from divsal_bench.tasks.adapters.manifest_csv import ADAPTER

pytestmark = pytest.mark.fast

MASK = np.zeros((10, 12), np.uint8)
MASK[:5, :6] = 1
DENSITY = np.linspace(0, 1, 120).reshape(10, 12)


def run(task, delivered, **options):
    return prepare_data_set(task, ADAPTER, delivered.save(), delivered.folder.parent / "out", options, force=True)


def give(delivered, make):
    """Give every map of the data set one content."""
    rows = [row for row in delivered.rows if row["saliency"]]
    for row in rows:
        delivered.file(row["saliency"]).write_bytes(make)
    return len(rows)


def maps_of(task, delivered, home, **options):
    """The maps that training sees at their own size, and how many there are for prepare, for check and for a run."""
    done = run(task, delivered, **options)
    report = check_data_set(done.path)
    data = arrays.load_arrays(task, catalogue.resolve(task, str(done.path)), 10)
    counts = sum(c.maps for c in done.counts), sum(c.maps for c in report.counts), int(data.rows["has_map"].sum())
    values = [
        saliency_maps.map_values(decoding.decode_image(entry.saliency))
        for entry in read_entries(done.path, read_info(done.path))
        if entry.saliency is not None
    ]
    return values, counts, done.notices


def colours(colour, alpha=None):
    bands = [Image.fromarray(MASK * np.uint8(value)) for value in colour]
    bands += [] if alpha is None else [Image.fromarray(np.where(MASK == 1, alpha[0], alpha[1]).astype(np.uint8))]
    return Image.merge({1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[len(bands)], bands)


MASKS = {
    **{f"0 and {value}, {np.dtype(kind).itemsize * 8} bits": encoded((MASK * value).astype(kind), where)
       for value in (1, 2, 100, 255) for kind, where in (("u1", "PNG"), ("u2", "PNG"), ("i4", "TIFF"))},
    "0 and 65535": encoded(MASK.astype(np.uint16) * 65535),
    "one bit": encoded(Image.fromarray(MASK == 1)),
    "7 and 9": encoded(MASK * 2 + 7),
    "grey as RGB": encoded(colours((255, 255, 255))),
    "red on black": encoded(colours((255, 0, 0))),
    "dark blue on black": encoded(colours((0, 0, 4))),
    "red on transparent": encoded(colours((255, 0, 0), (128, 0))),
    "white on transparent": encoded(colours((255,), (255, 0))),
    "a palette of dark red": palette(MASK, [0, 0, 0, 128, 0, 0]),
    "a palette of dark blue": palette(MASK, [0, 0, 0, 0, 0, 4]),
    "a palette with white first": palette(1 - MASK, [255, 255, 255, 0, 0, 0]),
    "a palette with a transparent ground": palette(MASK, [90, 20, 10, 255, 0, 0], transparency=0),
    "a GIF": encoded(Image.fromarray(MASK * np.uint8(255)), "GIF"),
}  # fmt: skip


ORDINARY = {
    "0 and 255, 8 bits", "one bit", "a GIF", "grey as RGB", "white on transparent", "a palette with white first"
}  # fmt: skip


@pytest.mark.parametrize("name", MASKS)
def test_a_map_of_two_values_is_a_mask_whatever_they_are(task, delivered, home, name):
    given = give(delivered, MASKS[name])
    values, counts, notices = maps_of(task, delivered, home)
    assert all((found == MASK * 255).all() for found in values)
    assert counts == (given, given, given)
    plain = name in ORDINARY
    assert plain or f"source a: {given} maps are masks in other values, bits or colours" in notices[0]
    assert len(notices) == (0 if plain else 1)


def drawn(name):
    return colormaps.colours_of_map(name)[np.rint(DENSITY * 255).astype(np.uint8)]


OVERLAY = np.dstack([drawn("jet"), np.rint(DENSITY * 200).astype(np.uint8)])
UNCLEAR = {
    "jet": encoded(drawn("jet")),
    "viridis as JPEG": encoded(drawn("viridis"), "JPEG", quality=95),
    "an overlay with transparency": encoded(OVERLAY),
    "two colours": encoded(np.where(MASK[..., None] == 1, [255, 0, 0], [0, 0, 255]).astype(np.uint8)),
    "a red gradient": encoded(np.dstack([np.rint(DENSITY * 255), DENSITY * 0, DENSITY * 0]).astype(np.uint8)),
    "classes of a palette": palette(MASK + 2 * (np.arange(12) > 8), [0, 0, 0, 128, 0, 0, 0, 128, 0]),
    "black on transparent": encoded(colours((0,), (255, 0))),
    "black on transparent, in colours": encoded(colours((0, 0, 0), (255, 0))),
}


@pytest.mark.parametrize("name", UNCLEAR)
def test_a_map_whose_channels_differ_is_refused_with_the_cure(task, delivered, name):
    given = give(delivered, UNCLEAR[name])
    with pytest.raises(UserError, match=r"row 3 .*the map .*(colour picture|black on transparent)") as caught:
        run(task, delivered)
    assert f"({given - 1} more like this: " in str(caught.value)
    assert "--option map=WAY, one of red, green, blue, alpha, index, colormap:jet" in str(caught.value)


@pytest.mark.parametrize("name", ["jet", "black on transparent"])
def test_it_is_a_problem_of_check_and_no_run_reads_it(task, delivered, home, name):
    import dataclasses

    from divsal_bench.data import writer

    done = run(task, delivered)
    info = read_info(done.path)
    rows = [
        dataclasses.replace(entry, saliency=UNCLEAR[name] if entry.saliency else None)
        for entry in read_entries(done.path, info)
    ]
    out = delivered.folder.parent / "old"
    writer.write_data_set(out, rows, task="cxr", class_names=info.class_names, adapter="test", sources=info.sources)
    assert "the map of 'img/train-a-1.png' is " in check_data_set(out).problems[0]
    with pytest.raises(UserError, match=r"the map of sample 'img/train-a-1\.png' is .*prepare the data again"):
        arrays.load_arrays(task, catalogue.resolve(task, str(out)), 10)


TOLD = {
    "red": (encoded(colours((200, 0, 0))), "red", MASK * 255),
    "green of a density": (encoded(np.dstack([MASK, DENSITY * 255, MASK]).astype(np.uint8)), "green", DENSITY * 255),
    "alpha": (UNCLEAR["black on transparent"], "alpha", MASK * 255),
    "alpha of an overlay": (UNCLEAR["an overlay with transparency"], "alpha", DENSITY * 200),
    "index": (UNCLEAR["classes of a palette"], "index", ((MASK + 2 * (np.arange(12) > 8)) > 0) * 255),
    **{name: (encoded(drawn(name)), f"colormap:{name}", DENSITY * 255) for name in colormaps.NAMES},
    "jet as JPEG": (encoded(drawn("jet"), "JPEG", quality=95, subsampling=0), "colormap:jet", DENSITY * 255),
}


@pytest.mark.parametrize("name", TOLD)
def test_a_map_is_read_as_told(task, delivered, home, name):
    content, way, expected = TOLD[name]
    given = give(delivered, content)
    values, counts, notices = maps_of(task, delivered, home, map=way)
    assert np.abs(values[0] - expected).max() <= (40 if "JPEG" in name else 5)
    assert np.abs(values[0] - expected).mean() <= (6 if "JPEG" in name else 1)
    assert counts == (given, given, given)
    assert f"{given} maps are read as map={way}" in notices[0]
    assert read_info(delivered.folder.parent / "out").readings == {"a": {"map": way}}


@pytest.mark.parametrize(
    ("content", "way", "message"),
    [
        (encoded(colours((255, 0, 0))), "alpha", "has no transparency"),
        (encoded(colours((255, 0, 0))), "index", "has no palette"),
        (encoded(MASK.astype(np.uint16)), "red", "grey of 16 bits and has no colours"),
        (encoded(drawn("hot")), "colormap:viridis", "other colours than the colour map viridis"),
    ],
)
def test_a_map_that_cannot_be_read_as_told(task, delivered, content, way, message):
    give(delivered, content)
    with pytest.raises(UserError, match=message):
        run(task, delivered, map=way)


def test_colour_maps_are_undone_to_a_few_of_256_values():
    pytest.importorskip("matplotlib")
    import matplotlib

    for name in colormaps.NAMES:
        theirs = np.rint(matplotlib.colormaps[name](np.arange(256))[None, :, :3] * 255).astype(np.uint8)
        found = colormaps.undone(theirs, name)[0].astype(int)
        assert np.abs(found - np.arange(256)).max() <= 6


@pytest.mark.parametrize(("kind", "full"), [(np.uint8, 255), (np.uint16, 65535)])
def test_grey_maps_are_scaled_by_the_largest_value_of_their_source(task, delivered, home, kind, full):
    top = full // 4
    rows = [row for row in delivered.rows if row["saliency"]]
    for row, share in zip(rows, (1, 0.5, 0.25, 1), strict=True):
        delivered.file(row["saliency"]).write_bytes(encoded(np.rint(DENSITY * share * top).astype(kind)))
    values, counts, notices = maps_of(task, delivered, home)
    assert [int(found.max()) for found in sorted(values, key=np.max)] == pytest.approx([64, 128, 255, 255], abs=2)
    assert counts == (4, 4, 4)
    assert notices == (f"source a: 4 grey maps reach no more than {top} of {full}; {top} is read as the largest.",)


@pytest.mark.parametrize(("kind", "full"), [(np.uint8, 255), (np.uint16, 65535)])
def test_grey_maps_that_use_their_range_are_kept_byte_for_byte(task, delivered, home, kind, full):
    content = encoded(np.rint(DENSITY * 0.9 * full).astype(kind))
    give(delivered, content)
    done = run(task, delivered)
    assert done.notices == ()
    assert {e.saliency for e in read_entries(done.path, read_info(done.path)) if e.saliency} == {content}


def test_a_map_without_evidence_counts_nowhere(task, delivered, home):
    given = give(delivered, encoded(MASK * np.uint8(255)))
    for row, content in zip(
        (row for row in delivered.rows if row["saliency"]),
        (encoded(MASK * np.uint8(0)), encoded(MASK.astype(np.uint16) * 0 + 900), encoded(colours((9,), (0, 0)))),
        strict=False,
    ):
        delivered.file(row["saliency"]).write_bytes(content)
    _, counts, notices = maps_of(task, delivered, home)
    assert counts == (given - 3,) * 3
    assert notices == ("3 maps have the same value everywhere; methods treat them as no map.",)


@pytest.mark.parametrize("size", [7, 32, 224])
def test_dots_of_one_pixel_in_a_large_picture_stay(size):
    dots = np.zeros((2400, 1800), np.uint8)
    dots[700::400, 500::700] = 255
    small = saliency_maps.resized_map(decoding.Picture(Image.fromarray(dots), None), size)
    assert small.max() == 255
    assert (small > 0).sum() >= (4 if size == 7 else (dots > 0).sum())
    # A mask of ordinary size is pooled as it always was.
    patch = np.zeros((2400, 1800), np.uint8)
    patch[300:900, 300:901] = 255
    expected = np.asarray(Image.fromarray(patch).resize((size, size), Image.Resampling.BOX))
    assert (saliency_maps.resized_map(decoding.Picture(Image.fromarray(patch), None), size) == expected).all()
