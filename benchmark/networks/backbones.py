"""timm networks whose CAM is closed-form: global average pooling, then one linear layer."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

from divsal_bench.errors import UserError, unknown
from divsal_bench.files.texts import first_line
from divsal_bench.networks import devices
from divsal_bench.networks.published import weights_file
from divsal_bench.words import Head

if TYPE_CHECKING:
    from torch import Tensor, nn

    from divsal_bench.registry.protocols import Protocol

#: Architectures whose closed-form CAM the tests check; any other timm name is accepted if it passes the same
#: check when it is built.
TESTED = {
    "resnet10t": "the default of quick-v1, narrowed there to 16-32-48-64 channels",
    "resnet18": "ResNet family: any depth, any tag, e.g. resnet50.tv_in1k",
    "resnet50": "the backbone of the published CYBORG recipe (resnet50.tv_in1k)",
    "resnext50_32x4d": "ResNeXt family",
    "densenet121": "DenseNet family; its tap is the pooled tensor, after the last ReLU",
    "inception_v3": "published with 299 px inputs",
    "efficientnet_b0": "EfficientNet family",
    "mobilenetv2_100": "MobileNet V2",
    "regnety_002": "RegNet family",
    "xception41": "Xception family",
}
#: What a refusal recommends.
WORKS = "Closed form works for ResNet, ResNeXt, DenseNet, Inception, EfficientNet, MobileNet V2, RegNet, Xception."


class CamNet:
    """A timm network read as features, classifier rows and two logits.

    Attributes:
        net: The timm module; its state dict is what is saved.
        head: ``two-logit``, or ``one-logit`` whose logit z reads as (−z/2, z/2) and whose row w as ±½w.
    """

    def __init__(self, net: nn.Module, head: Head) -> None:
        self.net = net
        self.head = head

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, (B, 2) float32, and the pooled features A, (B, C, h, w), in one pass."""
        import torch

        features = self.net.forward_features(images)  # type: ignore[operator]
        # Scores keep float32 under autocast: in bfloat16 they would tie by the dozen.
        with devices.arithmetic(features.device):
            logits = self.net.forward_head(features.float())  # type: ignore[operator]
        if self.head == "one-logit":
            logits = torch.cat([-logits / 2, logits / 2], 1)
        return logits, features

    def classifier(self) -> tuple[Tensor, Tensor]:
        """Rows W, (2, C), and biases b, (2,), as trained parameters (gradients flow)."""
        import torch

        linear = self.net.get_classifier()  # type: ignore[operator]
        weight, bias = linear.weight, linear.bias
        if self.head == "one-logit":
            return torch.cat([-weight / 2, weight / 2]), torch.cat([-bias / 2, bias / 2])
        return weight, bias


def build(backbone: str, protocol: Protocol, in_chans: int, head: Head, seed: int, check: bool = True) -> CamNet:
    """Build a network, its initial weights fixed by ``seed``, and check its closed form.

    Raises:
        UserError: Unknown backbone, weights that cannot be had, or a network without a closed-form CAM.
    """
    import timm
    import torch

    arguments = model_args(backbone, protocol, in_chans, head)
    if not known(backbone):
        raise UserError(f"backbone {backbone!r}: timm has the architecture, but no weights of that tag")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            if protocol.pretrained:
                arguments["pretrained_cfg_overlay"] = {"file": weights_file(backbone)}
            net = timm.create_model(backbone, pretrained=protocol.pretrained, **arguments)
        except (TypeError, ValueError, NotImplementedError, AssertionError) as error:
            stride = arguments.get("output_stride")
            if stride and builds_without_stride(backbone, arguments):
                raise UserError(
                    f"backbone {backbone!r} has no output stride of {stride}, which protocol {protocol.name} asks for; "
                    "take a ResNet, ResNeXt, EfficientNet, MobileNet V2 or RegNet, or another --protocol"
                ) from error
            raise UserError(
                f"backbone {backbone!r} cannot be built as protocol {protocol.name} asks ({first_line(error)}). {WORKS}"
            ) from error
    model = CamNet(net, head)
    if check:
        require_grid(require_closed_form(model, backbone, protocol.input_size, in_chans), backbone, protocol)
    if protocol.channels_last:
        net.to(memory_format=torch.channels_last)
    return model


def builds_without_stride(backbone: str, arguments: dict[str, Any]) -> bool:
    """Whether the stride alone keeps a network from being built."""
    import timm

    try:
        timm.create_model(backbone, pretrained=False, **{k: v for k, v in arguments.items() if k != "output_stride"})
    except (TypeError, ValueError, NotImplementedError, AssertionError):
        return False
    return True


def full_name(backbone: str, protocol: Protocol) -> str:
    """The name with its tag, where published weights are used: ``resnet50`` alone is timm's choice of today."""
    if not protocol.pretrained:
        return backbone
    import timm

    config = timm.get_pretrained_cfg(backbone, allow_unregistered=False) if known(backbone) else None
    if config is None or not config.hf_hub_id:
        raise UserError(
            f"backbone {backbone!r} has no published weights, which protocol {protocol.name} starts from; "
            f"see timm.list_pretrained({backbone.partition('.')[0] + '*'!r})"
        )
    return f"{config.architecture}.{config.tag}" if config.tag else str(config.architecture)


def known(backbone: str) -> bool:
    """Whether timm has the name, with its tag if it carries one; an unknown architecture is a UserError."""
    import timm

    architecture, _, tag = backbone.partition(".")
    if architecture not in timm.list_models():
        raise unknown("backbone", backbone, timm.list_models(), "See `divsal-bench list backbones`.")
    return not tag or backbone in timm.list_pretrained(architecture + ".*")


def model_args(backbone: str, protocol: Protocol, in_chans: int, head: Head) -> dict[str, Any]:
    """The arguments that rebuild the same network with ``timm.create_model``."""
    arguments: dict[str, Any] = {"num_classes": 1 if head == "one-logit" else 2, "in_chans": in_chans}
    if protocol.output_stride:
        arguments["output_stride"] = protocol.output_stride
    if backbone == protocol.backbone:
        arguments |= protocol.backbone_args
    return arguments


def require_closed_form(model: CamNet, name: str, size: int, in_chans: int) -> tuple[int, int]:
    """Check on random input of ``size`` px that mean CAM + bias = logits.

    Returns:
        The grid of its CAMs, (h, w).

    Raises:
        UserError: It does not hold, with a list of what works.
    """
    import torch

    from divsal_bench.contracts.cams import class_cams

    refusal = f"backbone {name!r} has no closed-form CAM: "
    linear = getattr(model.net, "get_classifier", lambda: None)()
    if not isinstance(linear, torch.nn.Linear):
        raise UserError(f"{refusal}its classifier is {type(linear).__name__}, not one linear layer. {WORKS}")
    training = model.net.training
    model.net.eval()
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, in_chans, size, size, generator=generator)
    with torch.inference_mode():
        try:
            logits, features = model.forward(images)
        except (RuntimeError, AssertionError, ValueError) as error:
            raise UserError(f"{refusal}it does not run on {size} px input ({first_line(error)}). {WORKS}") from error
        weight, bias = model.classifier()
        if features.ndim != 4 or features.shape[1] != weight.shape[1]:
            raise UserError(f"{refusal}its features have shape {tuple(features.shape)}. {WORKS}")
        closed = class_cams(features, weight).mean((-2, -1)) + bias
    model.net.train(training)
    if not torch.allclose(closed, logits, rtol=1e-3, atol=1e-3 * max(1.0, float(logits.abs().max()))):
        raise UserError(f"{refusal}mean CAM + bias is not its logit. {WORKS}")
    return features.shape[-2], features.shape[-1]


def require_grid(grid: tuple[int, int], backbone: str, protocol: Protocol) -> None:
    """Refuse CAMs that are coarser than a protocol needs."""
    side = min(grid)
    wanted = math.ceil(protocol.input_size / protocol.output_stride) if protocol.output_stride else 4
    if side < wanted:
        raise UserError(
            f"backbone {backbone!r} gives {side}×{side} CAMs at {protocol.input_size} px, "
            f"protocol {protocol.name} needs at least {wanted}×{wanted}; "
            "choose a ResNet or a protocol with larger input"
        )


def weights_hash(backbone: str, protocol: Protocol) -> str:
    """``scratch``, or sha256 of the published weights the tag stands for now."""
    if not protocol.pretrained:
        return "scratch"
    model = build(backbone, protocol, 3, "two-logit", seed=0, check=False)
    classifier = {id(parameter) for parameter in model.net.get_classifier().parameters()}  # type: ignore[operator]
    digest = hashlib.sha256()
    for name, tensor in sorted(model.net.state_dict(keep_vars=True).items()):
        if id(tensor) not in classifier:  # the classifier is new and random
            digest.update(name.encode() + tensor.detach().contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()
