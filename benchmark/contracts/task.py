"""A task: a binary decision, the data that poses it, and the numbers its field reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

#: The stand-in variants every task draws: a shortcut in training, the same shortcut made independent of the
#: label in training too, and no shortcut at all. All three share their validation and test images' causes.
VARIANTS = ("standin", "standin:oracle", "standin:null")

#: Field metrics an evaluation knows how to compute; a task names the ones its field prints.
FieldMetric = Literal["apcer@bpcer=1%", "bpcer@bpcer=1%", "d-eer", "sensitivity@specificity=95%", "ece", "eer", "ap"]


@dataclass(frozen=True)
class StandIn:
    """A drawn data set, in memory.

    Attributes:
        rows: One row an image: sample_id, split (train, validation, test), label (0, 1), source, category
            ("" for negatives), subject, saliency_kind ("mask" or "none").
        images: uint8, (N, H, W) for grey and (N, H, W, 3) for colour tasks, in row order.
        maps: uint8, (N, H, W), 255 where the evidence is; all zero where ``saliency_kind`` is "none".
    """

    rows: pd.DataFrame
    images: np.ndarray
    maps: np.ndarray


@dataclass(frozen=True)
class Task:
    """One binary decision. A file in ``tasks/`` holds one, bound to the name ``TASK``.

    Attributes:
        name: Lower case, hyphens.
        version: Raised when the meaning of a result changes.
        title: For headings.
        description: One sentence: what is decided, from what.
        class_names: Names of class 0 (negative) and class 1 (positive: fake, attack, abnormal).
        channels: 1 (grey) or 3 (RGB): how images are read.
        category_meaning: What makes a positive positive, e.g. "attack species".
        field_metrics: The field's own metrics, beside open-set AUROC.
        draw_standin: Draws one of :data:`VARIANTS` from a seed, in at most three seconds.
        standin_version: Raised whenever a drawn pixel, label or split changes.
        standin_pixels: Variant to sha256 of the drawn pixels; a mismatch is a warning, not an error.
        citation: What to cite for the task.
        licence: A note on the licences of its data.
    """

    name: str
    version: int
    title: str
    description: str
    class_names: tuple[str, str]
    channels: Literal[1, 3]
    category_meaning: str
    field_metrics: tuple[FieldMetric, ...]
    draw_standin: Callable[[str, int], StandIn] = field(repr=False)
    standin_version: int
    citation: str
    licence: str
    standin_pixels: dict[str, str] = field(default_factory=dict)
