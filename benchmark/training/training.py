"""Train one network with one method, on arrays that are already decoded."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from divsal_bench import seeds
from divsal_bench.contracts.method import Batch, Method, Outputs, TrainingSplit, Warp
from divsal_bench.errors import DivergedError
from divsal_bench.networks import devices
from divsal_bench.networks.inference import as_input, form_of, infer
from divsal_bench.training import augmentation

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from divsal_bench.networks.backbones import CamNet
    from divsal_bench.registry.protocols import Protocol


@dataclass(frozen=True)
class Streams:
    """The seeds of one run. None depends on the method, so two methods see identical batches."""

    weights: int
    order: int
    augmentation: int
    method: int

    @classmethod
    def of(cls, task: str, fingerprint: str, backbone: str, seed: int) -> Streams:
        """Derive every stream of a run."""
        shared = (task, backbone, seed)
        return cls(
            weights=seeds.derive("weights", *shared),
            order=seeds.derive("order", *shared),
            augmentation=seeds.derive("augmentation", *shared),
            method=seeds.derive("method", task, fingerprint, seed),
        )


@dataclass
class SplitTensors:
    """One split on one device: images (N, C, S, S) uint8, labels (N,), maps (N, S, S) uint8, has_map (N,)."""

    images: Tensor
    labels: Tensor
    maps: Tensor
    has_map: Tensor

    @classmethod
    def from_arrays(
        cls,
        images: np.ndarray,
        labels: np.ndarray,
        maps: np.ndarray,
        has_map: np.ndarray,
        device: torch.device,
    ) -> SplitTensors:
        """Copy one split's rows to the device, as uint8: a quarter of the memory and of the transfer."""
        import numpy as np
        import torch

        # Copied: memory maps and data frames are read-only, tensors are not.
        tensors = (torch.from_numpy(np.array(part)) for part in (images, labels, maps, has_map))
        image, label, human, mapped = (tensor.to(device) for tensor in tensors)
        return cls(image, label.long(), human, mapped.bool())

    def __len__(self) -> int:
        return len(self.labels)


@dataclass
class History:
    """What training logged: one row an epoch, and what the selection rule chose."""

    epochs: list[dict[str, float]] = field(default_factory=list)
    selected_epoch: int = 0
    train_seconds: float = 0.0
    notices: list[str] = field(default_factory=list)


def fit(
    model: CamNet,
    method: Method,
    train: SplitTensors,
    validation: SplitTensors,
    protocol: Protocol,
    streams: Streams,
    on_epoch: Callable[[int, int], None] = lambda done, total: None,
) -> History:
    """Train ``model`` in place and leave it at the epoch the protocol selects.

    Args:
        model: Built by :func:`divsal_bench.networks.backbones.build` and moved to the data's device.
        method: Its ``setup``, ``transform`` and ``loss`` are called here.
        validation: Read only by selection rules that need it.
        on_epoch: Told (epochs done, epochs in all).

    Raises:
        DivergedError: A loss that is not finite; the epoch is named.
    """
    import torch

    device = train.labels.device
    model.net.to(device)
    torch.manual_seed(streams.order)  # networks with dropout draw from the global generator
    split = TrainingSplit(
        train.labels, train.maps, train.has_map, torch.Generator().manual_seed(streams.method)
    )  # fmt: skip
    method.setup(split)
    history = History(notices=split.notices)
    steps = len(batches(len(train), protocol.batch_size, torch.Generator()))
    optimiser, scheduler = optimisation(model, protocol, steps)
    order = torch.Generator().manual_seed(streams.order)
    geometry = torch.Generator().manual_seed(streams.augmentation)
    own = torch.Generator().manual_seed(streams.method + 1)
    best = -math.inf
    kept: dict[str, Tensor] | None = None
    started = time.perf_counter()
    for epoch in range(1, protocol.epochs + 1):
        model.net.train()
        sums: dict[str, Tensor] = {}
        for rows in batches(len(train), protocol.batch_size, order):
            losses = training_step(model, method, train, rows, protocol, geometry, own, optimiser)
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + value.detach() * len(rows)
            scheduler.step()
        # One transfer an epoch: reading the loss at every step would stall an accelerator.
        row = {name: float(value) / len(train) for name, value in sums.items()}
        if not all(math.isfinite(value) for value in row.values()):
            bad = ", ".join(name for name, value in row.items() if not math.isfinite(value))
            raise DivergedError(f"{bad} is not finite in epoch {epoch} of {protocol.epochs}")
        if protocol.selection != "last":
            row |= validation_scores(model, validation, protocol)
            score = row["validation_accuracy" if protocol.selection == "validation-accuracy" else "validation_auroc"]
            if score >= best:  # ties go to the later epoch, as in the published code
                best, history.selected_epoch = score, epoch
                kept = {name: tensor.clone() for name, tensor in model.net.state_dict().items()}
        else:
            history.selected_epoch = epoch
        history.epochs.append({"epoch": epoch, **row})
        on_epoch(epoch, protocol.epochs)
    if kept is not None:
        model.net.load_state_dict(kept)
    history.train_seconds = time.perf_counter() - started
    return history


def batches(count: int, size: int, generator: torch.Generator) -> list[Tensor]:
    """One epoch's shuffled batches of row numbers; a last batch of one is left out."""
    import torch

    return [rows for rows in torch.randperm(count, generator=generator).split(size) if len(rows) > 1]


def training_step(
    model: CamNet,
    method: Method,
    train: SplitTensors,
    rows: Tensor,
    protocol: Protocol,
    geometry: torch.Generator,
    own: torch.Generator,
    optimiser: torch.optim.Optimizer,
) -> dict[str, Tensor]:
    """One optimisation step on the training rows ``rows``, (B,) int64 on the CPU; its losses."""
    batch = make_batch(train, rows, protocol, geometry, own)
    batch = method.transform(batch)
    out = network_outputs(model, batch.images, batch.labels, protocol)
    losses = method.loss(batch, out)
    if not isinstance(losses, dict) or "loss" not in losses:
        raise TypeError(f"loss of method {method.name!r} must return a dict with the key 'loss'")
    optimiser.zero_grad()
    losses["loss"].backward()
    optimiser.step()
    return losses


def make_batch(
    train: SplitTensors, rows: Tensor, protocol: Protocol, geometry: torch.Generator, own: torch.Generator
) -> Batch:
    """Gather, normalise and augment one batch; its maps are moved only when a method asks for them."""
    device = train.labels.device
    on_device = rows.to(device)
    warp = augmentation.sampler(len(rows), train.images.shape[-1], protocol, geometry, device)
    return Batch(
        images=warp(as_input(train.images[on_device], form_of(protocol)), "border"),
        labels=train.labels[on_device],
        rows=on_device,
        raw_maps=train.maps[on_device],
        has_map=train.has_map[on_device],
        warp=Warp(lambda maps, places: warp(maps.unsqueeze(1).float() / 255, "zeros", places).squeeze(1)),
        generator=own,
    )


def network_outputs(model: CamNet, images: Tensor, labels: Tensor, protocol: Protocol) -> Outputs:
    """One pass, with what methods need of it; CAM arithmetic stays in float32 under autocast."""
    with devices.arithmetic(images.device, protocol.precision):
        logits, features = model.forward(images)
    weight, bias = model.classifier()
    return Outputs(logits, features.float(), weight, bias, labels)


def optimisation(
    model: CamNet, protocol: Protocol, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """The protocol's optimiser, and its schedule counted in steps."""
    import torch

    rate: dict[str, Any] = {"lr": protocol.learning_rate, "weight_decay": protocol.weight_decay}
    optimiser: torch.optim.Optimizer
    if protocol.optimiser == "sgd":
        optimiser = torch.optim.SGD(model.net.parameters(), momentum=protocol.momentum, **rate)
    else:
        optimiser = torch.optim.AdamW(model.net.parameters(), **rate)
    if protocol.schedule == "step":
        return optimiser, torch.optim.lr_scheduler.StepLR(optimiser, protocol.step_epochs * steps, gamma=0.1)
    return optimiser, torch.optim.lr_scheduler.OneCycleLR(
        optimiser, protocol.learning_rate, total_steps=max(1, protocol.epochs * steps), pct_start=0.2
    )


def validation_scores(model: CamNet, validation: SplitTensors, protocol: Protocol) -> dict[str, float]:
    """Accuracy and AUROC on the whole validation split."""
    from sklearn.metrics import roc_auc_score

    logits = infer(model, validation.images, form_of(protocol))[0].double()
    margin = (logits[:, 1] - logits[:, 0]).numpy()
    labels = validation.labels.cpu().numpy()
    if not all(map(math.isfinite, margin)):
        raise DivergedError("a validation score is not finite")
    return {
        "validation_accuracy": float(((margin >= 0) == (labels == 1)).mean()),
        "validation_auroc": float(roc_auc_score(labels, margin)),
    }
