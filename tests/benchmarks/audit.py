"""Time of an audit: 10 runs of quick-v1 on 1,000 test images, with 2 worker processes, their start-up included.

Run it on an idle machine with two or more cores: ``python tests/benchmarks/audit.py``. Runs are trained first, one
epoch each (what they have learned changes no time); ``--runs DIR`` takes 10 that are there instead. Nothing is kept.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from divsal_bench.auditing import many_runs
from divsal_bench.data.array_files import store_arrays
from divsal_bench.data.arrays import DataArrays, open_cached
from divsal_bench.data.canonical import COLUMNS
from divsal_bench.data.room import Shape
from divsal_bench.grid import planning, pool
from divsal_bench.registry import method_choice, protocols
from divsal_bench.runs.audit_record import AuditSettings
from divsal_bench.runs.reading import Run, read_runs
from divsal_bench.workflows.run_data import RunData

TARGET, RUNS, IMAGES = 180, 10, 1000


def trained(out: Path) -> list[Run]:
    """Ten runs on the stand-in of cxr."""
    grid = planning.Grid(
        tasks=("cxr",),
        methods=tuple(method_choice.choose_methods("cross-entropy,cyborg")),
        seeds=tuple(range(RUNS // 2)),
        out=out,
        protocol=dataclasses.replace(protocols.find_protocol("quick-v1"), epochs=1),
        data="standin",
        device="cpu",
    )
    return pool.run_jobs([job for part in planning.plan(grid) for job in part.jobs], workers=2)


def with_test_images(data: DataArrays, count: int, folder: Path) -> Path:
    """The data with exactly so many test images, the first ones again if there are too few, as a cache folder."""
    split = data.rows["split"].to_numpy(dtype=str)
    test, others = np.flatnonzero(split == "test"), np.flatnonzero(split != "test")
    chosen = np.concatenate([others, np.resize(test, count)])
    rows = data.rows.iloc[chosen].reset_index(drop=True)
    rows["sample_id"] = [f"{number}" for number in range(len(rows))]
    mapped = rows["has_map"].to_numpy(dtype=bool)
    pairs = ((data.images[row], data.maps[row] if has else None) for row, has in zip(chosen, mapped, strict=True))
    table = list(rows[list(COLUMNS)].itertuples(index=False, name=None))
    shape = Shape(len(rows), int(mapped.sum()), *data.images.shape[1:3])
    meta = {"fingerprint": data.fingerprint, "pixel_hash": data.pixel_hash}
    store_arrays(folder, pairs, shape, lambda _: (table, meta), None)
    open_cached(folder)
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, help="an output folder with 10 or more runs on one data set")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    settings = AuditSettings()
    with tempfile.TemporaryDirectory() as folder:
        runs = (read_runs(arguments.runs) if arguments.runs else trained(Path(folder, "runs")))[:RUNS]
        if len(runs) < RUNS:
            sys.exit(f"{RUNS} runs are needed, {len(runs)} are there")
        cache = with_test_images(RunData(None).arrays(runs[0]), IMAGES, Path(folder, "data"))
        jobs = [many_runs.AuditJob(run.path, cache, settings, keep=False) for run in runs]
        started, cpu = time.perf_counter(), os.times()
        found = many_runs.audit_jobs(jobs, arguments.workers)
        took, after = time.perf_counter() - started, os.times()
    used = after.children_user + after.children_system - cpu.children_user - cpu.children_system
    print(
        f"{RUNS} runs × {sum(found[0].test)} test images ({found[0].sampled} for sensitivity and fooling, "
        f"{found[0].covered} for fidelity), {arguments.workers} workers: {took:.0f} s, {used:.0f} s of processor time, "
        f"load {os.getloadavg()[0]:.1f}; target {TARGET} s: {'met' if took <= TARGET else 'MISSED'}"
    )
    return 0 if took <= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
