"""The CAM gallery of a table: the same few test images for all methods, and each method's maps of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from divsal_bench.scores.schema import Typed

#: Class CAMs of one image on the CAM grid: (2, h, w), class 0 and class 1, without the bias.
ClassCams = list[list[list[float]]]


class GalleryPicture(Typed):
    """One test image.

    Attributes:
        key: As in the sheet: the sample's (hashed) key.
        condition: It belongs to.
        image: PNG, base64; grey or RGB.
        human: The human map area-pooled to the CAM grid, (h, w) in [0, 1]; None without one.
        credit: Source and licence, in one line.
    """

    key: str
    label: Annotated[int, Field(ge=0, le=1)]
    condition: str
    image: str
    human: list[list[float]] | None
    credit: str


class Gallery(Typed):
    """The images of one data set, and the maps of the methods scored on it.

    Attributes:
        pictures: In the order to show them; empty where none may be shown.
        absent: Why there are none; "" where there are.
        maps: Method label to picture key to class CAMs, of the seed in ``seed``.
        seed: The one seed whose maps are shown: the lowest, never the best.
    """

    class_names: tuple[str, str]
    pictures: list[GalleryPicture]
    absent: str = ""
    maps: dict[str, dict[str, ClassCams]] = Field(default_factory=dict)
    seed: int = 0
