"""What checkpoints cost: the same training with and without them, interleaved, on the cxr stand-in.

``python tests/benchmarks/checkpoints.py`` on an idle machine. Two fresh trainings take turns step by step, so that
whatever else the machine does meets both alike. One has a checkpoint after every so many seconds of its own time
(``--every``), whatever that costs; the share that this takes is printed, and what one a minute would take.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

from divsal_bench.grid import keeping, planning, work
from divsal_bench.grid.jobs import Watch
from divsal_bench.grid.keeping import Keeper
from divsal_bench.registry import method_choice, protocols
from divsal_bench.training.training import Training


def begun(out: Path, arguments: argparse.Namespace, minutes: float) -> tuple[Training, Keeper]:
    """A training before its first step, and who keeps it."""
    protocol = dataclasses.replace(protocols.find_protocol(arguments.protocol), pretrained=False, epochs=10_000)
    asked = planning.Grid(
        ("cxr",), tuple(method_choice.choose_methods(arguments.method)), (0,), out, protocol, data="standin",
        device=arguments.device, backbone=arguments.backbone, checkpoint_minutes=minutes,
    )  # fmt: skip
    ((job,),) = (part.jobs for part in planning.plan(asked))
    facts: dict[str, object] = {"notices": []}
    parts = work.assemble(job, facts)
    keeper = Keeper(job, Watch(), time.perf_counter(), parts.device.type, facts)
    train, validation = (
        work.split_rows(parts.data, name, parts.device).in_memory() for name in ("train", "validation")
    )
    method = parts.method(**job.spec.fields)
    training = Training(parts.model, method, train, validation, parts.protocol, parts.streams)
    keeper.go_on(training)
    return training, keeper


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--protocol", default="quick-v1")
    parser.add_argument("--backbone")
    parser.add_argument("--method", default="cyborg-shuffled")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--every", type=float, default=5.0, help="seconds of training between two checkpoints")
    parser.add_argument("--pairs", type=int, default=9, help="stretches of that length that are compared")
    arguments = parser.parse_args()
    keeping.PAID_BACK = 0.0
    with tempfile.TemporaryDirectory() as folder:
        without, _ = begun(Path(folder, "without"), arguments, 0)
        kept, keeper = begun(Path(folder, "with"), arguments, arguments.every / 60)
        ratios, costs = [], []
        for number in range(arguments.pairs + 1):
            bare = withal = 0.0
            while withal < arguments.every:
                first = time.perf_counter()
                without.step()
                second = time.perf_counter()
                kept.step()
                third = time.perf_counter()
                bare, withal = bare + second - first, withal + third - second
            started = time.perf_counter()
            keeper.save()
            cost = time.perf_counter() - started
            if number:  # the first one warms up
                ratios.append((withal + cost) / bare)
                costs.append(cost)
        files = [path for path in Path(folder).rglob("state*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
    low, middle, high = statistics.quantiles(ratios, n=4)
    cost = statistics.median(costs)
    print(
        f"{arguments.protocol}, {arguments.method}: with a checkpoint ({size / 2**20:.1f} MB) every "
        f"{arguments.every:g} s, a step takes {middle:.4f} (quartiles {low:.4f} to {high:.4f}) of one without; "
        f"a checkpoint takes {1000 * cost:.1f} ms, so one a minute costs {cost / 60:.4%}"
    )  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
