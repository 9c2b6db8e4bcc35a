"""CASE: do maps differ between classes, do they matter to the decision, and what is left of CASE on binary heads?

After Williamson, Ji, Dwyer 2025 (arXiv 2506.07327): class sensitivity at the top k %, confidence drop. Removing the
other class's direction leaves nothing where the two rows are opposite, which cross-entropy makes them: the collapse.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from divsal_bench.maps import closed_form
from divsal_bench.maps.covering import margin_score
from divsal_bench.maps.evidence import Evidence, join_evidence
from divsal_bench.maps.fidelity import measure_fidelity
from divsal_bench.maps.measures import compare_rows, energy_inside
from divsal_bench.maps.sensitivity import class_sensitivity, pair
from divsal_bench.studies.difference import mean_of
from divsal_bench.studies.inputs import Inputs

if TYPE_CHECKING:
    from torch import Tensor

    from divsal_bench.networks.backbones import CamNet

#: One map of each kind: those of the table that differ in what they show.
KINDS = ("true-class", "difference", "case", "case-clamped")
#: Steps of the head's training at which the angle is looked at.
STEPS = (0, 20, 200, 1000, 5000, 20000)


def class_map_numbers(
    model: CamNet, test: Inputs, classes: npt.NDArray[np.int64], fingerprint: str, images: int, k: float, tau: float
) -> dict[str, dict[str, float]]:
    """One network's numbers on some test images, for each kind of map and for the controls.

    Args:
        model: Of K ≥ 2 classes.
        test: N images.
        classes: (N,): their true classes.
        images: At most so many are covered.
        k, tau: Per cent, of the class-sensitivity test.

    Returns:
        ``agreement`` (per cent; k by chance), ``passes`` (1 or 0), ``undefined`` and ``empty`` shares of that test;
        ``drop`` at 50 %, ``deletion`` and ``insertion`` areas on the probability; and ``lift`` where there are human
        maps. NaN where there is no number.
    """
    import torch

    target = torch.from_numpy(classes.copy())
    gathered: dict[str, list[tuple[np.ndarray, ...]]] = {kind: [] for kind in KINDS}
    passed: list[Tensor] = []
    for part, evidence in test.evidence(model):
        for kind in KINDS:
            found = closed_form.map_kind(kind).function(evidence, target[part])
            own = (found.values.cpu().numpy(), found.undefined.cpu().numpy())
            gathered[kind].append((*own, *pair(evidence, kind)))
        passed.append(evidence.logits)
        grid, head = evidence.grid, evidence.head
    logits = torch.cat(passed)
    human = test.part(test.mapped).human(grid)
    shown, undefined = {}, {}
    result: dict[str, dict[str, float]] = {}
    for kind, parts in gathered.items():
        shown[kind], undefined[kind], first, second, left_out = map(np.concatenate, zip(*parts, strict=True))
        tested = class_sensitivity(first, second, k=k, tau=tau, undefined=left_out, head=head)
        inside = energy_inside(shown[kind][test.mapped], human, undefined[kind][test.mapped])
        result[kind] = {
            "agreement": tested.mean,
            "passes": math.nan if tested.passes is None else float(tested.passes),
            "undefined": tested.undefined_rate,
            "empty": tested.empty_rate,
            "lift": mean_of(inside["lift"]),
        }
    for name, scores in fidelity_numbers(model, logits, test, classes, shown, undefined, fingerprint, images).items():
        result.setdefault(name, dict.fromkeys(("agreement", "passes", "undefined", "empty", "lift"), math.nan))
        result[name] |= scores
    return result


def fidelity_numbers(
    model: CamNet,
    logits: Tensor,
    test: Inputs,
    classes: npt.NDArray[np.int64],
    shown: dict[str, npt.NDArray[np.floating]],
    undefined: dict[str, npt.NDArray[np.bool_]],
    fingerprint: str,
    images: int,
) -> dict[str, dict[str, float]]:
    """Confidence drop, deletion and insertion, of each map and control; of maps that are always undefined nothing.

    All classes are tested against the rest: the margin of class c is z_c − log Σ_{j≠c} exp z_j, so that its sigmoid is
    c's probability.
    """
    usable = {kind: values for kind, values in shown.items() if undefined[kind].mean() < 0.5}
    defined = np.ones(len(classes), bool)
    for kind in usable:
        defined &= ~undefined[kind]
    gathered: dict[str, dict[str, list[npt.NDArray[np.float64]]]] = {}
    for label in np.unique(classes):
        members = np.flatnonzero(classes == label)
        found = measure_fidelity(
            score_against_rest(model, int(label)) if logits.shape[1] > 2 else margin_towards(model, int(label)),
            test.part(classes == label).images,
            {kind: values[members] for kind, values in usable.items()},
            np.ones(len(members), np.int64),
            margins_against_rest(logits, int(label))[members],
            [test.ids[row] for row in members],
            fingerprint,
            usable=defined[members],
            count=max(1, images // len(np.unique(classes))),
        )
        for name, columns in found.scores.items():
            for column, values in columns.items():
                gathered.setdefault(name, {}).setdefault(column, []).append(values)
    names = {"drop": "drop", "deletion": "deletion_probability", "insertion": "insertion_probability"}
    return {
        name: {shortname: mean_of(np.concatenate(columns[column])) for shortname, column in names.items()}
        for name, columns in gathered.items()
    }


def margins_against_rest(logits: Tensor, label: int) -> npt.NDArray[np.float64]:
    """z_c − log Σ_{j≠c} exp z_j of logits (B, K): (B,)."""
    import torch

    logits = logits.double()
    others = torch.cat([logits[:, :label], logits[:, label + 1 :]], 1)
    return np.asarray((logits[:, label] - others.logsumexp(1)).cpu().numpy())


def score_against_rest(model: CamNet, label: int) -> Callable[[Tensor], npt.NDArray[np.float64]]:
    """Images to the margin of one class against all others."""

    def score(images: Tensor) -> npt.NDArray[np.float64]:
        import torch

        with torch.inference_mode():
            logits = torch.cat([model.forward(chunk)[0].double() for chunk in images.split(128)])
        others = torch.cat([logits[:, :label], logits[:, label + 1 :]], 1)
        return np.asarray((logits[:, label] - others.logsumexp(1)).numpy())

    return score


def margin_towards(model: CamNet, label: int) -> Callable[[Tensor], npt.NDArray[np.float64]]:
    """Images to the margin in favour of class 0 or 1 of a binary decision."""
    score, sign = margin_score(model), 1.0 if label == 1 else -1.0
    return lambda images: sign * score(images)


def case_at_angle(model: CamNet, test: Inputs) -> dict[str, float]:
    """What the angle between the two rows does to CASE, on the images with a human map.

    Returns:
        ``cosine`` and ``residual`` of the rows, and for each kind of map its energy inside the human map, ``pe …``,
        undefined maps included: that they are rounding errors is what is to be seen.
    """
    return angle_numbers(evidence_of_mapped(model, test), test)


def evidence_of_mapped(model: CamNet, test: Inputs) -> Evidence:
    """Of all images with a human map, with the features: heads are to be turned under them."""
    parts = [evidence for _, evidence in test.part(test.mapped).evidence(model)]
    return parts[0] if len(parts) == 1 else join_evidence(parts)


def angle_numbers(evidence: Evidence, test: Inputs) -> dict[str, float]:
    """The numbers of :func:`case_at_angle` from evidence of the images with a human map."""
    import torch

    human = test.part(test.mapped).human(evidence.grid)
    target = torch.from_numpy(test.labels[test.mapped])
    angle = compare_rows(evidence.weight.cpu().numpy())
    result = {"cosine": angle.cosine, "residual": angle.residual_ratio}
    for kind in KINDS:
        found = closed_form.map_kind(kind).function(evidence, target)
        inside = energy_inside(found.values.cpu().numpy(), human)
        result[f"pe {kind}"] = mean_of(inside["pe"])
        if kind == "case":
            result["empty case"] = mean_of(inside["empty"])
            result["undefined case"] = float(found.undefined.double().mean())
    return result


def train_new_head(model: CamNet, train: Inputs, test: Inputs, seed: int) -> dict[int, dict[str, float]]:
    """Train a new head with cross-entropy on the features as they are, and look at the angle on the way.

    Whole-batch Adam at 0.01 without weight decay: what happens to the rows where training goes on and on.

    Args:
        model: Gives the features.
        seed: Of the head's first weights.

    Returns:
        Steps to the numbers of :func:`case_at_angle`.
    """
    import torch
    from torch.nn import functional

    pooled = torch.cat([evidence.features.mean((-2, -1)) for _, evidence in train.evidence(model)])
    labels = train.label_tensor()
    looked = evidence_of_mapped(model, test)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = torch.nn.Linear(pooled.shape[1], 2)
    optimiser = torch.optim.Adam(head.parameters(), lr=0.01)
    result = {}
    for step in range(max(STEPS) + 1):
        if step in STEPS:
            weight, bias = head.weight.detach(), head.bias.detach()
            logits = functional.linear(looked.features.mean((-2, -1)), weight, bias)
            found = Evidence(looked.features, weight.clone(), bias.clone(), logits, "two-logit")
            result[step] = angle_numbers(found, test)
        optimiser.zero_grad()
        functional.cross_entropy(head(pooled), labels).backward()
        optimiser.step()
    return result
