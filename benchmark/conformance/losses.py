"""What a method's loss returns, on every kind of batch that training may hand it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from divsal_bench.conformance import specimens
from divsal_bench.conformance.checks import BreachError, Check
from divsal_bench.conformance.specimens import NO_MAPS, ORDINARY, SPECIMENS, Specimen
from divsal_bench.contracts.method import Batch, Method, Outputs
from divsal_bench.registry import plugins

if TYPE_CHECKING:
    from torch import Tensor


def losses_of(method: Method, batch: Batch, out: Outputs) -> dict[str, Tensor]:
    """Call ``loss``; BreachError unless it returns finite scalars by name, ``loss`` with a gradient."""
    import torch

    losses: object = method.loss(batch, out)
    if not isinstance(losses, dict) or "loss" not in losses:
        shown = f"a dict with the keys {sorted(losses)}" if isinstance(losses, dict) else type(losses).__name__
        raise BreachError(f"loss(batch, out) returned {shown}; return {{'loss': …}}, a tensor by name")
    for name, value in losses.items():
        if not isinstance(value, torch.Tensor):
            raise BreachError(f"{name} is {type(value).__name__}, not a tensor; leave out .item() and float()")
        if value.ndim:
            raise BreachError(f"{name} has shape {tuple(value.shape)}, not a scalar; take its mean")
        if not bool(torch.isfinite(value)):
            raise BreachError(
                f"{name} is {float(value.detach())}; guard divisors before dividing, as "
                "divsal_bench.contracts.cams.normalise and blend do"
            )
    if not losses["loss"].requires_grad:
        raise BreachError("loss has no gradient; compute it from out, without detach(), item(), numpy() or no_grad()")
    return losses


def on_specimen(specimen: Specimen) -> Callable[[type[Method]], str]:
    """A look at the loss and its gradients on one specimen."""

    def look(method: type[Method]) -> str:
        import torch

        built = method()
        losses = losses_of(built, *specimens.one_pass(built, specimen))
        losses["loss"].backward()
        for name, parameter in specimens.network(specimen.head).net.named_parameters():
            if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all()):
                raise BreachError(
                    f"the loss is finite, its gradient in {name} is not; guard divisors before dividing: "
                    "masking the result afterwards leaves NaN gradients"
                )
        gradient = specimens.first_layer(specimen).grad
        # Of guidance alone nothing flows back where there is no map; this batch has some.
        if specimen == ORDINARY and (gradient is None or not bool(gradient.any())):
            raise BreachError("no gradient reaches the backbone; use out.logits and the CAMs without detach()")
        return ", ".join(f"{name} {float(value.detach()):.3g}" for name, value in losses.items())

    return look


def same_names(method: type[Method]) -> str:
    """What is logged does not depend on the batch: the columns of a run's history are those of its first."""
    found = {}
    for specimen in (ORDINARY, NO_MAPS):
        built = method()
        found[specimen] = set(losses_of(built, *specimens.one_pass(built, specimen)))
    if found[ORDINARY] != found[NO_MAPS]:
        differ = ", ".join(sorted(found[ORDINARY] ^ found[NO_MAPS]))
        raise BreachError(f"{differ} is returned for some batches only; return the same names for every batch")
    return ""


def without_maps(method: type[Method]) -> str:
    """A batch without maps gives a guided method α · cross-entropy: no sample weighs more for having no map."""
    import torch

    built = method()
    alpha: object = getattr(built, "alpha", None)
    if method.kind == "unguided" or not isinstance(alpha, int | float):
        return "no field alpha" if method.kind != "unguided" else "unguided"
    batch, out = specimens.one_pass(built, NO_MAPS)
    loss, expected = losses_of(built, batch, out)["loss"], alpha * out.cross_entropy
    if not torch.allclose(loss, expected, rtol=1e-5, atol=1e-7):
        raise BreachError(
            f"it is {float(loss.detach()):.6g}, not {float(expected.detach()):.6g}; leave samples without a map out "
            "of the saliency term only, as divsal_bench.contracts.cams.blend does"
        )
    return ""


def with_alpha_one(method: type[Method]) -> str:
    """With α = 1 a method is cross-entropy, bit for bit, gradient included."""
    import torch

    if "alpha" not in {field.name for field in plugins.fields_of(method)}:
        return "no field alpha"
    chosen: Any = method
    built: Method = chosen(alpha=1.0)
    batch, out = specimens.one_pass(built, ORDINARY)
    loss = losses_of(built, batch, out)["loss"]
    if not torch.equal(loss, out.cross_entropy):
        raise BreachError(
            f"it is {float(loss.detach()):.9g}, cross-entropy is {float(out.cross_entropy.detach()):.9g}; alpha must "
            "be the weight of out.cross_entropy and 1 − alpha that of the rest"
        )
    (own,) = torch.autograd.grad(loss, out.features, retain_graph=True)
    (plain,) = torch.autograd.grad(out.cross_entropy, out.features)
    if not torch.equal(own, plain):
        raise BreachError("its gradient is not that of cross-entropy; multiply what alpha leaves out by 1 − alpha")
    return ""


ON_AN_ORDINARY_BATCH: Check[type[Method]] = Check("loss on a batch with and without maps", on_specimen(ORDINARY))
ON_OTHERS: tuple[Check[type[Method]], ...] = tuple(
    Check(f"loss on {name}", on_specimen(specimen)) for name, specimen in SPECIMENS.items()
)
RELATIONS: tuple[Check[type[Method]], ...] = (
    Check("the same names for every batch", same_names),
    Check("without maps, alpha · cross-entropy", without_maps),
    Check("with alpha = 1, cross-entropy bit for bit", with_alpha_one),
)
