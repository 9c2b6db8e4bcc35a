"""Images into a network, logits and maps out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from divsal_bench.networks import devices

if TYPE_CHECKING:
    from torch import Tensor

    from divsal_bench.networks.backbones import CamNet
    from divsal_bench.registry.protocols import Protocol

#: In one forward pass; more than 128 images of the sizes that protocols here have.
MOST_PIXELS = 128 * 512**2


@dataclass(frozen=True)
class InputForm:
    """How uint8 images become a network's input, and the arithmetic that it works in.

    Attributes:
        size: Side S of the square input, pixels.
        channels: 3 repeats grey images; ``"task"`` takes images as they are.
        mean, std: Of the input in [0, 1], per channel; one number serves all channels.
        precision: ``fp32`` or ``bf16`` (autocast).
    """

    size: int
    channels: Literal["task", 3]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    precision: Literal["fp32", "bf16"] = "fp32"
    channels_last: bool = True


def form_of(protocol: Protocol) -> InputForm:
    """The form that a protocol trains in."""
    return InputForm(
        size=protocol.input_size,
        channels=protocol.channels,
        mean=protocol.mean,
        std=protocol.std,
        precision=protocol.precision,
        channels_last=protocol.channels_last,
    )


def as_input(images: Tensor, form: InputForm) -> Tensor:
    """uint8 (B, C, S, S) to the network's input: float, normalised, grey repeated if 3 channels are asked."""
    import torch

    mean = torch.tensor(form.mean, device=images.device).view(1, -1, 1, 1) * 255
    std = torch.tensor(form.std, device=images.device).view(1, -1, 1, 1) * 255
    if form.channels == 3 and images.shape[1] == 1:
        images = images.expand(-1, 3, -1, -1)
    floats = images.float().sub_(mean).div_(std) if images.shape[1] >= mean.shape[1] else (images - mean) / std
    return floats.contiguous(memory_format=torch.channels_last) if form.channels_last else floats


def infer(
    model: CamNet, images: Tensor, form: InputForm, with_cams: bool = False, batch_size: int = 128
) -> tuple[Tensor, Tensor | None]:
    """Score images in order.

    Args:
        images: (N, C, S, S) uint8, on any device.
        form: Of the input, with the precision.
        with_cams: Also compute the CAMs of both classes, from the same features.
        batch_size: Changes the last bits of a logit at most (1e-7): matrix products round by their size.

    Returns:
        Logits (N, 2) and, if asked for, CAMs (N, 2, h, w), float32 on the CPU.
    """
    import torch

    from divsal_bench.contracts.cams import class_cams

    device = devices.device_of(model)
    model.net.eval()
    batch_size = max(1, min(batch_size, MOST_PIXELS // max(1, images.shape[-1] * images.shape[-2])))
    logits, maps = [], []
    with torch.inference_mode(), devices.arithmetic(device, form.precision):
        weight = model.classifier()[0].float()
        for chunk in images.split(batch_size):
            scores, features = model.forward(as_input(chunk.to(device), form))
            logits.append(scores.float().cpu())
            if with_cams:
                with devices.arithmetic(device):
                    maps.append(class_cams(features.float(), weight).cpu())
    return torch.cat(logits), torch.cat(maps) if maps else None
