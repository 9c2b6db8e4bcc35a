"""Is the majority class of an imbalanced binary classifier decided by its bias, with no evidence on the map?

After Zhang, Bieri, Günther, SDS 2024 (arXiv 2403.14435): maps of the one logit z for the predicted sign, their energy
inside the human map, empty maps, and errors of minority and majority class, unbalanced against balanced weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from divsal_bench.maps import closed_form
from divsal_bench.maps.measures import bias_share, energy_inside, error_rates
from divsal_bench.networks.trained import protocol_of
from divsal_bench.studies.difference import mean_of
from divsal_bench.studies.inputs import split_inputs

if TYPE_CHECKING:
    from divsal_bench.data.arrays import DataArrays
    from divsal_bench.networks.backbones import CamNet
    from divsal_bench.runs.reading import Run


def imbalance_numbers(run: Run, model: CamNet, data: DataArrays) -> dict[str, dict[str, float]]:
    """One network's numbers on the in-domain test images: those of sources and categories that training had.

    Returns:
        For ``minority`` and ``majority`` (of the training split): ``error`` of that class's images; and of the images
        that are predicted as that class ``empty``, the share of maps without a positive part, ``bias share``,
        ``bias for``, 1 where the bias speaks for that class, and ``pe`` and ``lift`` (of non-empty maps, over the
        images with a human map; NaN without any).

    Raises:
        UserError: The training split is balanced.
    """
    from divsal_bench.errors import UserError

    train, test = (split_inputs(data, protocol_of(run), split) for split in ("train", "test"))
    counts = (int((train.labels == 0).sum()), int((train.labels == 1).sum()))
    if counts[0] == counts[1]:
        raise UserError(f"{run.path}: its training split is balanced ({counts[0]} of each class); this study needs not")
    seen = np.isin(test.sources, train.sources) & np.isin(test.categories, train.categories)
    labels, shown, scores, bias = test.label_tensor(), [], [], 0.0
    for part, evidence in test.evidence(model):
        shown.append(closed_form.map_kind("binary-predicted").function(evidence, labels[part]).values.cpu().numpy())
        scores.append(evidence.margin.double().cpu().numpy())
        bias = float((evidence.bias[1] - evidence.bias[0]).double())
    values, margins = np.concatenate(shown), np.concatenate(scores)
    shares = bias_share(margins, bias)
    empty = values.reshape(len(values), -1).max(1) <= 1e-8 * np.abs(values).reshape(len(values), -1).max(1)
    columns = energy_inside(values, test.human(values.shape[1:]))
    errors = error_rates(test.labels[seen], margins[seen], counts)
    minority = int(counts[1] < counts[0])
    result = {}
    for name, label in (("minority", minority), ("majority", 1 - minority)):
        chosen = seen & ((margins >= 0) == (label == 1))
        result[name] = {
            "error": getattr(errors, name),
            "empty": mean_of(empty[chosen].astype(float)),
            "bias share": mean_of(shares[chosen]),
            "bias for": float((bias >= 0) == (label == 1)),
            "pe": mean_of(columns["pe"][chosen & test.mapped]),
            "lift": mean_of(columns["lift_nonempty"][chosen & test.mapped]),
        }
    return result
