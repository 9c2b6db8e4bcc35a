"""Speed of ``predict`` against the loop one would write by hand, on image files drawn here.

Run it on an idle machine: ``python tests/benchmarks/predict.py``. The bare loop decodes a batch with the same decoder,
stacks it, runs the network on it, and goes on to the next. "predict / bare" is the share of the bare loop's throughput
that predict reaches, median and quartiles over pairs; which of the two begins alternates.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as the command does

import numpy as np
import torch
from PIL import Image

from divsal_bench.data import decoding, images
from divsal_bench.networks import backbones
from divsal_bench.prediction.inputs import Input, collect_images
from divsal_bench.prediction.preprocessing import Preprocessing
from divsal_bench.prediction.pretrained import Pretrained
from divsal_bench.registry import protocols

TARGET = 0.9
SIDE = 224
THREADS = torch.get_num_threads()


def draw_images(folder: Path, count: int) -> list[Input]:
    """Half JPEG, half PNG, smooth with some noise: files as large as photographs of that size."""
    generator = np.random.default_rng(0)
    for number in range(count):
        coarse = generator.integers(0, 256, (7, 7, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.int16)
        noisy = np.clip(smooth + generator.integers(-4, 5, smooth.shape), 0, 255).astype(np.uint8)
        suffix = "jpg" if number % 2 else "png"
        Image.fromarray(noisy).save(folder / f"{number:04d}.{suffix}")
    return collect_images([folder])


def network(name: str) -> Pretrained:
    """``quick-v1`` at 64 px, or ``resnet18`` at 224 px, with random weights."""
    protocol = protocols.find_protocol("quick-v1")
    if name != "quick-v1":
        changes: dict[str, Any] = {
            "backbone": name,
            "backbone_args": {},
            "output_stride": None,
            "input_size": SIDE,
            "channels": 3,
        }
        protocol = dataclasses.replace(protocol, **changes)
    preprocessing = Preprocessing.of_protocol(protocol, 1 if name == "quick-v1" else 3)
    model = backbones.build(protocol.backbone, protocol, preprocessing.in_chans, "two-logit", 0)
    model.net.eval()
    return Pretrained(model, preprocessing, ("negative", "positive"), 0.0, "", "fp32", "", None)


def bare(pretrained: Pretrained, inputs: list[Input], batch_size: int) -> list[float]:
    """The loop one would write by hand: nothing but Pillow and PyTorch."""
    asked, net = pretrained.preprocessing, pretrained.model.net
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) * 255 for values in (asked.mean, asked.std))
    channels = 1 if asked.image_mode == "L" else 3
    scores: list[float] = []
    with torch.inference_mode():
        for start in range(0, len(inputs), batch_size):
            files = [Path(str(one.source)).read_bytes() for one in inputs[start : start + batch_size]]
            pixels = [images.image_pixels(decoding.decode_image(data), channels, asked.size) for data in files]  # type: ignore[arg-type]
            batch = torch.from_numpy(np.stack(pixels)).float().sub_(mean).div_(std)
            logits = net(batch.contiguous(memory_format=torch.channels_last)).double()
            scores += (logits[:, 1] - logits[:, 0]).tolist()
    return scores


def predicted(pretrained: Pretrained, inputs: list[Input], batch_size: int) -> list[float]:
    return list(pretrained.predict([str(one.source) for one in inputs], batch_size)["score"])


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def quartiles(values: list[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle:.3f} [{low:.3f}, {high:.3f}]"


def compare(name: str, inputs: list[Input], pairs: int, batch_size: int) -> None:
    pretrained = network(name)
    torch.set_num_threads(
        protocols.find_protocol("quick-v1").threads if name == "quick-v1" else THREADS
    )  # as the command does
    works = [lambda: bare(pretrained, inputs, batch_size), lambda: predicted(pretrained, inputs, batch_size)]
    first, second = (work() for work in works)  # also warms everything up
    worst = max(abs(a - b) for a, b in zip(first, second, strict=True))
    assert worst < 1e-3, f"the bare loop does other work than predict: scores differ by {worst:.2g}"
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(pairs):
        for which in (0, 1) if number % 2 == 0 else (1, 0):
            times[which].append(seconds(works[which]))
    ratios = [hand / ours for hand, ours in zip(*times, strict=True)]
    rates = [len(inputs) / statistics.median(spent) for spent in times]
    print(
        f"{name:10s} at {pretrained.preprocessing.size:3d} px: predict / bare {quartiles(ratios)}  n={pairs}  "
        f"bare {rates[0]:.0f} images/s, predict {rates[1]:.0f} images/s  largest |Δ score| {worst:.1g}  "
        f"target {TARGET}  {'met' if statistics.median(ratios) >= TARGET else 'MISSED'}  "
        f"load {os.getloadavg()[0] if hasattr(os, 'getloadavg') else math.nan:.1f}",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--pairs", type=int, default=9, help="of passes over all images")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--networks", default="quick-v1,resnet18", help="of quick-v1 and timm's names, by commas")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        inputs = draw_images(Path(folder), arguments.images)
        print(f"torch {torch.__version__}, {THREADS} threads (quick-v1: 1), {len(inputs)} files of {SIDE} px")
        for name in arguments.networks.split(","):
            compare(name, inputs, arguments.pairs, arguments.batch_size)
    return 0


if __name__ == "__main__":
    sys.exit(main())
