"""Choices of arithmetic: what each is worth in speed, and what it does to the loss and to the validation AUROC."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from divsal_bench.timing.contenders import PLAIN
from divsal_bench.timing.pairs import Contender
from divsal_bench.timing.parts import overhear_method
from divsal_bench.training.training import Training, validation_scores

if TYPE_CHECKING:
    import torch

    from divsal_bench.registry.protocols import Protocol
    from divsal_bench.timing.contenders import Bench

#: Each choice and what it is compared with.
CHOICES = {"bf16": "fp32", "channels_last": "contiguous", "fused optimiser": "plain optimiser"}
#: What shows how much of a difference is chance: the same choices, other initial weights.
OTHER_SEED = "another seed"
#: Steps of a curve: at least, and at most.
LEAST_STEPS, MOST_STEPS = 8, 96


@dataclass(frozen=True)
class Curve:
    """How a short training went.

    Attributes:
        losses: Of every step.
        auroc: On the validation split, after the last one.
    """

    name: str
    losses: tuple[float, ...]
    auroc: float

    @property
    def last_loss(self) -> float:
        """Mean over the last quarter of the steps."""
        last = self.losses[-max(1, len(self.losses) // 4) :]
        return sum(last) / len(last)

    def distance(self, other: Curve) -> float:
        """Mean difference of the losses of one step, in magnitude."""
        pairs = list(zip(self.losses, other.losses, strict=True))
        return sum(abs(one - two) for one, two in pairs) / len(pairs)


def chosen_protocol(protocol: Protocol, name: str) -> Protocol:
    """A protocol with one choice made as named, and the others as usual: fp32 and channels_last."""
    return dataclasses.replace(
        protocol,
        precision="bf16" if name == "bf16" else "fp32",
        channels_last=name != "contiguous",
    )


def chosen_training(bench: Bench, name: str, protocol: Protocol, **options: object) -> Training:
    """Cross-entropy with one choice made as named."""
    training = bench.training(PLAIN, chosen_protocol(protocol, name), **options)  # type: ignore[arg-type]
    fuse(training.optimiser, name == "fused optimiser")
    return training


def fuse(optimiser: torch.optim.Optimizer, fused: bool) -> None:
    """Have an optimiser that has not stepped yet do all of a step in one kernel, or as PyTorch chooses by itself."""
    for group in (*optimiser.param_groups, optimiser.defaults):
        group["fused"] = fused
        group["foreach"] = False if fused else None


def arithmetic_contender(bench: Bench, name: str) -> Contender:
    """A training with one choice made as named."""
    protocol = bench.setting.protocol
    return Contender(name, protocol.batch_size, lambda: chosen_training(bench, name, protocol))


def curve_of(bench: Bench, name: str, steps: int) -> Curve:
    """Train with one choice made as named, from the same weights and on the same batches as all others."""
    losses: list[torch.Tensor] = []
    in_epoch = math.ceil(len(bench.train) / bench.setting.protocol.batch_size)
    protocol = dataclasses.replace(bench.setting.protocol, epochs=math.ceil(steps / in_epoch))
    training = chosen_training(
        bench, name, protocol, seed=int(name == OTHER_SEED),
        watch=lambda method: overhear_method(method, on_losses=lambda found: losses.append(found["loss"].detach())),
    )  # fmt: skip
    for _ in range(steps):
        training.step()
    auroc = validation_scores(training.model, bench.validation, training.protocol)["validation_auroc"]
    return Curve(name, tuple(float(loss) for loss in losses), auroc)


def curves_of(bench: Bench, steps: int, on_curve: Callable[[Curve], None] = lambda curve: None) -> tuple[Curve, ...]:
    """Curves of the usual choices, of each other choice, and of another seed."""
    found = []
    for name in (PLAIN, "bf16", "contiguous", "fused optimiser", OTHER_SEED):
        found.append(curve_of(bench, name, steps))
        on_curve(found[-1])
    return tuple(found)


def curve_steps(seconds: float, step: float) -> int:
    """How many steps a curve may have, where a step takes ``step`` seconds."""
    return max(LEAST_STEPS, min(MOST_STEPS, int(seconds / step)))
