"""Score a trained network on validation and test rows, and compare its maps with people's."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from divsal_bench.errors import DivergedError
from divsal_bench.networks.inference import form_of, infer_chunks
from divsal_bench.networks.stored import ChosenRows
from divsal_bench.scores import agreement
from divsal_bench.scores.conditions import condition_columns

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from divsal_bench.data.arrays import DataArrays
    from divsal_bench.networks.backbones import CamNet
    from divsal_bench.registry.protocols import Protocol

#: Map kinds whose agreement with people is measured, and the prefix of their columns.
MAP_KINDS = ("true", "difference")


def predictions(
    model: CamNet, data: DataArrays, protocol: Protocol, on_batch: Callable[[], None] = lambda: None
) -> pd.DataFrame:
    """One row for each validation and test image. Pixels and maps are read chunk by chunk, and none are kept.

    Args:
        on_batch: Called for every chunk that is done.

    Returns:
        sample_id, split, label, source, category, subject, condition and condition_axis (test rows; "" for
        validation), logit0, logit1 (float64; a one-logit head stores 0 and z), and for each map kind
        ``true_pe``, ``true_lift``, …, ``difference_empty``, NaN without a human map.

    Raises:
        DivergedError: A score is not finite.
    """
    split = data.rows["split"].to_numpy(dtype=str)
    chosen = np.flatnonzero(split != "train")
    table = data.rows.iloc[chosen][["sample_id", "split", "label", "source", "category", "subject"]]
    table = table.reset_index(drop=True).assign(**condition_columns(data.rows, chosen))

    labels = table["label"].to_numpy(np.int64)
    mapped = data.rows["has_map"].to_numpy(dtype=bool)[chosen]
    values = np.zeros((len(table), 2))
    agreements = {f"{kind}_{name}": np.full(len(table), np.nan) for kind in MAP_KINDS for name in agreement.COLUMNS}
    images, maps = (ChosenRows(array, chosen) for array in (data.images, data.maps))
    for part in infer_chunks(model, images, form_of(protocol), with_cams=True, on_batch=on_batch):
        assert part.cams is not None
        values[part.positions] = part.logits.double().numpy()
        inside = np.flatnonzero(mapped[part.positions])
        if not len(inside) or not np.isfinite(values[part.positions]).all():
            continue
        rows = part.positions.start + inside
        for name, numbers in map_agreement(part.cams[inside], labels[rows], maps.part(rows)).items():
            agreements[name][rows] = numbers
    if not np.isfinite(values).all():
        raise DivergedError(f"{int((~np.isfinite(values)).any(1).sum())} of {len(values)} scores are not finite")
    if model.head == "one-logit":
        values = np.stack([np.zeros(len(values)), values[:, 1] - values[:, 0]], 1)
    return table.assign(logit0=values[:, 0], logit1=values[:, 1], **agreements)


def map_agreement(both: Tensor, labels: npt.NDArray[np.int64], human: ChosenRows) -> dict[str, npt.NDArray[np.float64]]:
    """Agreement of the maps of some images with people's, by column of the table.

    Args:
        both: CAMs of both classes, (n, 2, h, w).
        labels: 0 or 1, (n,).
        human: Their human maps.
    """
    import torch

    from divsal_bench.contracts import cams

    target = torch.from_numpy(labels)
    true = cams.select(both, target)
    cells = cams.human_cells(human, (both.shape[-2], both.shape[-1]))
    found = {}
    for kind, shown in zip(MAP_KINDS, (true, true - cams.select(both, 1 - target)), strict=True):
        for name, numbers in agreement.agreement_with_people(shown.numpy(), cells).items():
            found[f"{kind}_{name}"] = numbers
    return found
