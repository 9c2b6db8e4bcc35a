"""What results are known by stays: run ids, fingerprints of the stand-ins, and every accepted file, byte for byte.

A change here makes every stored run and every accepted result one of something else. Where that is meant (a version
was raised), ``stored_results.json`` is written anew with it, and the commit says why.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from divsal_bench.data import catalogue
from divsal_bench.grid import planning
from divsal_bench.registry import method_choice, plugins, protocols

ROOT = Path(__file__).resolve().parents[2]
STORED: dict[str, Any] = json.loads(Path(__file__).with_name("stored_results.json").read_text(encoding="utf-8"))
SEEDS = (0, 1)


@pytest.mark.parametrize("variant", STORED["fingerprints"])
def test_stand_ins_are_the_same_data(variant: str) -> None:
    found = {name: catalogue.resolve(task, variant).fingerprint for name, task in plugins.tasks().found.items()}
    assert found == STORED["fingerprints"][variant]


@pytest.mark.slow
def test_specifications_are_the_same_runs(tmp_path: Path) -> None:
    grid = planning.Grid(
        tasks=tuple(plugins.tasks().found),
        methods=tuple(method_choice.choose_methods("all,controls")),
        seeds=SEEDS,
        out=tmp_path,
        protocol=protocols.find_protocol("quick-v1"),
        data="standin",
        device="cpu",
    )
    found: dict[str, dict[str, list[str]]] = {}
    for plan in planning.plan(grid):
        for job in plan.jobs:
            found.setdefault(job.spec.task, {}).setdefault(job.spec.method, []).append(job.spec.run_id)
    assert found == STORED["run_ids"]


def test_accepted_results_are_the_same_files() -> None:
    folder = ROOT / "leaderboard" / "results"
    found = {
        file.relative_to(ROOT).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }
    assert found == STORED["files"]
