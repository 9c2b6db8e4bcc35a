"""Scores of images as a stream: decoding runs ahead of the network by a few batches and no further."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from divsal_bench.networks import inference
from divsal_bench.prediction.decoding import looked_at
from divsal_bench.prediction.inputs import Input
from divsal_bench.processes.threads import ahead

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from divsal_bench.prediction.pretrained import Pretrained

#: Of the table of predictions.
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


def score_stream(
    pretrained: Pretrained, inputs: Iterable[Input], batch_size: int = 32, with_maps: bool = False
) -> Iterator[Prediction]:
    """Score images in order, with a few batches in memory at a time.

    Args:
        pretrained: Used on the device where its model is.
        inputs: What to score. One that cannot be read gives a row with its error, and the others are still scored.
        batch_size: Images in one forward pass; fewer where so many inputs would exceed :data:`LARGEST_BATCH`.
        with_maps: Also return pixels and difference maps.
    """
    form = pretrained.input_form
    batch_size = batch_that_fits(pretrained, batch_size)
    decoded = ahead(lambda one: (one.image, *looked_at(pretrained, one.source)), inputs, AHEAD * batch_size)
    while batch := list(islice(decoded, batch_size)):
        readable = [pixels for _, pixels, _ in batch if not isinstance(pixels, str)]
        margins, maps = np.zeros(0), None
        if readable:
            logits, cams = inference.infer(pretrained.model, as_batch(readable), form, with_maps, batch_size)
            values = logits.double().numpy()
            margins = values[:, 1] - values[:, 0]
            maps = None if cams is None else (cams[:, 1] - cams[:, 0]).numpy()
        row = 0
        for image, pixels, highest in batch:
            if isinstance(pixels, str):
                yield unscored(image, pixels)
                continue
            score = float(margins[row])
            if math.isfinite(score):
                seen, cam = (None, None) if maps is None else (pixels, maps[row])
                called = pretrained.decision(score)
                yield Prediction(image, score, probability_of(score), called, "", seen, cam, highest)
            else:
                yield unscored(image, "gives a score that is not finite")
            row += 1


def batch_that_fits(pretrained: Pretrained, batch_size: int) -> int:
    """Images of one forward pass, as asked for but no more than :data:`LARGEST_BATCH` holds; at least one."""
    preprocessing = pretrained.preprocessing
    one = 4 * preprocessing.in_chans * preprocessing.size**2
    return max(1, min(batch_size, LARGEST_BATCH // one))


def predictions_table(predictions: Iterable[Prediction]) -> pd.DataFrame:
    """Predictions as rows, columns :data:`COLUMNS`."""
    import pandas as pd

    rows = [tuple(getattr(one, name) for name in COLUMNS) for one in predictions]  # without pixels and maps
    # Not pandas' own strings: a file name may be no text.
    types = {"score": np.float64, "probability": np.float64}
    columns = {name: [row[number] for row in rows] for number, name in enumerate(COLUMNS)}
    return pd.DataFrame({name: pd.Series(cells, dtype=types.get(name, object)) for name, cells in columns.items()})


def unscored(image: str, error: str) -> Prediction:
    """A row without a score."""
    return Prediction(image, math.nan, math.nan, "", error)


def probability_of(score: float) -> float:
    """The probability that a logit margin stands for; neither end overflows."""
    from scipy.special import expit

    return float(expit(score))


def as_batch(pixels: Sequence[np.ndarray]) -> Tensor:
    """A uint8 batch (B, C, S, S)."""
    import torch

    return torch.from_numpy(np.stack(pixels))
