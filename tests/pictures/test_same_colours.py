"""One palette and one scale: a difference map has the same colours wherever it is shown."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from divsal_bench.explanation import data_set_pictures, image_figure
from divsal_bench.explanation.image import Explanation, ShownMap
from divsal_bench.leaderboard.web import page_gallery
from divsal_bench.pictures import colours, figure
from divsal_bench.prediction import overlay
from divsal_bench.prediction.prediction import Prediction

pytestmark = pytest.mark.fast

#: In logits; what is 0 must not be seen, and −2 must not be as strong as 4.
DIFFERENCE = np.array([[0, 4, 2, 1], [0, 3, 1, 0], [-1, 0, 0, -2], [-2, -1, 0, -2]], np.float64)
GREY = np.full((64, 64), 128, np.uint8)


def centres(picture: Image.Image) -> np.ndarray:
    """The colour at the middle of each cell, (4, 4, 3)."""
    cells = np.asarray(picture.convert("RGB"), np.int16)
    at = [round((i + 0.5) * len(cells) / 4) for i in range(4)]
    return cells[np.ix_(at, at)]


def in_data_url(address: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))


def predicted() -> Image.Image:
    """``predict --overlay``."""
    one = Prediction("x.png", 0.5, 0.6, "b", "", GREY[None], DIFFERENCE.astype(np.float32))
    side = 4 * 64  # the smallest whole number of times that makes a panel
    left, top = side + 2 * overlay.SPACE, overlay.SPACE
    return overlay.overlay_picture(one, ("a", "b"), 0.0).crop((left, top, left + side, top + side))


def explained() -> Image.Image:
    """``explain`` of an image."""
    shown = ShownMap("difference", "", "", True, True, DIFFERENCE)
    found = Explanation("x.png", ("a", "b"), 1, True, (0.0, 0.5), 0.5, 1, (shown,), None, (), GREY[None], None)
    left, top = figure.GAP + figure.SIDE + figure.GAP, figure.GAP + 2 * figure.LINE + figure.TITLE
    return Image.open(io.BytesIO(image_figure.explanation_png(found))).crop(
        (left, top, left + figure.SIDE, top + figure.SIDE)
    )


def reported() -> Image.Image:
    """``explain --set``."""
    panel = figure.Panel("", DIFFERENCE, figure.extent_of(DIFFERENCE), True)
    return in_data_url(data_set_pictures.map_on_image(GREY, panel, "").url)


def carded() -> Image.Image:
    """The figure of a model card."""
    panel = figure.Panel("", DIFFERENCE, figure.extent_of(DIFFERENCE), True)
    left, top = figure.GAP, figure.GAP + figure.TITLE
    return Image.open(io.BytesIO(figure.figure(GREY, [panel]))).crop((left, top, left + figure.SIDE, top + figure.SIDE))


def on_the_page() -> Image.Image:
    """The gallery of the web page, whose maps are laid over images by the browser."""
    tile = page_gallery.map_tiles((np.zeros((4, 4)).tolist(), DIFFERENCE.tolist()), 1, "x")[2]
    cells = in_data_url(tile.url).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", cells.size, (128, 128, 128, 255)), cells).resize((64, 64), 0)


@pytest.mark.parametrize("way", [explained, reported, carded, on_the_page])
def test_the_same_map_has_the_same_colours(way) -> None:  # type: ignore[no-untyped-def]
    expected = colours.coloured(0.5 + DIFFERENCE / 8, colours.DIVERGING).astype(float)
    opacity = expected[..., 3:] / 255
    expected = 128 * (1 - opacity) + expected[..., :3] * opacity
    for found in (centres(way()), centres(predicted())):
        assert np.abs(found - expected).max() <= 8
        assert np.abs(found[DIFFERENCE == 0] - 128).max() <= 3, "nothing is transparent"


@pytest.mark.parametrize(("name", "scale"), [("sequential", colours.SEQUENTIAL), ("diverging", colours.DIVERGING)])
def test_the_pages_legends_are_of_the_palette(name: str, scale: tuple[colours.Anchor, ...]) -> None:
    css = Path(page_gallery.__file__).with_name("templates").joinpath("page.css").read_text()
    (legend,) = (line for line in css.splitlines() if line.startswith(f".ramp.{name} "))
    for _, red, green, blue, opacity in scale:
        assert f"rgb({red} {green} {blue} / {f'{opacity / 2.55:.0f}%' if opacity else 0})" in legend


def test_nothing_is_transparent_in_a_small_palette() -> None:
    """Zero is one of its steps."""
    middle = colours.palette(colours.DIVERGING)[colours.LEVELS // 2]
    assert middle[3] == 0
    assert colours.palette(colours.SEQUENTIAL)[0][3] == 0
