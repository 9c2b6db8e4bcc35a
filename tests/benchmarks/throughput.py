"""Training speed: cross-entropy against a bare PyTorch loop, and each guided method against cross-entropy.

Run it on an idle machine: ``python tests/benchmarks/throughput.py``. "a / b" is the share of b's throughput that a
reaches, median and quartiles over pairs. A pair is two fresh trainings that take turns step by step, so that whatever
else the machine does meets both alike; its ratio is that of their median steps, after an epoch to warm up.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Semaphore

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, cross_entropy, grid_sample

from divsal_bench.contracts.method import Batch, Method, Outputs, TrainingSplit
from divsal_bench.data import arrays, catalogue
from divsal_bench.grid import work
from divsal_bench.networks import backbones, devices
from divsal_bench.registry import plugins, protocols
from divsal_bench.training.splits import SplitTensors
from divsal_bench.training.training import Streams, fit

BARE_TARGET, GUIDED_TARGET = 0.93, 0.95
STREAMS = Streams.of("cxr", "throughput", "resnet10t", 0)


def bare(
    net: torch.nn.Module, train: SplitTensors, protocol: protocols.Protocol, every_step: Callable[[], None]
) -> None:
    """The loop one would write by hand for the same training: nothing but PyTorch."""
    torch.manual_seed(STREAMS.order)
    order = torch.Generator().manual_seed(STREAMS.order)
    chance = torch.Generator().manual_seed(STREAMS.augmentation)
    steps = math.ceil(len(train) / protocol.batch_size)
    optimiser = torch.optim.AdamW(net.parameters(), lr=protocol.learning_rate, weight_decay=protocol.weight_decay)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, protocol.learning_rate, total_steps=protocol.epochs * steps, pct_start=0.2
    )
    mean, std = protocol.mean[0] * 255, protocol.std[0] * 255
    side = train.images.shape[-1]
    for _ in range(protocol.epochs):
        net.train()
        total = 0.0
        for rows in torch.randperm(len(train), generator=order).split(protocol.batch_size):
            images = train.images[rows].float().sub_(mean).div_(std)
            labels = train.labels[rows]
            images = images.contiguous(memory_format=torch.channels_last)
            draws = torch.rand(5, len(rows), generator=chance)
            angle = (draws[0] * 2 - 1) * (protocol.rotate * math.pi / 180)
            zoom = 1 + (draws[1] * 2 - 1) * protocol.scale
            mirror = torch.where(draws[4] < protocol.flip, -1.0, 1.0)
            cos, sin = angle.cos() * zoom, angle.sin() * zoom
            right, down = (draws[2:4] * 2 - 1) * (2 * protocol.shift)
            theta = torch.stack([mirror * cos, -sin, right, mirror * sin, cos, down], 1).view(-1, 2, 3)
            grid = affine_grid(theta, [len(rows), 1, side, side], align_corners=False)
            images = grid_sample(images, grid, padding_mode="border", align_corners=False)
            every_step()
            loss = cross_entropy(net(images), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            scheduler.step()
            total += loss.item() * len(rows)


class Turns:
    """Two trainings that take turns, and the time each spends in its own."""

    def __init__(self) -> None:
        self.gates = (Semaphore(1), Semaphore(0))
        self.wall: tuple[list[float], list[float]] = ([], [])
        self.cpu: tuple[list[float], list[float]] = ([], [])

    def next(self, me: int, deterministic: bool) -> None:
        """End my turn, wait for the other's, begin my next."""
        self.wall[me].append(time.perf_counter())
        self.cpu[me].append(time.thread_time())
        self.gates[1 - me].release()
        self.begin(me, deterministic)

    def begin(self, me: int, deterministic: bool) -> None:
        """Wait for my turn."""
        self.gates[me].acquire()
        torch.use_deterministic_algorithms(deterministic, warn_only=True)  # PyTorch as it comes for the bare loop
        self.wall[me].append(time.perf_counter())
        self.cpu[me].append(time.thread_time())

    def leave(self, me: int) -> None:
        """Let the other go on alone."""
        self.gates[1 - me].release(1_000_000)


class Interrupted(Method):
    """A method that lets the other training take its turn once a step."""

    def __init__(self, inner: Method, every_step: Callable[[], None]) -> None:
        self.inner = inner
        self.every_step = every_step

    def setup(self, train: TrainingSplit) -> None:
        self.inner.setup(train)

    def transform(self, batch: Batch) -> Batch:
        self.every_step()
        return self.inner.transform(batch)

    def loss(self, batch: Batch, out: Outputs) -> dict[str, Tensor]:
        return self.inner.loss(batch, out)


class Bench:
    """One data set and one protocol; every measurement starts from the same fresh network."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs
        self.protocol = protocols.find_protocol("quick-v1")
        task = plugins.tasks().get("cxr")
        data = arrays.load_arrays(task, catalogue.resolve(task, "standin"), self.protocol.input_size)
        self.train, self.validation = (
            work.split_rows(data, name, torch.device("cpu")).in_memory() for name in ("train", "validation")
        )
        self.steps = math.ceil(len(self.train) / self.protocol.batch_size)
        devices.make_deterministic(1)

    def run(self, name: str, epochs: int, every_step: Callable[[], None] = lambda: None) -> dict[str, Tensor]:
        """Train with a method, or with the loop above for ``bare``; returns the final weights."""
        protocol = dataclasses.replace(self.protocol, epochs=epochs)
        model = backbones.build(protocol.backbone, protocol, 1, "two-logit", STREAMS.weights, check=False)
        if name == "bare":
            bare(model.net, self.train, protocol, every_step)
        else:
            method = Interrupted(plugins.methods().get(name)(), every_step)
            fit(model, method, self.train, self.validation, protocol, STREAMS)
        return model.net.state_dict()

    def check_same_work(self) -> None:
        """The bare loop must train the same network, or the comparison means nothing."""
        first, second = self.run("bare", 1), self.run("cross-entropy", 1)
        worst = max(float((first[name].double() - second[name].double()).abs().max()) for name in first)
        print(f"largest difference between the weights of the bare loop and of cross-entropy: {worst:.2g}")
        if worst > 0.01:
            sys.exit("the bare loop does other work than divsal_bench.training.training.fit; mend it")

    def pairs(self, base: str, name: str, count: int) -> tuple[list[float], list[float]]:
        """Ratios base/name of wall and of CPU time; which of the two begins alternates."""
        found = [self.pair(base, name) if number % 2 == 0 else self.pair(name, base) for number in range(count)]
        found = [pair if number % 2 == 0 else (1 / pair[0], 1 / pair[1]) for number, pair in enumerate(found)]
        return [wall for wall, _ in found], [cpu for _, cpu in found]

    def pair(self, first: str, second: str) -> tuple[float, float]:
        """Ratio first/second of their median steps, in wall and in CPU time."""
        turns = Turns()

        def training(me: int, name: str) -> None:
            turns.begin(me, name != "bare")
            try:
                self.run(name, 1 + self.epochs, lambda: turns.next(me, name != "bare"))
            finally:
                turns.leave(me)

        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(training, me, name) for me, name in enumerate((first, second))]:
                done.result()
        wall, cpu = ([self.median_step(times) for times in clock] for clock in (turns.wall, turns.cpu))
        return wall[0] / wall[1], cpu[0] / cpu[1]

    def median_step(self, times: list[float]) -> float:
        """Seconds of a step, from the times at which turns began and ended; the first epoch is left out."""
        spent = [end - begin for begin, end in zip(times[::2], times[1::2], strict=False)]
        return statistics.median(spent[self.steps + 1 :])


def quartiles(values: list[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle:.3f} [{low:.3f}, {high:.3f}]"


def load_average() -> str:
    return " ".join(f"{value:.1f}" for value in os.getloadavg()) if hasattr(os, "getloadavg") else "unknown"


def report(title: str, measured: tuple[list[float], list[float]], target: float) -> bool:
    wall, cpu = measured
    met = statistics.median(wall) >= target
    print(
        f"{title:44s} wall {quartiles(wall)}  cpu {quartiles(cpu)}  n={len(wall)}  target {target}  "
        f"{'met' if met else 'MISSED'}  load {load_average()}",
        flush=True,
    )
    return met


def guided() -> list[str]:
    """Every method that looks at human maps, controls included."""
    found = plugins.methods().found
    return [name for name in plugins.ranked_order(found) if found[name].kind != "unguided"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=11, help="of trainings; 9 at least")
    parser.add_argument("--epochs", type=int, default=2, help="of 18 steps each, after one to warm up")
    parser.add_argument("--methods", default=None, help="joined by commas (default: every guided method)")
    arguments = parser.parse_args()
    if arguments.pairs < 9:
        print("note: fewer than 9 pairs are for trying out only", flush=True)
    bench = Bench(arguments.epochs)
    print(f"torch {torch.__version__}, quick-v1 on the cxr stand-in, {len(bench.train)} rows, one thread")
    bench.check_same_work()  # also warms everything up
    methods = arguments.methods.split(",") if arguments.methods is not None else guided()
    comparisons: list[tuple[str, Callable[[], tuple[list[float], list[float]]], float]] = [
        ("cross-entropy / bare loop", lambda: bench.pairs("bare", "cross-entropy", arguments.pairs), BARE_TARGET)
    ]
    for name in filter(None, methods):
        comparisons.append(
            (
                f"{name} / cross-entropy",
                lambda name=name: bench.pairs("cross-entropy", name, arguments.pairs),  # type: ignore[misc]
                GUIDED_TARGET,
            )
        )
    met = [report(title, measure(), target) for title, measure, target in comparisons]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
