"""Run directories without training: real records and predictions with scores drawn from a seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from divsal_bench.leaderboard.sheets import editions
from divsal_bench.runs import store
from divsal_bench.runs.reading import Run, read_run
from divsal_bench.runs.records import DataFacts, Record, Spec
from divsal_bench.scores.conditions import assign, conditions
from divsal_bench.scores.scoring import score

KINDS = {"cross-entropy": "unguided", "cyborg": "one-cam", "difference": "two-cam", "cyborg-shuffled": "control"}
FIELDS = {one.name: dict(one.fields) for one in editions.CURRENT.methods}


def rows(task_seed: int = 0) -> pd.DataFrame:
    """Train, validation and test rows with an in-domain part, an unseen source and an unseen category."""
    parts = [
        ("train", "a", "", 0, 2), ("train", "a", "print", 1, 2),
        ("validation", "a", "", 0, 30), ("validation", "a", "print", 1, 30),
        ("test", "a", "", 0, 60), ("test", "a", "print", 1, 50), ("test", "a", "lens", 1, 40),
        ("test", "b", "", 0, 40), ("test", "b", "print", 1, 40),
    ]  # fmt: skip
    table = pd.DataFrame(
        [
            {"split": split, "source": source, "category": category, "label": label}
            for split, source, category, label, count in parts
            for _ in range(count)
        ]
    )
    return table.assign(
        sample_id=[f"{task_seed}-{i:04d}" for i in range(len(table))],
        subject=[f"{split}-{i // 2}" for i, split in enumerate(table["split"])],
    )


def draw(strength: float, seed: int, noise: float = 1.0, maps: bool = True) -> pd.DataFrame:
    """Scores that share the difficulty of each image between methods and seeds."""
    table = rows()
    is_test = (table["split"] == "test").to_numpy()
    names, axes = np.full(len(table), "", object), np.full(len(table), "", object)
    names[is_test] = assign(table)
    for condition in conditions(table):
        axes[np.flatnonzero(is_test)[condition.members]] = condition.axis
    image = np.random.default_rng(99).normal(size=len(table))
    own = np.random.default_rng(seed).normal(size=len(table))
    margin = strength * table["label"].to_numpy() + image + noise * own
    table = table.assign(condition=names, condition_axis=axes, logit0=0.0, logit1=margin)
    for kind in ("true", "difference"):
        for name in ("pe", "lift", "auc", "cc", "empty"):
            value = np.where(is_test & (table["label"] == 1), {"empty": 0.0, "lift": 1.5}.get(name, 0.5), np.nan)
            table[f"{kind}_{name}"] = value if maps else np.nan
    return table[table["split"] != "train"].reset_index(drop=True)


def write_run(
    out: Path, method: str = "cross-entropy", seed: int = 0, strength: float = 1.5, status: str = "done",
    table: pd.DataFrame | None = None, record: dict[str, Any] | None = None, **spec: Any,
) -> Run:  # fmt: skip
    """Write one run to an output folder and read it back."""
    full = {
        "task": "cxr", "task_version": 1, "data": "standin", "data_fingerprint": "f" * 64, "method": method,
        "method_version": 1, "fields": FIELDS.get(method, {}), "backbone": "resnet10t", "weights": "scratch",
        "head": "two-logit",
        "protocol": "quick-v1", "protocol_settings": {"epochs": 12}, "seed": seed,
    }  # fmt: skip
    content = Spec(**{**full, **spec})
    if table is None:
        table = draw(strength, 1000 * sorted(KINDS).index(method) + seed if method in KINDS else seed)
    made = Record(
        **{
            "run_id": content.run_id, "status": status, "method_label": method,
            "method_kind": KINDS.get(method, "one-cam"),
            "spec": content, "seconds": 10.0, "device": "cpu", "versions": {"torch": "2.15"},
            "data": DataFacts(
                kind="standin", revision="", pixel_hash="", train=4, validation=60, test=230, train_maps=2
            ),
            "scores": score(table, ("ap",)) if status == "done" else None,
            **(record or {}),
        }
    )  # fmt: skip
    return read_run(store.save_run(out, made, lambda folder: table.to_parquet(folder / "predictions.parquet")))
