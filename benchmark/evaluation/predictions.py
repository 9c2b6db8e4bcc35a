"""Score a trained network on validation and test rows, and compare its maps with people's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from divsal_bench.errors import DivergedError
from divsal_bench.networks.inference import form_of, infer
from divsal_bench.scores import agreement
from divsal_bench.scores.conditions import condition_columns

if TYPE_CHECKING:
    import pandas as pd

    from divsal_bench.data.arrays import DataArrays
    from divsal_bench.networks.backbones import CamNet
    from divsal_bench.registry.protocols import Protocol

#: Map kinds whose agreement with people is measured, and the prefix of their columns.
MAP_KINDS = ("true", "difference")


def predictions(model: CamNet, data: DataArrays, protocol: Protocol) -> pd.DataFrame:
    """One row for each validation and test image.

    Returns:
        sample_id, split, label, source, category, subject, condition and condition_axis (test rows; "" for
        validation), logit0, logit1 (float64; a one-logit head stores 0 and z), and for each map kind
        ``true_pe``, ``true_lift``, …, ``difference_empty``, NaN without a human map.

    Raises:
        DivergedError: A score is not finite.
    """
    import torch

    from divsal_bench.contracts import cams

    split = data.rows["split"].to_numpy(dtype=str)
    chosen = np.flatnonzero(split != "train")
    table = data.rows.iloc[chosen][["sample_id", "split", "label", "source", "category", "subject"]]
    table = table.reset_index(drop=True).assign(**condition_columns(data.rows, chosen))

    images = torch.from_numpy(np.ascontiguousarray(data.images[chosen]))
    logits, maps = infer(model, images, form_of(protocol), with_cams=True)
    assert maps is not None
    values = logits.double().numpy()
    if not np.isfinite(values).all():
        raise DivergedError(f"{int((~np.isfinite(values)).any(1).sum())} of {len(values)} scores are not finite")
    if model.head == "one-logit":
        values = np.stack([np.zeros(len(values)), values[:, 1] - values[:, 0]], 1)
    table = table.assign(logit0=values[:, 0], logit1=values[:, 1])

    mapped = np.flatnonzero(data.rows["has_map"].to_numpy(dtype=bool)[chosen])
    labels = torch.from_numpy(table["label"].to_numpy(np.int64, copy=True))
    for kind in MAP_KINDS:
        columns = {name: np.full(len(table), np.nan) for name in agreement.COLUMNS}
        if len(mapped):
            own = maps[mapped]
            chosen_maps = cams.select(own, labels[mapped])
            if kind == "difference":
                chosen_maps = chosen_maps - cams.select(own, 1 - labels[mapped])
            grid = (chosen_maps.shape[-2], chosen_maps.shape[-1])
            human = cams.human_cells(data.maps[chosen[mapped]], grid)
            for name, numbers in agreement.agreement_with_people(chosen_maps.numpy(), human).items():
                columns[name][mapped] = numbers
        table = table.assign(**{f"{kind}_{name}": numbers for name, numbers in columns.items()})
    return table
