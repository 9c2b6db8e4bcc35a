"""What is timed: a network, its input, a protocol's choices and a device."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from divsal_bench.training.training import Streams

if TYPE_CHECKING:
    import torch

    from divsal_bench.networks.backbones import CamNet
    from divsal_bench.registry.protocols import Protocol

#: Epochs of a training that is timed: it never comes to its end.
ENDLESS = 1_000_000


@dataclass(frozen=True)
class Setting:
    """What all contenders share.

    Attributes:
        backbone: A timm name; its weights are random, which costs no time to load and changes none.
        protocol: With the size, the batch and the threads asked for, without published weights, and with no choice of
            an epoch: validation is no part of a step.
        pairs: Of each comparison.
        turns: Of each in a pair; None takes as many as fit into ``seconds``.
        seconds: For each comparison, about.
        steps: In a turn.
        mapped: Per cent of the rows that have a human map.
    """

    backbone: str
    protocol: Protocol
    device: torch.device
    pairs: int
    turns: int | None = None
    seconds: float = 1.0
    steps: int = 1
    mapped: int = 100

    @property
    def channels(self) -> int:
        """Of the images and of the network's input."""
        return 3 if self.protocol.channels == 3 else 1

    @property
    def streams(self) -> Streams:
        """Seeds that all contenders share: they begin with the same weights and see the same batches."""
        return Streams.of("speed", "speed", self.backbone, 0)

    def network(self, protocol: Protocol, seed: int = 0, check: bool = False) -> CamNet:
        """A fresh network, on the CPU; ``check`` refuses one without a closed-form CAM."""
        from divsal_bench.networks import backbones

        return backbones.build(
            self.backbone, protocol, self.channels, "two-logit", self.streams.weights + seed, check=check
        )


def timed_protocol(protocol: Protocol, size: int | None, batch: int | None, threads: int | None) -> Protocol:
    """A protocol as it is timed; None takes its own choice."""
    return dataclasses.replace(
        protocol,
        pretrained=False,
        input_size=size or protocol.input_size,
        batch_size=batch or protocol.batch_size,
        threads=threads or protocol.threads,
        selection="last",
        epochs=ENDLESS,
    )
