"""How long ``explain`` takes for one image once everything is imported, on images drawn here.

Run it on an idle machine: ``python tests/benchmarks/explain.py``. Timed is what the command does for an image: decoding
it and its human map, maps, regions, covering each region, agreement, the figure and both files. The target is 3 seconds
at most for ``quick-v1`` and for a ResNet-50 at 224 px, with random weights, the first image among them.
"""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import scipy.ndimage
import scipy.stats  # noqa: F401 - loaded on first use, so that it does not count
import torch
from PIL import Image

from divsal_bench.explanation import examples, image
from divsal_bench.networks import backbones
from divsal_bench.prediction.inputs import Input
from divsal_bench.prediction.preprocessing import Preprocessing
from divsal_bench.prediction.pretrained import Pretrained
from divsal_bench.registry import protocols
from divsal_bench.workflows.explaining import write_explanation

TARGET, REPEATS, SIDE = 3.0, 7, 512


def network(name: str) -> Pretrained:
    """``quick-v1`` at 64 px, or another backbone at 224 px, with random weights."""
    protocol = protocols.find_protocol("quick-v1")
    if name != "quick-v1":
        changes: dict[str, Any] = {
            "backbone": name,
            "backbone_args": {},
            "output_stride": None,
            "input_size": 224,
            "channels": 3,
        }
        protocol = dataclasses.replace(protocol, **changes)
    preprocessing = Preprocessing.of_protocol(protocol, 1 if name == "quick-v1" else 3)
    model = backbones.build(protocol.backbone, protocol, preprocessing.in_chans, "two-logit", 0)
    model.net.eval()
    return Pretrained(model, preprocessing, ("negative", "positive"), 0.0, "", "fp32", name, None)


def draw(folder: Path, number: int) -> examples.Example:
    """A smooth image and a map of a part of it."""
    generator = np.random.default_rng(number)
    coarse = generator.integers(0, 256, (9, 9, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(folder / f"{number}.jpg")
    marked = np.zeros((SIDE, SIDE), np.uint8)
    marked[100:300, 150:400] = 255
    Image.fromarray(marked).save(folder / f"{number}-map.png")
    return examples.Example(Input(str(number), folder / f"{number}.jpg", ("x",)), 1, folder / f"{number}-map.png")


def main() -> None:
    """Print seconds for one image."""
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; target {TARGET:g} s for one image\n")
    print(f"{'network':<10}  {'first':>6}  {'median':>6}  {'largest':>7}  regions")
    for name in ("quick-v1", "resnet18", "resnet50"):
        made = network(name)
        if name == "quick-v1":
            torch.set_num_threads(1)  # as the command does
        with tempfile.TemporaryDirectory() as folder:
            seconds = []
            for number in range(REPEATS):
                example = draw(Path(folder), number)
                start = time.perf_counter()
                read = examples.open_example(made, example)
                assert isinstance(read, examples.Opened)
                found = image.explain_image(made, str(number), read, 1, image.DEFAULT)
                write_explanation(found, Path(folder) / f"out{number}.png", made)
                seconds.append(time.perf_counter() - start)
            assert found.regions is not None
            regions = len(found.regions.shown)
        mark = "" if max(seconds) <= TARGET else "  above the target"
        median = statistics.median(seconds[1:])
        print(f"{name:<10}  {seconds[0]:6.2f}  {median:6.2f}  {max(seconds):7.2f}  {regions:7d}{mark}")


if __name__ == "__main__":
    main()
