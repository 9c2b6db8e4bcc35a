"""Where the time of a step goes, and the memory that it takes: in steps that are watched, never in those compared."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from divsal_bench.networks import devices
from divsal_bench.timing import machine
from divsal_bench.timing.bare import BareTraining
from divsal_bench.training.training import Training

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from divsal_bench.contracts.method import Batch, Method, Outputs
    from divsal_bench.timing.pairs import Contender, Stepper

#: The parts of a step in their order, and their names in tables: reading, moving and augmenting a batch; the network's
#: passes, CAMs not among them; the loss with its CAMs and all gradients; the optimiser, its schedule and what is
#: written down.
PARTS = {"data": "data", "forward": "forward", "backward": "back", "optimiser": "update"}
#: Steps that are watched: at least, at most, and as many as take this many seconds.
LEAST_WATCHED, MOST_WATCHED, WATCH_SECONDS = 2, 20, 2.0


@dataclass(frozen=True)
class Watched:
    """What a contender's steps are made of.

    Attributes:
        peak_mb: Most memory while it trained: the device's own, or that of this process, which holds all else too; 0
            where the platform does not tell.
        seconds: Of a step, by part; empty for what is no training.
    """

    name: str
    peak_mb: float
    seconds: dict[str, float]


class Stopwatch:
    """Adds up the time between marks, each after the work that a device has queued."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self.last = 0.0

    def start(self) -> None:
        """A step begins."""
        devices.synchronise(self.device)
        self.last = time.perf_counter()

    def mark(self, part: str) -> None:
        """A part has ended."""
        devices.synchronise(self.device)
        now = time.perf_counter()
        self.seconds[part] += now - self.last
        self.last = now


def watch_contender(contender: Contender, device: torch.device, seconds: float) -> Watched:
    """Make a contender, let it take some steps, and look on.

    Args:
        seconds: Of a step, about.
    """
    machine.forget_peak(device)
    stepper = contender.make()
    stepper.step()
    stopwatch = Stopwatch(device)
    training = observe_stepper(stepper, stopwatch)
    count = max(LEAST_WATCHED, min(MOST_WATCHED, int(WATCH_SECONDS / seconds)))
    for _ in range(count if training else 1):
        stopwatch.start()
        stepper.step()
        stopwatch.mark("optimiser")
    parts = {part: spent / count for part, spent in stopwatch.seconds.items()} if training else {}
    return Watched(contender.name, machine.peak_mb(device), parts)


def observe_stepper(stepper: Stepper, stopwatch: Stopwatch) -> bool:
    """Have the parts of every step marked; whether it has any."""
    if isinstance(stepper, BareTraining):
        stepper.mark = stopwatch.mark
        return True
    if not isinstance(stepper, Training):
        return False
    overhear_method(
        stepper.method, on_batch=lambda: stopwatch.mark("data"), on_outputs=lambda: stopwatch.mark("forward")
    )
    stepper.optimiser.register_step_pre_hook(lambda *_: stopwatch.mark("backward"))
    return True


def overhear_method(
    method: Method,
    on_batch: Callable[[], object] = lambda: None,
    on_outputs: Callable[[], object] = lambda: None,
    on_losses: Callable[[dict[str, Tensor]], object] = lambda losses: None,
) -> None:
    """Be told by one method object of every batch it is given, of every pass, and of every loss."""
    transform, loss = method.transform, method.loss

    def told_transform(batch: Batch) -> Batch:
        on_batch()
        return transform(batch)

    def told_loss(batch: Batch, out: Outputs) -> dict[str, Tensor]:
        on_outputs()
        found = loss(batch, out)
        on_losses(found)
        return found

    vars(method).update(transform=told_transform, loss=told_loss)
