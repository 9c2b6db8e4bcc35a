"""Networks that the studies train for themselves, with the engine's own loop and the recipe of a protocol."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from divsal_bench.networks import backbones, devices
from divsal_bench.registry import plugins
from divsal_bench.training.splits import SplitRows, resident, room_for_rows
from divsal_bench.training.training import Streams, fit

if TYPE_CHECKING:
    from divsal_bench.data.arrays import DataArrays
    from divsal_bench.networks.backbones import CamNet
    from divsal_bench.registry.protocols import Protocol


def train_network(
    data: DataArrays,
    classes: npt.NDArray[np.int64],
    protocol: Protocol,
    task: str,
    seed: int,
    watch: Callable[[int, CamNet], None] = lambda epoch, model: None,
) -> CamNet:
    """Train with cross-entropy, on the CPU.

    Args:
        data: At the size of the protocol.
        classes: (N,): what to learn, 0 to K − 1, in the order of the data's rows; rows with −1 are left out.
        protocol: The recipe; the last epoch counts.
        task: For the seeds and the channels.
        seed: Of initial weights, order and augmentation, as a run's.
        watch: Told every epoch and the network, in training mode; must leave it as it is.
    """
    import torch

    protocol = dataclasses.replace(protocol, selection="last")
    devices.make_deterministic(protocol.threads)
    split = data.rows["split"].to_numpy(dtype=str)
    rows = np.flatnonzero((split == "train") & (classes >= 0))
    streams = Streams.of(task, data.fingerprint, protocol.backbone, seed)
    channels = 3 if protocol.channels == 3 else plugins.tasks().get(task).channels
    model = backbones.build(protocol.backbone, protocol, channels, "two-logit", streams.weights)
    count = int(classes.max()) + 1
    if count != 2:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(streams.weights)
            model.net.reset_classifier(count)  # type: ignore[operator]
    device = torch.device("cpu")
    has_map = data.rows["has_map"].to_numpy()[rows]
    whole = SplitRows.of(data.images, data.maps, rows, classes[rows], has_map, device)
    method = plugins.methods().get("cross-entropy")()
    fit(
        model,
        method,
        resident(whole, room_for_rows(device)),
        whole,
        protocol,
        streams,
        lambda done, total: watch(done, model),
    )
    return model


def category_classes(data: DataArrays) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Attack species, generators or findings as classes: negatives are 0, each category of the training split the next.

    Returns:
        (N,) classes, −1 for a category that training does not have; and the names of the classes, "" first.
    """
    categories = data.rows["category"].to_numpy(dtype=str)
    train_rows = data.rows["split"].to_numpy(dtype=str) == "train"
    names = ["", *sorted(set(categories[train_rows].tolist()) - {""})]
    numbers = {name: number for number, name in enumerate(names)}
    return np.array([numbers.get(name, -1) for name in categories.tolist()], np.int64), names
