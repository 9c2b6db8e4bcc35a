"""What every closed-form map is made of: features, classifier rows and logits, from one forward pass.

Shapes: B images, K classes, C channels, an h × w CAM grid. M_k is the CAM of class k, without the bias.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal, get_args

from divsal_bench import words
from divsal_bench.contracts import cams
from divsal_bench.errors import UserError
from divsal_bench.networks import devices
from divsal_bench.networks.backbones import CamNet

if TYPE_CHECKING:
    from torch import Tensor, nn

EvidenceHead = Literal[words.Head, "many-logit"]

#: Why tests that compare two classes' rows say nothing about a one-logit head.
ONE_LOGIT = (
    "undefined for a one-logit head: its two classes share one row (±½w), so that the map of one class is the other's "
    "negative whatever the network has learned"
)


@dataclass(frozen=True, eq=False)
class Evidence:
    """One forward pass over a batch.

    Attributes:
        features: The globally average-pooled features A, (B, C, h, w).
        weight: The linear classifier's rows W, (K, C), K ≥ 2. A one-logit head w reads as rows −½w and +½w.
        bias: (K,).
        logits: (B, K); mean over the grid of M_k, plus bias k.
        head: ``two-logit``, ``one-logit``, or ``many-logit`` for K > 2.
    """

    features: Tensor
    weight: Tensor
    bias: Tensor
    logits: Tensor
    head: EvidenceHead

    def __post_init__(self) -> None:
        count, classes = len(self.features), len(self.weight)
        if (
            self.features.ndim != 4
            or self.weight.shape != (classes, self.features.shape[1])
            or self.bias.shape != (classes,)
            or self.logits.shape != (count, classes)
        ):
            shapes = [tuple(part.shape) for part in (self.features, self.weight, self.bias, self.logits)]
            raise ValueError(f"features, weight, bias and logits do not fit each other: {shapes}")
        if self.head not in get_args(EvidenceHead) or classes < 2 or (self.head == "many-logit") != (classes > 2):
            raise ValueError(f"a {self.head} head cannot have {classes} rows")

    @property
    def classes(self) -> int:
        """K."""
        return len(self.weight)

    @property
    def grid(self) -> tuple[int, int]:
        """The CAM grid (h, w)."""
        return self.features.shape[-2], self.features.shape[-1]

    @cached_property
    def cams(self) -> Tensor:
        """M_k of every class, (B, K, h, w)."""
        return cams.class_cams(self.features, self.weight)

    @cached_property
    def margin(self) -> Tensor:
        """z1 − z0 of a binary decision, (B,), else a UserError; 0 or more is a positive prediction."""
        if self.classes > 2:
            raise UserError(f"a network of {self.classes} classes has no single margin z1 − z0")
        return self.logits[:, 1] - self.logits[:, 0]

    @cached_property
    def predicted(self) -> Tensor:
        """The predicted class, (B,) int64; of two classes the positive one wins a tie, as everywhere here."""
        return (self.margin >= 0).long() if self.classes == 2 else self.logits.argmax(1)

    def rival(self, target: Tensor) -> Tensor:
        """The false class of each sample, (B,) int64: of all classes but ``target``, the one with the largest logit.

        For K = 2 that is the other class; for K > 2 the runner-up where ``target`` is predicted, and the predicted
        class where it is not.

        Args:
            target: (B,) int64.
        """
        return self.logits.scatter(1, target.view(-1, 1), float("-inf")).argmax(1)


@dataclass(frozen=True, eq=False)
class Maps:
    """One map for each image of a batch.

    Attributes:
        values: (B, h, w), signed: before any ReLU, min–max scaling or resizing.
        undefined: (B,) bool: the formula gives a map, but one of rounding errors; leave it out and count it.
        why: What makes a map undefined, for people; "" if none can be.
    """

    values: Tensor
    undefined: Tensor
    why: str = ""


def combine(evidence: Evidence, coefficients: Tensor) -> Maps:
    """Σ_k coefficient_k · M_k for coefficients (B, K), defined for every image: all closed-form maps are such sums."""
    import torch

    values = torch.einsum("bk,bkhw->bhw", coefficients.to(evidence.cams), evidence.cams)
    return Maps(values, torch.zeros(len(values), dtype=torch.bool, device=values.device))


def gather(model: CamNet | nn.Module, images: Tensor) -> Evidence:
    """Run a network once and keep what maps need.

    Args:
        model: A :class:`~divsal_bench.networks.backbones.CamNet`, or a timm network of K ≥ 1 logits.
        images: (B, channels, S, S), as the network takes them.

    Raises:
        UserError: The network has no closed-form CAM: mean CAM + bias is not its logit on these images.
    """
    import torch

    model = model if isinstance(model, CamNet) else camnet(model)
    with evaluating(model.net), torch.no_grad():
        logits, features = model.forward(images)
        linear = getattr(model.net, "get_classifier", lambda: None)()
        if not isinstance(linear, torch.nn.Linear) or features.ndim != 4 or features.shape[1] != linear.in_features:
            raise no_closed_form(f"its classifier is {type(linear).__name__} on features {tuple(features.shape)}")
        weight, bias = (part.detach().float() for part in model.classifier())
    found = Evidence(features.float(), weight, bias, logits.float(), "many-logit" if len(weight) > 2 else model.head)
    with devices.arithmetic(features.device):
        closed = found.cams.mean((-2, -1)) + bias
    tolerance = 1e-3 * max(1.0, float(found.logits.abs().max())) if len(images) else 1.0
    if not torch.allclose(closed, found.logits, rtol=1e-3, atol=tolerance):
        raise no_closed_form("mean CAM + bias is not its logit")
    return found


def join_evidence(parts: Sequence[Evidence]) -> Evidence:
    """The evidence of several batches of one network as that of one, in order."""
    import torch

    features, logits = (torch.cat([getattr(part, name) for part in parts]) for name in ("features", "logits"))
    return replace(parts[0], features=features, logits=logits)


def camnet(net: nn.Module) -> CamNet:
    """Read a timm network of any number of logits as features and rows; its closed form is not checked here.

    Raises:
        UserError: It does not have timm's ``forward_features`` and ``forward_head``.
    """
    if not (hasattr(net, "forward_features") and hasattr(net, "forward_head")):
        raise UserError(
            f"{type(net).__name__} has no forward_features and forward_head, as timm's networks have: "
            "only Grad-CAM can explain it, with the layer to tap named"
        )
    return CamNet(net, "one-logit" if getattr(net, "num_classes", 2) == 1 else "two-logit")


def no_closed_form(reason: str) -> UserError:
    """The refusal of a network where a closed form is needed."""
    return UserError(
        f"this network has no closed-form CAM ({reason}), which this map needs: it takes global average pooling and "
        "one linear layer; Grad-CAM by autograd (divsal_bench.maps.gradcam) works for other heads"
    )


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode and back: an explanation leaves no trace in it."""
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
