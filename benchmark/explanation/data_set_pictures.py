"""The pictures of a data set's page: which images may be shown, and maps laid on them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from divsal_bench.data.terms import may_show
from divsal_bench.explanation.data_set_overview import Overview
from divsal_bench.explanation.image_figure import as_picture
from divsal_bench.pictures import colours, figure
from divsal_bench.pictures.figure import Panel

if TYPE_CHECKING:
    from PIL.Image import Image

    from divsal_bench.contracts.adapter import SourceTerms
    from divsal_bench.data.arrays import DataArrays


#: Side of a picture on the page, pixels.
SIDE = 132


@dataclass(frozen=True)
class PagePicture:
    """One picture: its data URL and what it shows in words."""

    url: str
    alt: str


class ShownImages:
    """Which images may be shown."""

    def __init__(self, data: DataArrays, terms: Mapping[str, SourceTerms] | None) -> None:
        """As :func:`divsal_bench.explanation.data_set_page.render_report`."""
        self.data, self.terms = data, terms

    def allows(self, position: int) -> bool:
        """Whether an image of the data may be shown."""
        return self.terms is None or may_show(self.terms.get(str(self.data.rows["source"].iloc[position])))

    def hidden(self, found: Overview) -> list[str]:
        """The sources whose images are not shown."""
        sources = self.data.rows["source"].iloc[found.positions]
        return sorted({str(s) for s, at in zip(sources, found.positions, strict=True) if not self.allows(int(at))})

    def mean(self, positions: np.ndarray) -> np.ndarray | None:
        """The mean image, to lay mean maps on; None where one of the images may not be shown."""
        if not all(self.allows(int(position)) for position in positions):
            return None
        total = np.zeros(self.data.images.shape[1:])
        for position in positions:
            total += self.data.images[position]
        return as_picture((total / len(positions)).round().astype(np.uint8))


def picture_base(pixels: np.ndarray | None) -> Image:
    """What a map is laid on: an image, or an even grey."""
    from PIL.Image import Resampling

    plain = np.full((8, 8), 238, np.uint8)
    return figure.square(plain if pixels is None else pixels).resize((SIDE, SIDE), Resampling.LANCZOS)


def map_on_image(pixels: np.ndarray | None, panel: Panel, alt: str) -> PagePicture:
    """A map on an image, for the page."""
    return PagePicture(jpeg_data_url(figure.with_map(picture_base(pixels), panel)), alt)


def jpeg_data_url(image: Image) -> str:
    """An image as a data URL."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=88, subsampling=0)
    return colours.data_url(file.getvalue(), "jpeg")


def colour_ramp(is_signed: bool) -> str:
    """A colour scale, for the legends."""
    return jpeg_data_url(figure.colour_bar(160, 10, is_signed))
