"""Grad-CAM by autograd: for heads without a closed form, at the price of a backward pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from divsal_bench.errors import UserError
from divsal_bench.maps.evidence import Maps, camnet, evaluating
from divsal_bench.networks.backbones import CamNet

if TYPE_CHECKING:
    from torch import Tensor, nn

WHY = "no logit gradient reaches the features, so that every channel weighs nothing"


def gradcam(model: CamNet | nn.Module, images: Tensor, target: Tensor, tap: nn.Module | None = None) -> Maps:
    """Σ_k α_k·A_k with α_k = mean over cells of ∂z_c/∂A_k, times h·w (Selvaraju et al., ICCV 2017, equations 1 and 2).

    Times h·w it equals the CAM where that has a closed form. Before the ReLU, as all maps here.

    Args:
        model: A :class:`~divsal_bench.networks.backbones.CamNet`, any timm network of K ≥ 1 logits, or with ``tap`` any
            module that maps images to logits (B, K).
        images: (B, channels, S, S), as the network takes them.
        target: The class c to explain, (B,) int64; of one logit z, class 1 is z/2 and class 0 −z/2.
        tap: The layer whose output is A; without it, what timm's ``forward_features`` gives.

    Raises:
        UserError: What is tapped is no feature map (B, C, h, w), or the logits do not depend on it.
    """
    import torch

    net = model.net if isinstance(model, CamNet) else model
    images = images.detach().requires_grad_()  # a network may be frozen
    with evaluating(net), torch.enable_grad():
        if tap is not None:
            logits, features = tapped(net, tap, images)
        else:
            logits, features = (model if isinstance(model, CamNet) else camnet(model)).forward(images)
        if features.ndim != 4:
            raise UserError(
                f"Grad-CAM needs a feature map (B, C, h, w) and the tapped layer gives {tuple(features.shape)}; "
                "name another layer, as a rule the last convolution stage"
            )
        if logits.shape[1] == 1:
            logits = torch.cat([-logits / 2, logits / 2], 1)
        wanted = logits.gather(1, target.view(-1, 1)).sum()
        (gradient,) = torch.autograd.grad(wanted, features, allow_unused=True)
    if gradient is None:
        raise UserError("the logits do not depend on the tapped layer; name one that the forward pass goes through")
    weights = gradient.sum((-2, -1))  # mean over cells, times h·w
    values = torch.einsum("bc,bchw->bhw", weights.float(), features.detach().float())
    return Maps(values, (weights == 0).all(1), WHY)


def tapped(net: nn.Module, tap: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Logits and what one layer put out on the way, as part of the graph; UserError if it was not reached."""
    kept: list[Tensor] = []
    handle = tap.register_forward_hook(lambda module, given, output: kept.append(output))
    try:
        logits = net(images)
    finally:
        handle.remove()
    if not kept or not hasattr(kept[-1], "shape"):
        raise UserError(f"the tapped layer {type(tap).__name__} put out no tensor in the forward pass; name another")
    return logits, kept[-1]
