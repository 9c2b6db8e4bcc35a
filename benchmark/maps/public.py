"""Maps of the public package ``grad-cam`` (Gildenblat, MIT), which comes with the extra ``explain``.

What is explained is D = z_c − z_c' with c the class to explain and c' its rival, both frozen from the unmasked image.
For a binary decision that is s·z with s frozen, where the study of Zhang, Bieri and Günther (arXiv 2403.14435) takes
|z|: a masked image, as Score-CAM makes them, can flip the sign of z and would still score high.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from divsal_bench.contracts import cams
from divsal_bench.errors import UserError, unknown
from divsal_bench.files.texts import first_line
from divsal_bench.maps.evidence import Maps, camnet, evaluating
from divsal_bench.networks.backbones import CamNet

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class PublicMap:
    """One map of the package.

    Attributes:
        class_name: Its class there.
        sentence: What it does, and at what price.
        source: Where it is from.
    """

    class_name: str
    sentence: str
    source: str


PUBLIC = {
    "gradcam": PublicMap("GradCAM", "As our closed form and autograd give it; a check.", "Selvaraju et al., ICCV 2017"),
    "hirescam": PublicMap(
        "HiResCAM", "Gradient times feature, cell by cell: a backward pass.", "Draelos, Carin 2020 (arXiv 2011.08891)"
    ),
    "score-cam": PublicMap(
        "ScoreCAM",
        "Features weighted by the score of the image they mask: a forward pass for every channel.",
        "Wang et al., CVPR Workshops 2020",
    ),
    "fullgrad": PublicMap(
        "FullGrad",
        "Gradient times input plus gradients times biases of all layers: a backward pass.",
        "Srinivas, Fleuret, NeurIPS 2019",
    ),
}


def public_map(name: str, model: CamNet | nn.Module, images: Tensor, target: Tensor | None = None) -> Maps:
    """Compute one map of the package, on the CAM grid and with its sign.

    The package's own output is clipped at 0, min–max scaled and enlarged, which makes a full picture of an empty map;
    here are the values before that. FullGrad has none: what it gives, scaled to [0, 1] on the pixels, is
    area-averaged on the grid.

    Returns:
        Grad-CAM and HiResCAM times h·w, on the scale of the closed-form maps; the others on their own.

    Args:
        name: Of :data:`PUBLIC`.
        model: A :class:`~divsal_bench.networks.backbones.CamNet` or a timm network of K ≥ 1 logits.
        images: (B, channels, S, S), as the network takes them.
        target: The class to explain, (B,) int64; None takes the predicted one.

    Raises:
        UserError: An unknown map, the package is missing, or it cannot read this network.
    """
    import torch

    if name not in PUBLIC:
        raise unknown("map", name, PUBLIC)
    package = grad_cam_package()
    network = tappable(model if isinstance(model, CamNet) else camnet(model))
    with evaluating(network.net), torch.no_grad():
        logits, features = network.model.forward(images)
    if target is None:
        margin = logits[:, 1] - logits[:, 0]
        target = (margin >= 0).long() if logits.shape[1] == 2 else logits.argmax(1)
    rival = logits.scatter(1, target.view(-1, 1), float("-inf")).argmax(1)
    frozen = [target_minus_rival(int(c), int(other)) for c, other in zip(target, rival, strict=True)]
    # Score-CAM holds every masked copy of its images at once: 1.2 GB for one image of a ResNet-50.
    size = 1 if name == "score-cam" else max(1, len(images))
    parts = [
        unscaled_map(package, name, network, chunk, frozen[start : start + size])
        for start, chunk in zip(range(0, len(images), size), images.split(size), strict=True)
    ]
    values = torch.cat(parts) if parts else features.new_zeros(0, *features.shape[-2:])
    values = values.to(features.device)
    if values.shape[-2:] != features.shape[-2:]:
        values = cams.pool(values, (features.shape[-2], features.shape[-1]))
    return Maps(values, ~values.isfinite().all(-1).all(-1), "it is not finite")


def grad_cam_package() -> Any:
    """The package; UserError with the command that installs it."""
    try:
        import pytorch_grad_cam
    except ImportError as error:
        raise UserError(
            f"this map is made by the package grad-cam, which cannot be imported ({first_line(error)}); "
            "install it with: pip install 'divsal-bench[explain]'"
        ) from error
    return pytorch_grad_cam


def target_minus_rival(target: int, rival: int) -> Callable[[Tensor], Tensor]:
    """D of one image as a function of the logits (K,) of any masked copy of it."""
    return lambda logits: logits[target] - logits[rival]


def tappable(model: CamNet) -> Any:
    """A network as the package wants it: a module that gives logits (B, K), with a layer ``tap`` whose output is A."""
    from torch import nn

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.net, self.tap = model, model.net, nn.Identity()

        def forward(self, images: Tensor) -> Tensor:
            logits, features = self.model.forward(images)
            # Identity hands on the tensor itself, from which the logits came: hooks on it see their gradient.
            self.tap(features)
            return logits

    return Network()


def unscaled_map(
    package: Any, name: str, network: Any, images: Tensor, targets: list[Callable[[Tensor], Tensor]]
) -> Tensor:
    """Run the package on a batch and keep what it computes before scaling: (B, h, w), of FullGrad (B, S, S)."""
    import torch

    kept: list[Any] = []
    layers = [] if name == "fullgrad" else [network.tap]
    with evaluating(network), torch.enable_grad(), contextlib.redirect_stderr(io.StringIO()):  # it draws progress bars
        cam = getattr(package, PUBLIC[name].class_name)(model=network, target_layers=layers)
        made = cam.get_cam_image

        def keep(*arguments: Any, **options: Any) -> Any:
            kept.append(made(*arguments, **options))
            return kept[-1]

        cam.get_cam_image = keep
        try:
            scaled = cam(input_tensor=images.detach().clone().requires_grad_(), targets=targets)
        except (AssertionError, AttributeError, IndexError, TypeError) as error:
            raise UserError(f"grad-cam's {PUBLIC[name].class_name} cannot read this network: {error!r}") from error
        finally:
            cam.activations_and_grads.release()
            network.zero_grad(set_to_none=True)
    values = torch.as_tensor(kept[0] if kept else scaled).float()
    # A mean over cells weighs the gradients there, and a sum in the closed form.
    return values * values[0].numel() if name in ("gradcam", "hirescam") else values
