"""The maps that have a closed form, in one table: a new one is a function and an entry of :data:`MAPS`.

Every function takes evidence and the class to explain, (B,) int64, and returns signed maps (B, h, w), before any ReLU
or scaling. All are sums of class CAMs M_k = Σ_c W[k, c]·A[c] of features computed once. Grad-CAM of a logit is its CAM
divided by h·w (Zhou et al., CVPR 2016; Selvaraju et al., ICCV 2017), and so are the Grad-CAM-based maps here: all are
given on the scale of the CAM, on which mean over the grid + bias = logit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from divsal_bench.errors import UserError, unknown
from divsal_bench.maps import case
from divsal_bench.maps.evidence import ONE_LOGIT, Evidence, Maps, combine

if TYPE_CHECKING:
    from torch import Tensor

BinaryMode = Literal["predicted", "label", 1, -1]
Base = Literal["max", "mean", "soft"]


def true_cam(evidence: Evidence, target: Tensor) -> Maps:
    """M_t: the CAM of the class to explain, as a rule the image's own. With a closed form it is Grad-CAM times h·w."""
    return combine(evidence, one_hot(evidence, target))


def false_cam(evidence: Evidence, target: Tensor) -> Maps:
    """M_f: the CAM of the false class, which for K > 2 is the likeliest of all but the class to explain.

    "Divisive Decisions": Piland, Sweet, Czajka 2025 (arXiv 2507.17000).
    """
    return combine(evidence, one_hot(evidence, evidence.rival(target)))


def difference_map(evidence: Evidence, target: Tensor) -> Maps:
    """M_t − M_f: the CAM of the logit margin; mean over the grid + b_t − b_f is z_t − z_f.

    "Divisive Decisions": Piland, Sweet, Czajka 2025 (arXiv 2507.17000). Of the three maps it is the only one that the
    decisions determine: adding one vector to all rows changes the others.
    """
    return combine(evidence, one_hot(evidence, target) - one_hot(evidence, evidence.rival(target)))


def binary_cam(evidence: Evidence, target: Tensor, mode: BinaryMode = "predicted") -> Maps:
    """s·(M_1 − M_0): the CAM of a yes-or-no decision's one logit z = z1 − z0, taken with sign s.

    Zhang, Bieri, Günther, SDS 2024 (arXiv 2403.14435).

    Args:
        evidence: Of B images and two classes, from one or two logits.
        target: Labels, (B,) 0 or 1; only mode ``label`` looks at them.
        mode: Where s comes from: ``predicted``, the sign of z as in the paper (+1 at z = 0, where the decision is
            positive; the paper's target |z| has no gradient there); ``label``, +1 for class 1; or s itself.

    Raises:
        UserError: K > 2.
    """
    import torch

    if evidence.classes > 2:
        raise UserError(f"the binary CAM is of a yes-or-no decision; this network has {evidence.classes} classes")
    if mode == "predicted":
        sign = 2 * evidence.predicted - 1
    elif mode == "label":
        sign = 2 * target - 1
    else:
        sign = torch.full_like(target, mode)
    return combine(evidence, torch.stack([-sign, sign], 1))


def diffgradcam(evidence: Evidence, target: Tensor, base: Base = "max") -> Maps:
    """Grad-CAM of D_c = z_c − base over j ≠ c of z_j, which no vector added to all rows can change.

    DiffGradCAM: Piland, Sweet, Czajka 2025 (arXiv 2506.08514). For K = 2 every base gives M_c − M_c'.

    Args:
        target: c, (B,) int64.
        base: ``max``, ``mean`` or ``soft`` (log-sum-exp). Which one the paper takes for K > 2 is not known to us.
    """
    own = one_hot(evidence, target)
    if base == "mean":
        return combine(evidence, own - (1 - own) / (evidence.classes - 1))
    if base == "soft":
        others = evidence.logits.scatter(1, target.view(-1, 1), float("-inf")).softmax(1)
        return combine(evidence, own - others)
    return combine(evidence, own - one_hot(evidence, evidence.rival(target)))


def one_hot(evidence: Evidence, classes: Tensor) -> Tensor:
    """Coefficients (B, K) that pick one class's CAM for each image."""
    from torch.nn import functional

    return functional.one_hot(classes, evidence.classes).to(evidence.logits.dtype)


@dataclass(frozen=True)
class MapKind:
    """One entry of the table.

    Attributes:
        function: Evidence and the class to explain, (B,) int64, to maps.
        sentence: What it shows.
        source: Where it is from.
        signed: Its negative part speaks against the class; otherwise only the positive part is shown, as published.
        needs_two_logits: Undefined for a one-logit head.
    """

    function: Callable[[Evidence, Tensor], Maps]
    sentence: str
    source: str
    signed: bool = False
    needs_two_logits: bool = False

    def undefined_for(self, head: str) -> str:
        """Why the map says nothing for a head; "" where it does."""
        return ONE_LOGIT if self.needs_two_logits and head == "one-logit" else ""


CAM = "Zhou et al., CVPR 2016"
DIVISIVE = "Piland, Sweet, Czajka 2025 (arXiv 2507.17000)"
DIFF_GRADCAM = "Piland, Sweet, Czajka 2025 (arXiv 2506.08514)"
BINARY = "Zhang, Bieri, Günther 2024 (arXiv 2403.14435)"
CASE = "Williamson, Dwyer, Ji 2025 (arXiv 2506.07327)"
MAPS: dict[str, MapKind] = {
    "true-class": MapKind(true_cam, "What speaks for the image's own class.", CAM, signed=True),
    "false-class": MapKind(false_cam, "What speaks for the likeliest other class.", DIVISIVE, signed=True),
    "difference": MapKind(
        difference_map, "True minus false class: what speaks for the margin, and what against.", DIVISIVE, signed=True
    ),
    "binary-predicted": MapKind(
        binary_cam, "What speaks for the decision that was made.", BINARY
    ),
    "binary-label": MapKind(
        partial(binary_cam, mode="label"), "What speaks for the right decision.", BINARY
    ),
    "binary-positive": MapKind(
        partial(binary_cam, mode=1), "What speaks for the positive class.", BINARY
    ),
    "binary-negative": MapKind(
        partial(binary_cam, mode=-1), "What speaks for the negative class.", BINARY
    ),
    "diffgradcam": MapKind(
        diffgradcam, "Grad-CAM of the logit minus the largest other logit.", DIFF_GRADCAM
    ),
    "case": MapKind(
        case.case_map, "Grad-CAM without its component along the classes it is confused with.", CASE,
        needs_two_logits=True,
    ),
    "case-clamped": MapKind(
        case.clamped_case_map, "CASE that removes shared components only.", CASE + ", clamped by us"
    ),
}  # fmt: skip


def map_kind(name: str) -> MapKind:
    """The entry of this name; UserError with the closest one otherwise."""
    if name not in MAPS:
        raise unknown("map", name, MAPS)
    return MAPS[name]
