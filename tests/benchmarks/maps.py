"""The price of explanations: all core maps against a plain forward pass, and the parts of an audit.

Run it on an idle machine: ``python tests/benchmarks/maps.py``. The first figure is for a ResNet-50 at 224 px with
random weights on the CPU. A pair is a plain forward pass of a batch and the same batch with every map of the table, in
turns of random order; its ratio is the second over the first; median and quartiles over pairs. The second is what one
run of the quick protocol with 1,000 images costs on one core; ten of them on two cores are five times that.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import random
import statistics
import time
from collections.abc import Callable

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--pairs", type=int, default=30)
parser.add_argument("--batch", type=int, default=8)
parser.add_argument("--threads", type=int, default=2, help="CPU threads of the first figure; the second has one")
parser.add_argument("--images", type=int, default=1000, help="images of the audit")
parser.add_argument("--count", type=int, default=200, help="images of the fidelity test in it")
arguments = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(arguments.threads)

import numpy as np  # noqa: E402
import torch  # noqa: E402

from divsal_bench.maps import closed_form, fidelity, fooling, measures, regions, sensitivity  # noqa: E402
from divsal_bench.maps.covering import margin_score  # noqa: E402
from divsal_bench.maps.evidence import Evidence, Maps, gather, join_evidence  # noqa: E402
from divsal_bench.networks import backbones  # noqa: E402
from divsal_bench.registry import protocols  # noqa: E402

TARGET, AUDIT_TARGET = 1.10, 180


def every_map(one: Evidence, labels: torch.Tensor) -> dict[str, Maps]:
    """All maps that have a closed form."""
    return {name: entry.function(one, labels) for name, entry in closed_form.MAPS.items()}


def ratio_of_maps() -> None:
    """Print what the maps add to a forward pass."""
    torch.set_num_threads(arguments.threads)
    protocol = dataclasses.replace(protocols.find_protocol("cyborg-v1"), pretrained=False)
    model = backbones.build("resnet50", protocol, 3, "two-logit", seed=0)
    model.net.eval()
    images = torch.randn(arguments.batch, 3, 224, 224)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.arange(arguments.batch) % 2

    def plain() -> None:
        with torch.no_grad():
            model.net(images)

    def explained() -> None:
        every_map(gather(model, images), labels)

    for warm_up in (plain, explained) * 3:
        warm_up()
    seconds: dict[Callable[[], None], list[float]] = {plain: [], explained: []}
    order, chance = [plain, explained], random.Random(0)
    for _ in range(arguments.pairs):
        chance.shuffle(order)
        for function in order:
            started = time.perf_counter()
            function()
            seconds[function].append(time.perf_counter() - started)
    ratios = [b / a for a, b in zip(seconds[plain], seconds[explained], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    one = 1000 * statistics.median(seconds[plain]) / arguments.batch
    print(
        f"resnet50, 224 px, batch {arguments.batch}, {arguments.threads} threads: plain forward {one:.1f} ms an "
        f"image; with all {len(closed_form.MAPS)} maps × {middle:.3f} (quartiles {low:.3f} to {high:.3f}, "
        f"{arguments.pairs} pairs; wanted: at most {TARGET:.2f})"
    )


def parts_of_an_audit() -> None:
    """Print what each part costs for one run of the quick protocol."""
    torch.set_num_threads(1)
    protocol = protocols.find_protocol("quick-v1")
    model = backbones.build(protocol.backbone, protocol, 1, "two-logit", seed=0)
    count = arguments.images
    images = torch.randn(count, 1, 64, 64).contiguous(memory_format=torch.channels_last)
    ids = [f"sample-{i}" for i in range(count)]
    human = np.zeros((count, 8, 8))
    human[:, 2:5, 3:6] = 1
    seconds: dict[str, float] = {}

    def timed(name: str, function: Callable[[], object]) -> object:
        started = time.perf_counter()
        result = function()
        seconds[name] = time.perf_counter() - started
        return result

    one = timed("forward", lambda: join_evidence([gather(model, some) for some in images.split(128)]))
    assert isinstance(one, Evidence)
    labels = one.predicted  # an untrained network decides at random: called right, all images can be used
    found = timed("maps", lambda: every_map(one, labels))
    assert isinstance(found, dict)
    values = {name: map_.values.numpy() for name, map_ in found.items()}
    score, margins = margin_score(model), one.margin.double().numpy()

    def sensitivities() -> None:
        for name in ("true-class", "case", "case-clamped"):
            first, second, undefined = sensitivity.pair(one, name)
            sensitivity.class_sensitivity(first, second, undefined=undefined)

    def faithful() -> None:
        both = {name: values[name] for name in ("true-class", "difference")}
        fidelity.measure_fidelity(score, images, both, labels.numpy(), margins, ids, "audit", count=arguments.count)

    def regional() -> None:
        parts = [regions.regions(one_map, 0.0, h) for one_map, h in zip(values["difference"], human, strict=True)]
        regions.occlusion(score, images, parts)

    def attacked() -> None:
        target = fooling.border(one.grid)
        after = fooling.add_to_rows(one, fooling.attack(one, labels, target))
        fooling.fooled(one, after, labels, target)

    timed("energy", lambda: [measures.energy_inside(drawn, human) for drawn in values.values()])
    timed("class sensitivity", sensitivities)
    timed(f"fidelity of {arguments.count}", faithful)
    timed("regions and occlusion", regional)
    timed("fooling", attacked)
    print(f"audit of one quick-v1 run, {count:,} images, one core: {sum(seconds.values()):.1f} s")
    for name, value in seconds.items():
        print(f"  {name:<24}{value:6.2f} s")
    ten = 5 * sum(seconds.values())
    print(f"  ten such runs on two cores: {ten:.0f} s (wanted: at most {AUDIT_TARGET} s, with reading and writing)")


if __name__ == "__main__":
    ratio_of_maps()
    parts_of_an_audit()
