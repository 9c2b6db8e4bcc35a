"""The picture of a model card: one image, where people look, and a run's maps of it."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from divsal_bench.registry import plugins

if TYPE_CHECKING:
    from divsal_bench.runs.reading import Run

#: What the colours of a map count.
UNIT = " logits (mean over cells)"


@dataclass(frozen=True, eq=False)
class CardPicture:
    """One image and a run's maps of it.

    Attributes:
        image: A PNG.
        human: The human map on the grid of the pictures; None without one.
        cams: (2, h, w): of class 0 and class 1, without the bias.
        credit: Source and licence in one line.
        place: Where the image is from, as the caption begins; what it shows follows.
    """

    image: bytes
    human: np.ndarray | None
    label: int
    cams: np.ndarray
    credit: str
    place: str


def drawn_example(run: Run) -> CardPicture | None:
    """A picture of the task's stand-in with a run's maps; None where it has none to show."""
    from divsal_bench.data import arrays, catalogue
    from divsal_bench.networks.trained import protocol_of
    from divsal_bench.publish.gallery import cams_of_samples, pictures

    task = plugins.tasks().get(run.spec.task)
    data = arrays.load_arrays(task, catalogue.resolve(task, "standin"), protocol_of(run).input_size)
    shown = pictures(data, None, str).shown
    if not shown:
        return None
    first = shown[0]
    return CardPicture(
        first.image,
        first.human,
        first.label,
        cams_of_samples(run, data, [first.sample_id])[first.sample_id],
        "drawn by code",
        "An image of the task's built-in data, since the terms of the test images do not allow showing them (",
    )


def example_figure(example: CardPicture, class_names: tuple[str, str], seed: int) -> tuple[bytes, str]:
    """The figure of a card as PNG, and its caption."""
    from PIL import Image

    from divsal_bench.pictures import figure
    from divsal_bench.pictures.figure import Panel

    label, human = example.label, example.human
    true, false = example.cams[label], example.cams[1 - label]
    extent = figure.extent_of(true, false, true - false)
    panels = [
        Panel(f"image ({class_names[label]})", note=example.credit),
        Panel("where people look", human, note="" if human is not None else "no human map"),
        Panel(f"true-class CAM ({class_names[label]})", true, extent, True, UNIT),
        Panel(f"false-class CAM ({class_names[1 - label]})", false, extent, True, UNIT),
        Panel("difference map (true - false)", true - false, extent, True, UNIT),
    ]
    caption = (
        f"{example.place}{class_names[label]}; {example.credit}), chosen by a fixed rule (a positive with a human map, "
        f"by salted id), never by result. Maps of seed {seed}; the mean of the difference map, "
        f"{(true - false).mean():+.3f}, plus the difference of the biases is the logit margin between the true and the "
        "false class. The colour scale is this picture's own."
    )
    image = np.asarray(Image.open(io.BytesIO(example.image), formats=["PNG"]))
    return figure.figure(image, panels), caption
