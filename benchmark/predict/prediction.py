"""Scores of image files as a stream: decoding runs ahead of the network by a few batches and no further."""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from divsal_bench.data import images, reading
from divsal_bench.data.damage import NotAnImage
from divsal_bench.data.images import FULL, Window
from divsal_bench.data.threads import ahead
from divsal_bench.errors import UserError
from divsal_bench.files import foreign
from divsal_bench.networks import backbones, inference
from divsal_bench.networks.backbones import CamNet
from divsal_bench.predict.inputs import Input, Source
from divsal_bench.predict.preprocessing import Precision, Preprocessing
from divsal_bench.runs.records import Record

if TYPE_CHECKING:
    import pandas as pd
    from PIL.Image import Image
    from torch import Tensor

COLUMNS = ("image", "score", "probability", "decision", "error")
#: Bytes of one batch as the network's input, float32. A config.json may be a stranger's and ask for large inputs.
LARGEST_BATCH = 2**28
#: Batches that are decoded while one is in the network.
AHEAD = 2


@dataclass(frozen=True, eq=False)
class Prediction:
    """One scored image.

    Attributes:
        image: As it was given.
        score: The logit margin z1 − z0; NaN where there is an error.
        probability: Of class 1.
        decision: A class name; "" where there is an error.
        error: Why it could not be read, in one line; else "".
        pixels: What the network saw, uint8 (1 or 3, S, S); None unless maps were asked for.
        difference: CAM of class 1 minus that of class 0, (h, w) float32, in logits; its mean and the difference of
            the biases add up to the score. None unless asked for.
        highest: The largest value of a file of 16 bits; 0 for one of 8.
    """

    image: str
    score: float
    probability: float
    decision: str
    error: str
    pixels: np.ndarray | None = None
    difference: np.ndarray | None = None
    highest: int = 0


def stream(
    pretrained: Pretrained, inputs: Iterable[Input], batch_size: int = 32, with_maps: bool = False
) -> Iterator[Prediction]:
    """Score images in order, with a few batches in memory at a time.

    Args:
        pretrained: Used on the device where its model is.
        inputs: What to score. One that cannot be read gives a row with its error, and the others are still scored.
        batch_size: Images in one forward pass; fewer where so many inputs would exceed :data:`LARGEST_BATCH`.
        with_maps: Also return pixels and difference maps.
    """
    protocol = pretrained.preprocessing.as_protocol(pretrained.precision, pretrained.channels_last)
    batch_size = fitting(pretrained, batch_size)
    decoded = ahead(lambda one: (one.image, *looked_at(pretrained, one.source)), inputs, AHEAD * batch_size)
    while batch := list(islice(decoded, batch_size)):
        readable = [pixels for _, pixels, _ in batch if not isinstance(pixels, str)]
        margins, maps = np.zeros(0), None
        if readable:
            logits, cams = inference.predict(pretrained.model, stacked(readable), protocol, with_maps, batch_size)
            values = logits.double().numpy()
            margins = values[:, 1] - values[:, 0]
            maps = None if cams is None else (cams[:, 1] - cams[:, 0]).numpy()
        row = 0
        for image, pixels, highest in batch:
            if isinstance(pixels, str):
                yield failed(image, pixels)
                continue
            score = float(margins[row])
            if math.isfinite(score):
                seen, cam = (None, None) if maps is None else (pixels, maps[row])
                called = pretrained.decision(score)
                yield Prediction(image, score, probability(score), called, "", seen, cam, highest)
            else:
                yield failed(image, "gives a score that is not finite")
            row += 1


def fitting(pretrained: Pretrained, batch_size: int) -> int:
    """Images of one forward pass, as asked for but no more than :data:`LARGEST_BATCH` holds; at least one."""
    preprocessing = pretrained.preprocessing
    one = 4 * preprocessing.in_chans * preprocessing.size**2
    return max(1, min(batch_size, LARGEST_BATCH // one))


def table(predictions: Iterable[Prediction]) -> pd.DataFrame:
    """Predictions as rows, columns :data:`COLUMNS`."""
    import pandas as pd

    rows = [tuple(getattr(one, name) for name in COLUMNS) for one in predictions]  # without pixels and maps
    # Not pandas' own strings: a file name may be no text.
    types = {"score": np.float64, "probability": np.float64}
    columns = {name: [row[number] for row in rows] for number, name in enumerate(COLUMNS)}
    return pd.DataFrame({name: pd.Series(cells, dtype=types.get(name, object)) for name, cells in columns.items()})


def failed(image: str, error: str) -> Prediction:
    """A row without a score."""
    return Prediction(image, math.nan, math.nan, "", error)


def probability(score: float) -> float:
    """The sigmoid; neither end overflows."""
    from scipy.special import expit

    return float(expit(score))


def stacked(pixels: Sequence[np.ndarray]) -> Tensor:
    """A uint8 batch (B, C, S, S)."""
    import torch

    return torch.from_numpy(np.stack(pixels))


def decode(pretrained: Pretrained, source: Source) -> np.ndarray | str:
    """Pixels at the network's size, uint8 (1 or 3, S, S), or why there are none."""
    return looked_at(pretrained, source)[0]


@images.one_large_at_a_time()
def looked_at(pretrained: Pretrained, source: Source) -> tuple[np.ndarray | str, int]:
    """What :func:`decode` returns, and the largest value of a file of 16 bits (0 for any other)."""
    try:
        picture = images.decode(content(source))
        facts = reading.image_facts(picture)
        return pretrained.preprocessing.pixels(picture, pretrained.window), facts.high
    except NotAnImage as error:
        reason = str(error)
    except OSError as error:
        reason = f"cannot be read ({error.strerror or error})"
    except MemoryError:
        reason = "needs more memory than there is"
    except Exception as error:  # decoders meet damaged files with every kind of exception; the other images count
        reason = f"is damaged ({type(error).__name__}: {error})"
    return " ".join(reason.split())[:300], 0


def content(source: Source) -> bytes:
    """The bytes of an image file.

    Raises:
        NotAnImage: There is no such file, or none that can be read whole.
    """
    if isinstance(source, bytes):
        return source
    if not isinstance(source, str | Path):
        return file_of(source)
    path = Path(source)
    if not path.exists():
        raise NotAnImage("is not there")
    if not path.is_file():  # a pipe or a device might never end
        raise NotAnImage("is not a file")
    try:
        return foreign.read_bytes(path)
    except foreign.RefusedError as error:
        raise NotAnImage(str(error)) from None


def file_of(image: Image) -> bytes:
    """A PIL image as an uncompressed file: one decoder for all, whatever the mode."""
    from PIL import ImageOps

    buffer = io.BytesIO()
    try:
        if image.has_transparency_data and image.mode in ("L", "P", "RGB"):
            image = image.convert("RGBA")  # TIFF would forget which colour is transparent
        ImageOps.exif_transpose(image).save(buffer, "TIFF")
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise NotAnImage(f"is no PIL image that can be read ({error}); convert it to L or RGB") from error
    return buffer.getvalue()


@dataclass(frozen=True, eq=False)
class Pretrained:
    """A network that decides between two classes, and all that using it takes.

    Attributes:
        model: In evaluation mode, on the CPU unless it was moved.
        preprocessing: From a file to its input.
        class_names: Of class 0 and class 1.
        threshold, threshold_rule: As in :class:`OperatingPoint`.
        precision: ``fp32``, or ``bf16`` (autocast).
        origin: Where it came from, for people.
        record: Of the run that trained it; None where that is not known.
        channels_last: Its memory format.
        window: The values of 16-bit files that are black and white; of a run whose data was prepared with one window,
            that one.
    """

    model: CamNet
    preprocessing: Preprocessing
    class_names: tuple[str, str]
    threshold: float | None
    threshold_rule: str
    precision: Precision
    origin: str
    record: Record | None
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
        from divsal_bench.predict import inputs, prediction

        if isinstance(images, str | bytes | Path) or not isinstance(images, Iterable):
            raise UserError("predict takes a list of images; put a single one in brackets: predict([image])")
        return prediction.table(prediction.stream(self, inputs.inputs_of(list(images)), batch_size))

    def decision(self, score: float) -> str:
        """The name of the class that a logit margin is called."""
        return self.class_names[self.threshold is not None and score >= self.threshold]

    def require_maps(self) -> None:
        """Check that its class activation maps explain its scores: mean map + bias = logit.

        Raises:
            UserError: They do not, as in a transformer.
        """
        protocol = dataclasses.replace(
            self.preprocessing.as_protocol(channels_last=False),
            output_stride=self.preprocessing.size,  # any grid is enough to look at
        )
        name = self.record.spec.backbone if self.record is not None else type(self.model.net).__name__
        backbones.check_closed_form(self.model, name, protocol, self.preprocessing.in_chans)
