"""Two one-thread workers against one two-thread worker on the same grid, start-up of the workers included.

Run it on an idle machine with two or more cores: ``python tests/benchmarks/workers.py``.
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

from divsal_bench.grid import planning, pool
from divsal_bench.registry import method_choice, protocols

TARGET = 1.2


def seconds(workers: int, threads: int, epochs: int, runs: int) -> float:
    """Wall seconds from plan to last result of a grid of ``runs`` runs in a new folder."""
    with tempfile.TemporaryDirectory() as folder:
        grid = planning.Grid(
            tasks=("cxr",),
            methods=tuple(method_choice.choose_methods("cross-entropy,cyborg")),
            seeds=tuple(range(runs // 2)),
            out=Path(folder, "runs"),
            protocol=dataclasses.replace(protocols.find_protocol("quick-v1"), epochs=epochs, threads=threads),
            data="standin",
            device="cpu",
        )
        jobs = [job for part in planning.plan(grid) for job in part.jobs]
        started = time.perf_counter()
        finished = pool.run_jobs(jobs, workers)
        took = time.perf_counter() - started
    if len(finished) != runs or any(run.record.status != "done" for run in finished):
        sys.exit("the grid did not finish")
    return took


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=6, help="of quick-v1's 12")
    parser.add_argument("--runs", type=int, default=6, help="in the grid; an even number")
    arguments = parser.parse_args()
    ratios = []
    for number in range(arguments.pairs):
        kinds = [(2, 1), (1, 2)] if number % 2 == 0 else [(1, 2), (2, 1)]
        took = {workers: seconds(workers, threads, arguments.epochs, arguments.runs) for workers, threads in kinds}
        ratios.append(took[1] / took[2])
        load = " ".join(f"{value:.1f}" for value in os.getloadavg())
        print(
            f"pair {number + 1}: 2 workers × 1 thread {took[2]:.1f} s, 1 worker × 2 threads {took[1]:.1f} s, "
            f"{ratios[-1]:.2f} × faster, load {load}",
            flush=True,
        )
    median = statistics.median(ratios)
    quartiles = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    print(
        f"two workers are {median:.2f} × faster [{quartiles[0]:.2f}, {quartiles[2]:.2f}], n={len(ratios)}, "
        f"target {TARGET}: {'met' if median >= TARGET else 'MISSED'}"
    )
    return 0 if median >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
