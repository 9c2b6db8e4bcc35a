"""Train one network with one method, on arrays that are already decoded."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from divsal_bench import seeds
from divsal_bench.contracts.method import Batch, Method, Outputs, TrainingSplit, Warp
from divsal_bench.errors import DivergedError
from divsal_bench.networks import devices
from divsal_bench.networks.inference import as_input, form_of, infer
from divsal_bench.networks.stored import ChosenRows
from divsal_bench.training import augmentation
from divsal_bench.training.feeding import RawBatch, fed
from divsal_bench.training.handed_maps import MapsByRow
from divsal_bench.training.splits import SplitTensors

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from divsal_bench.networks.backbones import CamNet
    from divsal_bench.registry.protocols import Protocol
    from divsal_bench.training.splits import Split


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
class History:
    """What training logged: one row an epoch, and what the selection rule chose."""

    epochs: list[dict[str, float]] = field(default_factory=list)
    selected_epoch: int = 0
    train_seconds: float = 0.0
    notices: list[str] = field(default_factory=list)


class Training:
    """One run's training: everything that changes from step to step, so that it can stop between two and go on.

    Args:
        model: Built by :func:`divsal_bench.networks.backbones.build`; trained in place, moved to the data's device.
        method: Its ``setup``, ``transform`` and ``loss`` are called here.
        validation: Read only by selection rules that need it.
        on_batch: Called for every batch of validation scores.

    Attributes:
        split: What ``setup`` saw.
        epoch: The one that is trained, from 1; one more than there are when training has ended.
        done: Steps done of that epoch.
        order_before: State of the generator ``order`` before it shuffled this epoch.
        coming: The epoch's next batches, from ``done`` on, read ahead; None until a step asks for them.
        sums: Of the logged losses, weighted by batch size, over the steps done of this epoch.
        best: Validation score of the epoch in ``kept``, its weights; −inf and None before there is any.
        history: Epochs that have ended.
    """

    def __init__(
        self,
        model: CamNet,
        method: Method,
        train: Split,
        validation: Split,
        protocol: Protocol,
        streams: Streams,
        on_batch: Callable[[], None] = lambda: None,
    ) -> None:
        import torch

        self.on_batch = on_batch
        self.model, self.method, self.validation, self.protocol = model, method, validation, protocol
        model.net.to(train.labels.device)
        torch.manual_seed(streams.order)  # networks with dropout draw from the global generator
        split = handed_split(train, torch.Generator().manual_seed(streams.method))
        method.setup(split)
        self.split, self.train = split, train.exchanged(split.donors)
        self.history = History(notices=split.notices)
        self.steps = len(batches(len(train), protocol.batch_size, torch.Generator()))
        self.optimiser, self.scheduler = optimisation(model, protocol, self.steps)
        self.order = torch.Generator().manual_seed(streams.order)
        self.geometry = torch.Generator().manual_seed(streams.augmentation)
        self.own = torch.Generator().manual_seed(streams.method + 1)
        self.epoch, self.done = 1, 0
        self.order_before = self.order.get_state()
        self.shuffled: list[Tensor] = []
        self.coming: Generator[RawBatch, None, None] | None = None
        self.sums: dict[str, Tensor] = {}
        self.best = -math.inf
        self.kept: dict[str, Tensor] | None = None

    @property
    def has_ended(self) -> bool:
        """Whether there is nothing left to train."""
        return self.epoch > self.protocol.epochs

    def step(self) -> bool:
        """Do one step, and what belongs to the end of an epoch after its last; whether it was that.

        Raises:
            DivergedError: A loss or a validation score is not finite; the epoch is named.
        """
        if not self.shuffled:
            self.order_before = self.order.get_state()
            self.shuffled = batches(len(self.train), self.protocol.batch_size, self.order)
            self.model.net.train()
        if self.coming is None:
            self.coming = fed(self.train, self.shuffled[self.done :])
        raw = next(self.coming)
        losses = training_step(self.model, self.method, raw, self.protocol, self.geometry, self.own, self.optimiser)
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + value.detach() * len(raw.rows)
        self.scheduler.step()
        self.done += 1
        if self.done < self.steps:
            return False
        self.end_epoch()
        return True

    def close(self) -> None:
        """End the threads that read ahead; a step after it starts them again."""
        if self.coming is not None:
            self.coming.close()
            self.coming = None

    def end_epoch(self) -> None:
        """Log the epoch, and keep its weights where the selection rule says so."""
        self.close()
        epoch, epochs, selection = self.epoch, self.protocol.epochs, self.protocol.selection
        # One transfer an epoch: reading the loss at every step would stall an accelerator.
        row = {name: float(value) / len(self.train) for name, value in self.sums.items()}
        if not all(math.isfinite(value) for value in row.values()):
            bad = ", ".join(name for name, value in row.items() if not math.isfinite(value))
            raise DivergedError(f"{bad} is not finite in epoch {epoch} of {epochs}")
        if selection != "last":
            row |= validation_scores(self.model, self.validation, self.protocol, self.on_batch)
            score = row["validation_accuracy" if selection == "validation-accuracy" else "validation_auroc"]
            if score >= self.best:  # ties go to the later epoch, as in the published code
                self.best, self.history.selected_epoch = score, epoch
                self.kept = {name: tensor.clone() for name, tensor in self.model.net.state_dict().items()}
        else:
            self.history.selected_epoch = epoch
        self.history.epochs.append({"epoch": epoch, **row})
        self.epoch, self.done, self.shuffled, self.sums = epoch + 1, 0, [], {}

    def select(self) -> None:
        """Leave the network at the epoch that the protocol selects."""
        if self.kept is not None:
            self.model.net.load_state_dict(self.kept)


def fit(
    model: CamNet,
    method: Method,
    train: Split,
    validation: Split,
    protocol: Protocol,
    streams: Streams,
    on_epoch: Callable[[int, int], None] = lambda done, total: None,
    go_on: Callable[[Training], None] = lambda training: None,
    after_step: Callable[[Training, bool], None] = lambda training, ended: None,
    on_batch: Callable[[], None] = lambda: None,
) -> History:
    """Train ``model`` in place and leave it at the epoch the protocol selects.

    Args:
        model, method, train, validation, protocol, streams, on_batch: As :class:`Training` takes them.
        on_epoch: Told (epochs done, epochs in all).
        go_on: May bring the training to where an earlier one was, before its first step.
        after_step: Told after every step, and whether an epoch ended with it; may raise
            :class:`~divsal_bench.errors.StoppedError`.

    Raises:
        DivergedError: A loss that is not finite; the epoch is named.
    """
    training = Training(model, method, train, validation, protocol, streams, on_batch)
    go_on(training)
    if training.epoch > 1:
        on_epoch(training.epoch - 1, protocol.epochs)
    started = time.perf_counter() - training.history.train_seconds
    try:
        while not training.has_ended:
            ended = training.step()
            training.history.train_seconds = time.perf_counter() - started
            if ended:
                on_epoch(training.epoch - 1, protocol.epochs)
            after_step(training, ended)
    finally:
        training.close()
    training.select()
    return training.history


def handed_split(train: Split, generator: torch.Generator) -> TrainingSplit:
    """What a method's ``setup`` is handed of the training split."""
    side = train.images.shape[-1]
    return TrainingSplit(
        train.labels, MapsByRow((len(train), side, side), train.maps_of), train.has_map, generator
    )  # fmt: skip


def batches(count: int, size: int, generator: torch.Generator) -> list[Tensor]:
    """One epoch's shuffled batches of row numbers; a last batch of one is left out."""
    import torch

    return [rows for rows in torch.randperm(count, generator=generator).split(size) if len(rows) > 1]


def training_step(
    model: CamNet,
    method: Method,
    raw: RawBatch,
    protocol: Protocol,
    geometry: torch.Generator,
    own: torch.Generator,
    optimiser: torch.optim.Optimizer,
) -> dict[str, Tensor]:
    """One optimisation step on a batch; its losses."""
    batch = make_batch(raw, protocol, geometry, own)
    batch = method.transform(batch)
    out = network_outputs(model, batch.images, batch.labels, protocol)
    losses = method.loss(batch, out)
    if not isinstance(losses, dict) or "loss" not in losses:
        raise TypeError(f"loss of method {method.name!r} must return a dict with the key 'loss'")
    optimiser.zero_grad()
    losses["loss"].backward()
    optimiser.step()
    return losses


def make_batch(raw: RawBatch, protocol: Protocol, geometry: torch.Generator, own: torch.Generator) -> Batch:
    """Normalise and augment one batch; its maps are moved only when a method asks for them."""
    warp = augmentation.sampler(len(raw.rows), raw.images.shape[-1], protocol, geometry, raw.images.device)
    return Batch(
        images=warp(as_input(raw.images, form_of(protocol)), "border"),
        labels=raw.labels,
        rows=raw.rows,
        raw_maps=raw.maps,
        has_map=raw.has_map,
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


def validation_scores(
    model: CamNet, validation: Split, protocol: Protocol, on_batch: Callable[[], None] = lambda: None
) -> dict[str, float]:
    """Accuracy and AUROC on the whole validation split; ``on_batch`` is called for every batch of it."""
    from sklearn.metrics import roc_auc_score

    images = (
        validation.images if isinstance(validation, SplitTensors) else ChosenRows(validation.images, validation.rows)
    )
    logits = infer(model, images, form_of(protocol), on_batch=on_batch)[0].double()
    margin = (logits[:, 1] - logits[:, 0]).numpy()
    labels = validation.labels.cpu().numpy()
    if not all(map(math.isfinite, margin)):
        raise DivergedError("a validation score is not finite")
    return {
        "validation_accuracy": float(((margin >= 0) == (labels == 1)).mean()),
        "validation_auroc": float(roc_auc_score(labels, margin)),
    }
