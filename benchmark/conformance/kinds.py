"""Whether a method is of the kind it declares, as far as its loss shows it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from divsal_bench.conformance import specimens
from divsal_bench.conformance.checks import BreachError
from divsal_bench.conformance.losses import losses_of
from divsal_bench.conformance.specimens import MAPPED, ORDINARY, Specimen
from divsal_bench.contracts.method import Method

if TYPE_CHECKING:
    from torch import Tensor

    from divsal_bench.training.splits import SplitTensors

#: Relative change of a loss below which nothing has changed but float32 rounding.
ROUNDING = 1e-4


def declared_kind(method: type[Method]) -> str:
    """Unguided: maps change nothing. One CAM, two CAMs: maps change the training; one or both classes' CAMs do."""
    import torch

    if method.kind == "control":
        return "control: not looked at"
    loss, gradient = training_signal(method, specimens.train_split())
    loss_moved, gradient_moved = training_signal(method, specimens.train_split(moved=True))
    if method.kind == "unguided":
        without = training_signal(method, specimens.train_split(maps=False))
        if not (torch.equal(loss, loss_moved) and torch.equal(loss, without[0])):
            raise BreachError("kind is unguided, but the loss changes with the human maps; declare one-cam or two-cam")
        return "unguided: the maps change nothing"
    if torch.equal(loss, loss_moved):
        raise BreachError(
            f"kind is {method.kind}, but other human maps give the same loss with the default fields; compare a CAM "
            "with batch.human(out.grid), or declare unguided"
        )
    if torch.equal(gradient, gradient_moved):
        raise BreachError(
            "the human maps change the loss, but not its gradient in the backbone; use the CAMs without detach()"
        )
    uses_both = false_class_matters(method)
    if method.kind == "one-cam" and uses_both:
        raise BreachError("kind is one-cam, but the loss changes with the false-class CAM; declare two-cam")
    if method.kind == "two-cam" and not uses_both:
        raise BreachError("kind is two-cam, but the false-class CAM does not change the loss; declare one-cam")
    return f"{method.kind}: the maps and {'both CAMs' if uses_both else 'one CAM'} decide the loss"


def training_signal(method: type[Method], split: SplitTensors) -> tuple[Tensor, Tensor]:
    """The loss, scalar, and its gradient in the first layer, on one batch of a training split."""
    import torch

    built = method()
    loss = losses_of(built, *specimens.one_pass(built, ORDINARY, split))["loss"]
    layer = specimens.first_layer(ORDINARY)
    (gradient,) = torch.autograd.grad(loss, layer, allow_unused=True)
    return loss.detach(), torch.zeros_like(layer) if gradient is None else gradient


def false_class_matters(method: type[Method]) -> bool:
    """Whether the loss changes with the false-class CAM alone.

    The false class's classifier row is moved by a vector that is orthogonal to every pooled feature: no logit
    moves, and of the CAMs only the false class's.
    """
    import torch

    for label in (0, 1):
        specimen = Specimen(tuple(MAPPED[label::2][:6]))
        built = method()
        batch, out = specimens.one_pass(built, specimen)
        # A clear decision for the true class, so that the predicted class is the true one.
        push = 10.0 * torch.nn.functional.one_hot(batch.labels, 2)
        out = dataclasses.replace(out, logits=out.logits + push)
        pooled = out.features.detach().mean((2, 3))  # (6, 8): two directions are orthogonal to all
        along = torch.linalg.svd(pooled).Vh[-1] * 3 * out.weight.detach().norm(dim=1).mean()
        away = torch.zeros_like(out.weight)
        away[1 - label] = along
        moved = dataclasses.replace(out, weight=out.weight + away)
        before, after = (float(losses_of(built, batch, one)["loss"].detach()) for one in (out, moved))
        if abs(after - before) > ROUNDING * max(abs(before), 1e-2):
            return True
    return False
