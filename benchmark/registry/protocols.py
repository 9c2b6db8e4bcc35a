"""Protocols: named, versioned sets of training choices. They are part of every result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from divsal_bench.errors import unknown

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Protocol:
    """Everything that shapes training beside task, method, backbone and seed.

    Attributes:
        name: With its version, e.g. ``quick-v1``.
        description: One sentence for listings.
        backbone: Used without ``--backbone``.
        backbone_args: Arguments of ``timm.create_model`` for that default backbone only.
        pretrained: Start from the tag's published weights; otherwise from scratch.
        input_size: Side of the square input, pixels.
        channels: ``"task"`` (1 for grey tasks) or 3 for every task.
        output_stride: Passed to the backbone where given; with ``input_size`` it sets the CAM grid.
        mean, std: Of the input in [0, 1], per channel; one number serves all channels.
        epochs, batch_size: The last, smaller batch of an epoch is kept, unless it is a single sample, which
            batch normalisation cannot use.
        optimiser, learning_rate, weight_decay, momentum: ``momentum`` for SGD only.
        schedule: ``one-cycle`` (warm-up over the first fifth) or ``step`` (× 0.1 every ``step_epochs``).
        rotate, scale, shift, flip: Random affine augmentation of image and map together: degrees, share,
            share of the side, probability of a horizontal mirror image.
        precision: ``fp32`` or ``bf16`` (autocast).
        threads: CPU threads of one run; results depend on it.
        selection: Which epoch counts: the last, or the best on the validation split (ties to the later).
    """

    name: str
    description: str
    backbone: str
    input_size: int
    epochs: int
    batch_size: int
    optimiser: Literal["adamw", "sgd"]
    learning_rate: float
    weight_decay: float
    schedule: Literal["one-cycle", "step"]
    selection: Literal["last", "validation-accuracy", "validation-auroc"]
    backbone_args: dict[str, Any] = field(default_factory=dict)
    pretrained: bool = False
    channels: Literal["task", 3] = "task"
    output_stride: int | None = None
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.25,)
    momentum: float = 0.0
    step_epochs: int = 0
    rotate: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    flip: float = 0.0
    precision: Literal["fp32", "bf16"] = "fp32"
    channels_last: bool = True
    threads: int = 1


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="quick-v1",
            description="A narrow ResNet-10-T from scratch at 64 px, 8×8 CAMs: minutes on a CPU.",
            backbone="resnet10t",
            backbone_args={"channels": [16, 32, 48, 64], "stem_width": 8},
            input_size=64,
            output_stride=8,
            epochs=12,
            batch_size=32,
            optimiser="adamw",
            learning_rate=3e-3,
            weight_decay=0.05,
            schedule="one-cycle",
            rotate=10.0,
            scale=0.1,
            shift=0.05,
            flip=0.5,
            selection="last",
        ),
        Protocol(
            name="cyborg-v1",
            description="The published CYBORG recipe: ImageNet ResNet-50 at 224 px, no augmentation, SGD.",
            backbone="resnet50.tv_in1k",
            pretrained=True,
            input_size=224,
            channels=3,
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            epochs=50,
            batch_size=20,
            optimiser="sgd",
            learning_rate=0.005,
            momentum=0.9,
            weight_decay=1e-6,
            schedule="step",
            step_epochs=12,
            threads=2,
            selection="validation-accuracy",
        ),
        Protocol(
            name="standard-v1",
            description="Ours for GPUs: ImageNet ResNet-50 at 224 px, bf16, batched augmentation, AdamW.",
            backbone="resnet50.a1_in1k",
            pretrained=True,
            input_size=224,
            channels=3,
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            epochs=20,
            batch_size=64,
            optimiser="adamw",
            learning_rate=2e-4,
            weight_decay=0.05,
            schedule="one-cycle",
            rotate=10.0,
            scale=0.1,
            shift=0.05,
            flip=0.5,
            precision="bf16",
            threads=2,
            selection="validation-auroc",
        ),
    )
}


def find_protocol(name: str) -> Protocol:
    """The protocol of this name; UserError with the closest one otherwise."""
    if name not in PROTOCOLS:
        raise unknown("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]
