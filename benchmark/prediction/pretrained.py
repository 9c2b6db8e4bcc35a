"""A network that is ready to decide: with its preprocessing, its classes and its threshold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from divsal_bench.data.images import FULL, Window
from divsal_bench.errors import UserError
from divsal_bench.networks import backbones
from divsal_bench.networks.backbones import CamNet
from divsal_bench.networks.inference import InputForm
from divsal_bench.prediction import prediction
from divsal_bench.prediction.inputs import Source, inputs_of
from divsal_bench.prediction.preprocessing import Precision, Preprocessing
from divsal_bench.runs.records import Record

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Pretrained:
    """A network that decides between two classes, and all that using it takes.

    Attributes:
        model: In evaluation mode, on the CPU unless it was moved.
        preprocessing: From a file to its input.
        class_names: Of class 0 and class 1.
        threshold, threshold_rule: As in :class:`divsal_bench.prediction.config.StatedThreshold`.
        precision: ``fp32``, or ``bf16`` (autocast).
        origin: Where it came from, for people.
        record: Of the run that trained it; None where that is not known.
        window: The values of 16-bit files that are black and white; of a run whose data was prepared with one window,
            that one.
    """

    model: CamNet = field(repr=False)
    preprocessing: Preprocessing
    class_names: tuple[str, str]
    threshold: float | None
    threshold_rule: str
    precision: Precision
    origin: str
    record: Record | None = field(repr=False)
    channels_last: bool = True
    window: Window = FULL

    def predict(self, images: Iterable[Source], batch_size: int = 32) -> pd.DataFrame:
        """Score images, on the device where the model is.

        Args:
            images: Paths, bytes of image files, or PIL images.
            batch_size: Images in one forward pass, fewer where the input is large; changes the last digits of a score
                at most.

        Returns:
            One row an image, in order: image (the path, or ``image 3``), score (the logit margin z1 − z0), probability
            (of class 1), decision (a class name) and error ("", or why the image could not be read; its score is NaN).

        Raises:
            UserError: One image instead of a list of them.
        """
        if isinstance(images, str | bytes | Path) or not isinstance(images, Iterable):
            raise UserError("predict takes a list of images; put a single one in brackets: predict([image])")
        return prediction.predictions_table(prediction.score_stream(self, inputs_of(list(images)), batch_size))

    @property
    def input_form(self) -> InputForm:
        """How pixels become its input, and the arithmetic that it works in."""
        return self.preprocessing.input_form(self.precision, self.channels_last)

    def decision(self, score: float) -> str:
        """The name of the class that a logit margin is called."""
        return self.class_names[self.threshold is not None and score >= self.threshold]

    def require_maps(self) -> None:
        """UserError where its maps do not explain its scores (mean map + bias = logit), as in a transformer."""
        name = self.record.spec.backbone if self.record is not None else type(self.model.net).__name__
        backbones.require_closed_form(self.model, name, self.preprocessing.size, self.preprocessing.in_chans)
