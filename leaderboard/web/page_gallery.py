"""What the page shows of a gallery: the same pictures for every method, with its maps laid over them."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from divsal_bench.errors import UserError
from divsal_bench.leaderboard.claims.gallery import ClassCams, Gallery, GalleryPicture
from divsal_bench.leaderboard.claims.gallery_check import BROKEN_PICTURE
from divsal_bench.pictures import colours

Floats = npt.NDArray[np.float64]
#: Longest side of a picture on the page, in pixels.
SIDE = 128
#: A lossless picture above this many bytes is stored as JPEG instead.
LOSSLESS = 6000
#: More pixels than any test image has.
MOST_PIXELS = 64_000_000
#: A map whose largest value is no larger than this share of its largest magnitude has no positive part.
EMPTY = 1e-8


@dataclass(frozen=True)
class Tile:
    """One map laid over its picture.

    Attributes:
        name: ``human map``, ``true-class CAM``, ``false-class CAM`` or ``difference map``.
        url: Data URL of the overlay; "" where there is nothing to draw.
        note: Its scale, or why there is nothing to draw.
    """

    name: str
    url: str
    note: str


@dataclass(frozen=True)
class Shot:
    """One picture.

    Attributes:
        number: From 1, in the order shown.
        style: Name of the CSS class that carries the picture as a background.
        url: Data URL of the picture.
        width, height: In pixels, as stored on the page.
        truth, other: Names of its class and of the other one.
    """

    number: int
    style: str
    url: str
    width: int
    height: int
    truth: str
    other: str
    condition: str
    credit: str
    human: Tile


@dataclass(frozen=True)
class MethodMaps:
    """The maps of one method: for each picture three tiles, or None where it has none."""

    label: str
    kind: str
    cells: tuple[tuple[Tile, Tile, Tile] | None, ...]


@dataclass(frozen=True)
class GalleryView:
    """A gallery as the page shows it; ``absent`` says why there are no pictures."""

    absent: str
    seed: int
    shots: tuple[Shot, ...]
    methods: tuple[MethodMaps, ...]


def gallery_view(gallery: Gallery | None, methods: Sequence[tuple[str, str]], prefix: str) -> GalleryView:
    """Lay out a gallery.

    Args:
        gallery: None if none was made.
        methods: (label, kind), in the order to show them.
        prefix: Makes the names of its CSS classes unique on the page; letters, digits and hyphens.

    Raises:
        UserError: A picture is not a PNG, or a map has another shape than (2, h, w).
    """
    if gallery is None:
        return GalleryView("No CAM gallery was made for this table.", 0, (), ())
    if not gallery.pictures:
        return GalleryView(gallery.absent or "The gallery of this table is empty.", gallery.seed, (), ())
    shots = tuple(
        shown_picture(picture, gallery.class_names, number, f"{prefix}-{number}")
        for number, picture in enumerate(gallery.pictures, 1)
    )
    return GalleryView(
        absent="",
        seed=gallery.seed,
        shots=shots,
        methods=tuple(
            MethodMaps(
                label,
                kind,
                tuple(
                    map_tiles(cams, picture.label, f"{label}, picture {picture.key}")
                    if (cams := gallery.maps.get(label, {}).get(picture.key)) is not None
                    else None
                    for picture in gallery.pictures
                ),
            )
            for label, kind in methods
        ),
    )


def shown_picture(picture: GalleryPicture, class_names: tuple[str, str], number: int, style: str) -> Shot:
    """One picture with its human map."""
    url, (width, height) = thumbnail(picture)
    if picture.human is None:
        human = Tile("human map", "", "no human map")
    else:
        grid = map_matrix(picture.human, f"the human map of picture {picture.key}")
        human = Tile("human map", colours.sequential(grid, 1.0), "0 to 1")
        if not (grid > 0).any():
            human = Tile("human map", "", "empty: nothing marked")
    return Shot(
        number=number,
        style=style,
        url=url,
        width=width,
        height=height,
        truth=class_names[picture.label],
        other=class_names[1 - picture.label],
        condition=picture.condition,
        credit=picture.credit,
        human=human,
    )


def thumbnail(picture: GalleryPicture) -> tuple[str, tuple[int, int]]:
    """The picture made small, as a data URL, and its (width, height). Read and written anew: it comes from outside."""
    try:
        file = io.BytesIO(base64.b64decode(picture.image, validate=True))
        with Image.open(file, formats=("PNG",)) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise UserError(f"picture {picture.key} of the gallery has more than {MOST_PIXELS} pixels")
            image = opened.convert("L" if opened.mode in ("L", "1", "I;16", "I") else "RGB")
    except BROKEN_PICTURE as error:
        raise UserError(f"picture {picture.key} of the gallery is not a PNG ({error})") from None
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    lossless = io.BytesIO()
    image.save(lossless, "PNG", optimize=True)
    if lossless.tell() <= LOSSLESS:
        return colours.data_url(lossless.getvalue(), "png"), image.size
    lossy = io.BytesIO()
    image.save(lossy, "JPEG", quality=85)
    return colours.data_url(lossy.getvalue(), "jpeg"), image.size


def map_tiles(cams: ClassCams, label: int, whose: str) -> tuple[Tile, Tile, Tile]:
    """True-class CAM, false-class CAM and difference map of one picture.

    The two CAMs share one scale, from 0 to the larger of their maxima: which of them is stronger can be seen. The
    difference map has its own, symmetric about 0.
    """
    if len(cams) != 2:
        raise UserError(f"the gallery's maps of {whose} are {len(cams)} maps, not one for each of two classes")
    true, false = (map_matrix(cams[index], f"a map of {whose}") for index in (label, 1 - label))
    if true.shape != false.shape:
        raise UserError(f"the gallery's maps of {whose} differ in shape")
    high = float(max(true.max(), false.max()))
    difference = true - false
    extent = float(np.abs(difference).max())
    middle = (
        Tile("difference map", colours.diverging(difference, extent), f"±{extent:.3g}")
        if extent > 0
        else Tile("difference map", "", "empty: the CAMs are equal")
    )
    return class_tile("true-class CAM", true, high), class_tile("false-class CAM", false, high), middle


def class_tile(name: str, grid: Floats, high: float) -> Tile:
    """The positive part of one CAM, on a scale from 0 to ``high``."""
    if grid.max() <= EMPTY * max(float(np.abs(grid).max()), high):
        return Tile(name, "", "empty: no positive part")
    return Tile(name, colours.sequential(grid, high), f"0 to {high:.3g}")


def map_matrix(rows: list[list[float]], whose: str) -> Floats:
    """An (h, w) array; UserError if the rows are empty or of different lengths."""
    if not rows or not rows[0] or any(len(row) != len(rows[0]) for row in rows):
        raise UserError(f"the gallery has {whose} in another shape than (h, w)")
    return np.array(rows, dtype=np.float64)


def picture_stylesheet(views: Sequence[GalleryView]) -> str:
    """CSS that gives each picture once, as the background of every tile that lies over it."""
    return "\n".join(
        f".{one.style}{{background-image:url({one.url});aspect-ratio:{one.width}/{one.height}}}"
        for view in views
        for one in view.shots
    )
