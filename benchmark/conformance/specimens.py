"""Made-up data and a small real network: every kind of batch that training may hand to a method.

Validation and test rows carry a grey level that no training row has, so that they are known wherever they
turn up.
"""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from divsal_bench.conformance.checks import BreachError
from divsal_bench.contracts.method import Batch, Method, Outputs, TrainingSplit
from divsal_bench.contracts.task import StandIn, Task
from divsal_bench.networks import backbones, devices
from divsal_bench.networks.backbones import CamNet
from divsal_bench.registry import protocols
from divsal_bench.training import training
from divsal_bench.training.feeding import raw_batch
from divsal_bench.training.splits import SplitTensors
from divsal_bench.words import Head

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SIDE = 32
#: quick-v1 with a network of 8 channels, 4×4 CAMs and no augmentation, so that a constant map stays constant.
PROTOCOL = dataclasses.replace(
    protocols.find_protocol("quick-v1"), name="conformance", epochs=1, batch_size=8, input_size=SIDE,
    backbone_args={"channels": [4, 4, 8, 8], "stem_width": 4}, rotate=0.0, scale=0.0, shift=0.0, flip=0.0,
)  # fmt: skip
#: Training rows: with a map of one blob, with a constant map, without a map. Labels alternate: 0, 1, 0, 1, …
MAPPED, CONSTANT, UNMAPPED = range(16), range(16, 20), range(20, 32)
TRAINED, HELD_OUT = 32, 16
#: Grey level of everything in validation and test rows; training images stay below, training maps are 0 or 255.
MARK = 200


@dataclass(frozen=True)
class Specimen:
    """One batch, and what it meets.

    Attributes:
        rows: Rows of the training split.
        head: The network's.
        flat: The features, and so every CAM, are the same in every cell.
        maps: Whether the training split has human maps at all.
    """

    rows: tuple[int, ...]
    head: Head = "two-logit"
    flat: bool = False
    maps: bool = True


ORDINARY = Specimen((*MAPPED[:8], *UNMAPPED[:2]))
NO_MAPS = Specimen(tuple(UNMAPPED))
SPECIMENS = {
    "a batch without any map": NO_MAPS,
    "a batch of constant maps": Specimen(tuple(CONSTANT)),
    "a batch of one class": Specimen((*MAPPED[1:8:2], *UNMAPPED[1:4:2])),
    "a batch of two": Specimen(tuple(MAPPED[:2])),
    "a batch of one": Specimen(tuple(MAPPED[:1])),
    "a one-logit head": dataclasses.replace(ORDINARY, head="one-logit"),
    "constant CAMs": dataclasses.replace(ORDINARY, flat=True),
    "training data without any map": dataclasses.replace(ORDINARY, maps=False),
}


@functools.cache
def draw_specimens(variant: str, seed: int) -> StandIn:
    """Draw the made-up data; every variant and seed gives the same."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(0)
    count = TRAINED + 2 * HELD_OUT
    images = rng.integers(0, 150, (count, SIDE, SIDE), dtype=np.uint8)
    maps = np.zeros((count, SIDE, SIDE), np.uint8)
    for row, y, x in zip(range(count), rng.integers(0, 10, count), rng.integers(0, 20, count), strict=True):
        maps[row, y : y + 9, x : x + 8] = 255
    maps[CONSTANT] = 255
    maps[UNMAPPED] = 0
    images[TRAINED:] = MARK
    maps[TRAINED:] = np.where(maps[TRAINED:] > 0, MARK, 0)
    label = np.arange(count) % 2
    rows = pd.DataFrame(
        {
            "sample_id": [f"specimen-{row}" for row in range(count)],
            "split": ["train"] * TRAINED + ["validation"] * HELD_OUT + ["test"] * HELD_OUT,
            "label": label,
            "source": "specimen-source",
            "category": np.where(label == 1, "specimen-category", ""),
            "subject": [f"specimen-subject-{row}" for row in range(count)],
            "saliency_kind": np.where(maps.any((1, 2)), "mask", "none"),
        }
    )
    return StandIn(rows, images, maps)


TASK = Task(
    name="specimen",
    version=1,
    title="Specimen",
    description="No decision: made-up data for conformance checks.",
    class_names=("no", "yes"),
    channels=1,
    category_meaning="none",
    field_metrics=(),
    draw_standin=draw_specimens,
    standin_version=1,
    citation="",
    licence="",
)


def train_split(maps: bool = True, moved: bool = False) -> SplitTensors:
    """The training rows as the engine holds them; ``moved`` turns every map upside down."""
    import torch

    drawn = draw_specimens("standin", 0)
    train = (drawn.rows["split"] == "train").to_numpy()
    has_map = (drawn.rows["saliency_kind"][train] == "mask").to_numpy()
    human = drawn.maps[train, ::-1] if moved else drawn.maps[train]
    return SplitTensors.from_arrays(
        drawn.images[train][:, None],
        drawn.rows["label"][train].to_numpy(),
        human * maps,
        has_map & maps,
        torch.device("cpu"),
    )


def handed(split: SplitTensors) -> TrainingSplit:
    """What ``setup`` is handed, as :func:`divsal_bench.training.training.fit` does it."""
    import torch

    return training.handed_split(split, torch.Generator().manual_seed(1))


def batch_of(split: SplitTensors, specimen: Specimen, donors: Tensor | None = None) -> Batch:
    """The batch of a specimen, before ``transform``; ``donors`` as ``setup`` left them."""
    import torch

    rows = torch.tensor(specimen.rows)
    geometry, own = torch.Generator().manual_seed(2), torch.Generator().manual_seed(3)
    return training.make_batch(raw_batch(split.exchanged(donors), rows), PROTOCOL, geometry, own)


def transformed(method: Method, batch: Batch) -> Batch:
    """Call ``transform`` and see that it returns a batch."""
    changed: object = method.transform(batch)
    if not isinstance(changed, Batch):
        raise BreachError(
            f"transform(batch) returned {type(changed).__name__}, not a Batch; "
            "end it with return dataclasses.replace(batch, …)"
        )
    return changed


@functools.cache
def network(head: Head) -> CamNet:
    """The small network, in training mode; one for all checks, its gradients cleared by :func:`outputs_for`."""
    devices.make_deterministic(PROTOCOL.threads)
    model = backbones.build(PROTOCOL.backbone, PROTOCOL, 1, head, seed=0, check=False)
    model.net.train()
    return model


def outputs_for(batch: Batch, specimen: Specimen) -> Outputs:
    """The network's outputs for a batch."""
    model = network(specimen.head)
    model.net.zero_grad(set_to_none=True)
    out = training.network_outputs(model, batch.images, batch.labels, PROTOCOL)
    if specimen.flat:
        mean = out.features.mean((2, 3), keepdim=True)
        return dataclasses.replace(out, features=mean.expand_as(out.features))
    return out


def first_layer(specimen: Specimen) -> torch.nn.Parameter:
    """The weights next to the image: a gradient there has passed the whole backbone."""
    return next(network(specimen.head).net.parameters())


def one_pass(method: Method, specimen: Specimen, split: SplitTensors | None = None) -> tuple[Batch, Outputs]:
    """``setup``, one batch, ``transform`` and the forward pass, in the order of training."""
    split = split or train_split(specimen.maps)
    train = handed(split)
    method.setup(train)
    batch = transformed(method, batch_of(split, specimen, train.donors))
    return batch, outputs_for(batch, specimen)
