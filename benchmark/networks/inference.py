"""Images into a network, logits and maps out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from divsal_bench.networks.backbones import CamNet
    from divsal_bench.registry.protocols import Protocol


def as_input(images: Tensor, protocol: Protocol) -> Tensor:
    """uint8 (B, C, S, S) to the network's input: float, normalised, grey repeated if 3 channels are asked."""
    import torch

    mean = torch.tensor(protocol.mean, device=images.device).view(1, -1, 1, 1) * 255
    std = torch.tensor(protocol.std, device=images.device).view(1, -1, 1, 1) * 255
    if protocol.channels == 3 and images.shape[1] == 1:
        images = images.expand(-1, 3, -1, -1)
    floats = images.float().sub_(mean).div_(std) if images.shape[1] >= mean.shape[1] else (images - mean) / std
    return floats.contiguous(memory_format=torch.channels_last) if protocol.channels_last else floats


def predict(
    model: CamNet, images: Tensor, protocol: Protocol, with_cams: bool = False, batch_size: int = 128
) -> tuple[Tensor, Tensor | None]:
    """Score images in order.

    Args:
        model: The trained network.
        images: (N, C, S, S) uint8, on any device.
        protocol: For the input's form and the precision.
        with_cams: Also compute the CAMs of both classes, from the same features.
        batch_size: Changes the last bits of a logit at most (1e-7): matrix products round by their size.

    Returns:
        Logits (N, 2) and, if asked for, CAMs (N, 2, h, w), float32 on the CPU.
    """
    import torch

    from divsal_bench.contracts.cams import class_cams

    device = next(model.net.parameters()).device
    model.net.eval()
    batch_size = max(1, min(batch_size, MOST_PIXELS // max(1, images.shape[-1] * images.shape[-2])))
    logits, maps = [], []
    with (
        torch.inference_mode(),
        torch.autocast(device.type, torch.bfloat16, enabled=protocol.precision == "bf16"),
    ):
        weight = model.classifier()[0].float()
        for chunk in images.split(batch_size):
            scores, features = model.forward(as_input(chunk.to(device), protocol))
            logits.append(scores.float().cpu())
            if with_cams:
                with torch.autocast(device.type, enabled=False):
                    maps.append(class_cams(features.float(), weight).cpu())
    return torch.cat(logits), torch.cat(maps) if maps else None


#: In one forward pass; more than 128 images of the sizes that protocols here have.
MOST_PIXELS = 128 * 512**2
