"""The table of an explained data set: one row an image, as samples.csv holds it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from divsal_bench.maps.regions import Region
from divsal_bench.scores.agreement import COLUMNS, agreement_with_people

if TYPE_CHECKING:
    import pandas as pd

    from divsal_bench.prediction.pretrained import Pretrained

Floats = npt.NDArray[np.float64]
#: What the columns mean; what is not here says it itself.
MEANING = {
    "score": "z1 − z0",
    "margin_true": "the same towards the true class",
    "deciding_cells": "cells of the region with the most logits for the decision; 0: no region speaks for it",
    "deciding_logits": "what that region adds to the margin towards the decision",
    "other_logits": "what all other regions add to it",
    "bias": "what the bias adds to it: these three are the margin towards the decision",
    "covered_moves": "how that margin moves when the region is covered (mean colour); below 0: as its logits say",
    "true_…, difference_…": "agreement of true-class CAM and difference map (true − false) with the human map: pe, "
    "lift (1 = chance), auc, cc, empty",
    "deciding_inside": "share of the region's logits inside the human map",
}


def samples(
    pretrained: Pretrained,
    rows: pd.DataFrame,
    labels: npt.NDArray[np.int64],
    decisions: npt.NDArray[np.int64],
    scores: Floats,
    conditions: npt.NDArray[np.generic],
    chosen: Sequence[Region | None],
    after: Floats,
    bias: float,
) -> pd.DataFrame:
    """One row an image, without what needs a human map.

    Args:
        labels, decisions: 0 or 1, (N,).
        scores: z1 − z0, (N,).
        conditions: Their names, (N,).
        chosen: The region with the most logits for the decision; None where no region speaks for it.
        after: What covering it did to the margin towards the decision, (N,); NaN without a region.
        bias: b1 − b0.

    Returns:
        Columns as :data:`MEANING` has them.
    """
    import pandas as pd

    names = np.array(pretrained.class_names, dtype=object)
    logits = np.array([0.0 if one is None else one.logits for one in chosen])
    sides = np.where(decisions == 1, 1.0, -1.0)
    return pd.DataFrame(
        {
            "sample_id": rows["sample_id"].astype(str),
            "split": rows["split"].astype(str),
            "condition": conditions,
            "source": rows["source"].astype(str),
            "label": names[labels],
            "decision": names[decisions],
            "correct": (labels == decisions).astype(int),
            "score": scores,
            "margin_true": np.where(labels == 1, scores, -scores),
            "deciding_cells": [0 if one is None else int(one.cells.sum()) for one in chosen],
            "deciding_logits": logits,
            "other_logits": sides * (scores - bias) - logits,
            "bias": sides * bias,
            "covered_moves": after,
        }
    )


def agreements(maps: Mapping[str, Floats], areas: Sequence[np.ndarray | None]) -> dict[str, Floats]:
    """Columns ``true_pe``, …, ``difference_empty``: NaN without a human map."""
    has = np.array([area is not None for area in areas])
    human = np.stack([area for area in areas if area is not None])
    found = {}
    for kind in ("true", "difference"):
        numbers = agreement_with_people(maps[kind][has], human)
        for name in COLUMNS:
            column = np.full(len(areas), math.nan)
            column[has] = numbers[name]
            found[f"{kind}_{name}"] = column
    return found
