"""The loop that one would write by hand for the same training: nothing but PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from divsal_bench.data.arrays import DataArrays
    from divsal_bench.networks.backbones import CamNet
    from divsal_bench.registry.protocols import Protocol
    from divsal_bench.training.training import Streams


@dataclass(frozen=True)
class Loaded:
    """A split in the device's memory: images (N, C, S, S) uint8, labels (N,) int64, maps (N, S, S) uint8."""

    images: Tensor
    labels: Tensor
    maps: Tensor


def load_split(data: DataArrays, split: str, device: torch.device) -> Loaded:
    """One split of decoded data, copied to a device."""
    import torch

    rows = np.flatnonzero(data.rows["split"] == split)
    labels = data.rows["label"].to_numpy(np.int64)[rows]
    images, maps = (torch.from_numpy(np.array(part[rows])).to(device) for part in (data.images, data.maps))
    return Loaded(images, torch.from_numpy(labels).to(device), maps)


class BareTraining:
    """Training with cross-entropy; each call of :meth:`step` is one optimisation step.

    Args:
        model: Its timm network is trained in place.
        train: On the device that is trained on.
        streams: The seeds of our own training, which then sees the same batches.

    Attributes:
        mark: Told where a step is: ``data``, ``forward`` or ``backward`` are done.
        loss: Of the last step.
    """

    #: Whether a step moves the human maps along with the images.
    wants_maps = False

    def __init__(self, model: CamNet, train: Loaded, protocol: Protocol, streams: Streams) -> None:
        import torch

        self.model, self.train, self.protocol = model, train, protocol
        self.net = model.net.to(train.labels.device).train()
        self.mark: Callable[[str], None] = lambda part: None
        torch.manual_seed(streams.order)
        self.order = torch.Generator().manual_seed(streams.order)
        self.chance = torch.Generator().manual_seed(streams.augmentation)
        steps = math.ceil(len(train.labels) / protocol.batch_size)
        rate: dict[str, Any] = {"lr": protocol.learning_rate, "weight_decay": protocol.weight_decay}
        self.optimiser: torch.optim.Optimizer
        if protocol.optimiser == "sgd":
            self.optimiser = torch.optim.SGD(self.net.parameters(), momentum=protocol.momentum, **rate)
        else:
            self.optimiser = torch.optim.AdamW(self.net.parameters(), **rate)
        self.scheduler: torch.optim.lr_scheduler.LRScheduler
        if protocol.schedule == "step":
            self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimiser, protocol.step_epochs * steps, 0.1)
        else:
            self.scheduler = torch.optim.lr_scheduler.OneCycleLR(
                self.optimiser, protocol.learning_rate, total_steps=protocol.epochs * steps, pct_start=0.2
            )
        self.waiting: list[Tensor] = []
        self.mean, self.std = (
            torch.tensor(values, device=train.labels.device).view(1, -1, 1, 1) * 255
            for values in (protocol.mean, protocol.std)
        )
        self.total = self.loss = torch.zeros((), device=train.labels.device)

    def step(self) -> None:
        """One step."""
        import torch

        if not self.waiting:
            shuffled = torch.randperm(len(self.train.labels), generator=self.order)
            self.waiting = [rows for rows in shuffled.split(self.protocol.batch_size) if len(rows) > 1]
            self.total = torch.zeros_like(self.total)
        rows = self.waiting.pop(0).to(self.train.labels.device)
        images, labels, maps = self.batch(rows)
        self.mark("data")
        loss = self.forward(images, labels, maps, rows)
        self.optimiser.zero_grad()
        loss.backward()
        self.mark("backward")
        self.optimiser.step()
        self.scheduler.step()
        self.loss = loss.detach()
        self.total += self.loss * len(rows)

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Images, labels and, where they are wanted, human maps in [0, 1], (B, S, S); moved at random alike."""
        import torch
        from torch.nn.functional import affine_grid, grid_sample

        protocol = self.protocol
        images = self.train.images[rows].float().sub_(self.mean).div_(self.std)
        if protocol.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        maps = self.train.maps[rows].unsqueeze(1).float() / 255 if self.wants_maps else None
        if any((protocol.rotate, protocol.scale, protocol.shift, protocol.flip)):
            draws = torch.rand(5, len(rows), generator=self.chance)
            angle = (draws[0] * 2 - 1) * (protocol.rotate * math.pi / 180)
            zoom = 1 + (draws[1] * 2 - 1) * protocol.scale
            mirror = torch.where(draws[4] < protocol.flip, -1.0, 1.0)
            cos, sin = angle.cos() * zoom, angle.sin() * zoom
            right, down = (draws[2:4] * 2 - 1) * (2 * protocol.shift)
            theta = torch.stack([mirror * cos, -sin, right, mirror * sin, cos, down], 1).view(-1, 2, 3)
            shape = [len(rows), 1, *images.shape[-2:]]
            grid = affine_grid(theta.to(images.device), shape, align_corners=False)
            images = grid_sample(images, grid, padding_mode="border", align_corners=False)
            if maps is not None:
                maps = grid_sample(maps, grid, padding_mode="zeros", align_corners=False)
        return images, self.train.labels[rows], None if maps is None else maps.squeeze(1)

    def forward(self, images: Tensor, labels: Tensor, maps: Tensor | None, rows: Tensor) -> Tensor:
        """The loss."""
        import torch
        from torch.nn.functional import cross_entropy

        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.protocol.precision == "bf16"):
            logits = self.net(images)
        self.mark("forward")
        return cross_entropy(logits.float(), labels)


class OneByOne:
    """Evaluation as public code does it: one image at a time, its score and the CAM of its predicted class.

    Args:
        images: (N, C, S, S) uint8 on the CPU; a step is one pass over all of them.
    """

    def __init__(self, model: CamNet, images: Tensor, protocol: Protocol, device: torch.device) -> None:
        import torch

        self.images, self.protocol, self.device = images, protocol, device
        self.net = model.net.to(device).eval()
        self.mean, self.std = (
            torch.tensor(values, device=device).view(1, -1, 1, 1) * 255 for values in (protocol.mean, protocol.std)
        )

    def step(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Logits, (2,), and CAM, (h, w), of every image."""
        import torch

        found = []
        weight = self.net.get_classifier().weight  # type: ignore[operator]
        with torch.no_grad():
            for image in self.images.split(1):
                pixels = image.to(self.device).float().sub_(self.mean).div_(self.std)
                if self.protocol.channels_last:
                    pixels = pixels.contiguous(memory_format=torch.channels_last)
                with torch.autocast(self.device.type, torch.bfloat16, enabled=self.protocol.precision == "bf16"):
                    features = self.net.forward_features(pixels)  # type: ignore[operator]
                logits = self.net.forward_head(features.float())[0].cpu()  # type: ignore[operator]
                cam = (weight[int(logits.argmax())].view(-1, 1, 1) * features[0].float()).sum(0)
                found.append((logits.numpy(), cam.cpu().numpy()))
        return found
