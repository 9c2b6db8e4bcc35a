"""Does the difference map say more than the true-class CAM? Agreement with people, and a check by covering.

After "Divisive Decisions" (Piland, Sweet, Czajka 2025, arXiv 2507.17000): the true-class CAM shows what raises one
logit, the difference map what decides between the two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from divsal_bench.maps import closed_form
from divsal_bench.maps.covering import margin_score
from divsal_bench.maps.fidelity import choose_images
from divsal_bench.maps.measures import energy_inside
from divsal_bench.maps.regions import Region, Regions, occlusion, regions
from divsal_bench.networks.trained import protocol_of
from divsal_bench.studies.inputs import Inputs, split_inputs

if TYPE_CHECKING:
    from divsal_bench.data.arrays import DataArrays
    from divsal_bench.networks.backbones import CamNet
    from divsal_bench.runs.reading import Run

KINDS = ("true-class", "difference")


def difference_numbers(run: Run, model: CamNet, data: DataArrays, images: int) -> dict[str, dict[str, float]]:
    """One network's numbers.

    Args:
        run: What was run; only its specification is read.
        images: At most so many test images are covered, the same for every network.

    Returns:
        For each kind of map: ``lift``, ``pe`` and ``empty`` over the test images with a human map (NaN without any);
        ``right way``, the share of images in which covering the map's largest positive region lowers the margin of the
        true class, ``moved``, by how many logits, and ``moved elsewhere``, what covering the same shape at another
        place does.
    """
    test = split_inputs(data, protocol_of(run), "test")
    labels = test.label_tensor()
    shown: dict[str, list[npt.NDArray[np.floating]]] = {kind: [] for kind in KINDS}
    for part, evidence in test.evidence(model):
        for kind in KINDS:
            shown[kind].append(closed_form.map_kind(kind).function(evidence, labels[part]).values.cpu().numpy())
    both = {kind: np.concatenate(values) for kind, values in shown.items()}
    human = test.part(test.mapped).human(both["difference"].shape[1:])
    chosen = choose_images(test.ids, np.ones(len(test.ids), bool), images, data.fingerprint)
    result = {}
    for kind, values in both.items():
        found = energy_inside(values[test.mapped], human)
        mean = {name: mean_of(found[name]) for name in ("lift", "pe", "empty")}
        result[kind] = mean | covering_moves(model, test, values, chosen, data.fingerprint)
    return result


def covering_moves(
    model: CamNet, test: Inputs, values: npt.NDArray[np.floating], chosen: npt.NDArray[np.int64], fingerprint: str
) -> dict[str, float]:
    """Cover the largest positive region of each chosen image, and the same shape somewhere else."""
    rows, largest, moved_shape = [], [], []
    for row in chosen:
        positive = [one for one in regions(values[row], 0.0, count=values[row].size).shown if one.logits > 0]
        if not positive:
            continue
        rows.append(int(row))
        largest.append(Regions((positive[0],), 0.0, 0, 0.0))
        moved_shape.append(Regions((elsewhere(positive[0], fingerprint, test.ids[row]),), 0.0, 0, 0.0))
    if not rows:
        return dict.fromkeys(("right way", "moved", "moved elsewhere"), float("nan"))
    score, some = margin_score(model), test.images[rows]
    direction = np.where(test.labels[rows] == 1, 1, -1)
    here, there = (occlusion(score, some, found, direction) for found in (largest, moved_shape))
    return {
        "right way": float(np.mean([one[0].agrees for one in here])),
        "moved": float(np.mean([one[0].moved for one in here])),
        "moved elsewhere": float(np.mean([one[0].moved for one in there])),
    }


def elsewhere(region: Region, fingerprint: str, sample: str) -> Region:
    """A region's shape at another place, drawn by sample and data; what leaves on one side enters on the other."""
    from divsal_bench.seeds import derive

    height, width = region.cells.shape
    by = 1 + derive("moved region", fingerprint, sample) % (height * width - 1)
    return Region(region.logits, np.roll(region.cells, (by // width, by % width), (0, 1)), region.inside, region.covers)


def mean_of(values: npt.NDArray[np.floating]) -> float:
    """Mean over those that are numbers; NaN without any."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
