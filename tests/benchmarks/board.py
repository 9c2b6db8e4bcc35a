"""How long the board of accepted results takes: ``python tests/benchmarks/board.py [runs] [rows]``.

Makes runs of 2,000 test rows (4 data sets, 15 methods, 10 seeds: 600 runs) as accepted files in a temporary folder,
then prints time and peak memory of whole processes. The figures to stay under are printed beside; nothing is asserted.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from divsal_bench.leaderboard.accepted.rescoring import scores_of
from divsal_bench.leaderboard.claims import consistency, keys
from divsal_bench.leaderboard.claims.claim import Claim, SeedResult, TableFacts, Weights
from divsal_bench.leaderboard.claims.files import KEYS, MARGINS, model_json, write_all
from divsal_bench.runs.records import Spec
from divsal_bench.scores.layout import Layout, layout_of
from divsal_bench.scores.schema import MapAgreement

SEEDS, METHODS = 10, 15
#: Task to the field metrics of its claims: those of the four tasks.
TASKS = {
    "cxr": ("sensitivity@specificity=95%", "ece"),
    "iris-pad": ("apcer@bpcer=1%", "bpcer@bpcer=1%", "d-eer"),
    "face-pad": ("apcer@bpcer=1%", "bpcer@bpcer=1%", "d-eer"),
    "face-forgery": ("eer", "ap"),
}
VALIDATION_ROWS = 400
FIGURES = {"--recompute": (20.0, 1500.0), "--accepted": (2.0, None)}


def rows(count: int, seed: int) -> pd.DataFrame:
    """Validation and test rows: in-domain, two unseen sources and two unseen categories."""
    draw = np.random.default_rng(seed)
    total = VALIDATION_ROWS + count
    is_test = np.arange(total) >= VALIDATION_ROWS
    label = draw.integers(0, 2, total)
    place = np.where(is_test, draw.choice(["in-domain", "b", "c", "p", "q"], total, p=[0.4, 0.2, 0.2, 0.1, 0.1]), "")
    place = np.where((label == 0) & np.isin(place, ["p", "q"]), "in-domain", place)
    axes = ["in-domain", "source", "category"]
    axis = np.select([place == "in-domain", np.isin(place, ["b", "c"]), is_test], axes, "")
    return pd.DataFrame(
        {
            "key": [f"s{i:06d}" for i in range(total)],
            "split": np.where(is_test, "test", "validation"),
            "label": label,
            "condition": place.astype(object),
            "condition_axis": axis.astype(object),
            "category": np.where(label == 1, draw.choice(["p", "q", "r"], total), "").astype(object),
            "subject": [f"{'t' if test else 'v'}{i // 2}" for i, test in enumerate(is_test)],
        }
    )


def make(root: Path, runs: int, count: int) -> int:
    """Write accepted results; returns the number of runs."""
    made = 0
    for number, (task, names) in enumerate(TASKS.items()):
        fingerprint = hashlib.sha256(task.encode()).hexdigest()
        table = keys.published(rows(count, number), fingerprint)
        content = keys.key_bytes(table)
        where = layout_of(table.astype({"label": "int64"}))
        for method in range(METHODS):
            if made >= runs:
                return made
            claim, margins = result(task, names, fingerprint, method, table, where, hashlib.sha256(content).hexdigest())
            path = root / consistency.place(claim)
            folder = root / consistency.data_set_folder(claim.table)
            write_all({folder / KEYS: content, path.with_name(path.stem + MARGINS): margins, path: model_json(claim)})
            made += SEEDS
    return made


def result(
    task: str, names: tuple[str, ...], fingerprint: str, number: int, table: pd.DataFrame, where: Layout, key_sha: str
) -> tuple[Claim, bytes]:
    """One method's claim and its margins file."""
    name = ["cross-entropy", "cyborg", "difference"][number] if number < 3 else f"method-{number:02d}"
    kind = ["unguided", "one-cam", "two-cam"][min(number, 2)]
    spec = Spec(
        task=task, task_version=1, data="simulated", data_fingerprint=fingerprint, method=name, method_version=1,
        fields={}, backbone="resnet10t", weights="scratch", head="two-logit", protocol="quick-v1",
        protocol_settings={"epochs": 12}, seed=0,
    )  # fmt: skip
    image = np.random.default_rng(99).normal(size=len(table))
    own = np.random.default_rng([number, len(task)]).normal(size=(SEEDS, len(table)))
    margins = ((1 + 0.03 * number) * table["label"].to_numpy() + image + own).astype(np.float32)
    maps = MapAgreement(
        maps_negative=0,
        maps_positive=9,
        empty=0,
        pe=0.2,
        lift=1.5,
        auc=0.7,
        auc_maps=9,
        cc=0.3,
        cc_maps=9,
        pe_nonempty=0.2,
        lift_nonempty=1.5,
    )
    content = keys.margin_bytes(table["key"].tolist(), range(SEEDS), margins)
    seeds = [
        SeedResult(
            seed=seed, run_id=spec.model_copy(update={"seed": seed}).run_id,
            scores=scores_of(values, where, names, maps, maps), seconds=10.0, peak_mb=900.0, device="cpu", torch="2.9",
            weights=Weights(where=f"{task}/{name}/seed{seed}/model.safetensors", sha256="0" * 64),
        )
        for seed, values in enumerate(margins)
    ]  # fmt: skip
    facts = TableFacts(
        task=task, task_version=1, fingerprint=fingerprint, data="simulated", kind="standin", protocol="quick-v1",
        protocol_settings={"epochs": 12}, backbone="resnet10t", weights="scratch", head="two-logit",
        engine_version=spec.engine_version, digest=spec.group[-1],
    )  # fmt: skip
    claim = Claim(
        table=facts, method=name, version=1, fields={}, kind=kind, label=name, description="", seeds=seeds, missing=[],
        cams={}, submitter="nobody", date="2026-01-01", margins_sha256=hashlib.sha256(content).hexdigest(),
        key_sha256=key_sha,
    )  # fmt: skip
    return claim, content


def measure(option: str, root: Path) -> tuple[float, float, float]:
    """Wall time and CPU time in seconds and peak resident memory in MB of one ``board`` process."""
    program = str(Path(sysconfig.get_path("scripts")) / "divsal-bench")
    start = time.perf_counter()
    process = subprocess.Popen([program, "board", option, "--results", str(root)], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"board {option} failed")
    peak = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, peak


def main() -> None:
    """Make the results, then run each command."""
    runs, count = (int(text) for text in (*sys.argv[1:3], *("600", "2000")[len(sys.argv) - 1 :]))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        made = make(root, runs, count)
        sizes = [path.stat().st_size for path in root.rglob("*.parquet")]
        print(f"{made} runs of {count:,} test rows; largest Parquet file {max(sizes) / 1000:.0f} kB")
        for option, (seconds, memory) in FIGURES.items():
            took, cpu, peak = measure(option, root)
            limit = f" and ≤ {memory:g} MB" if memory else ""
            measured = f"{took:6.2f} s ({cpu:.2f} s CPU), peak {peak:5.0f} MB"
            print(f"board {option:<12} {measured}   figure ≤ {seconds:g} s{limit}")


if __name__ == "__main__":
    main()
