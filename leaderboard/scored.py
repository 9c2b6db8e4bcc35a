"""Score the runs of one table on the same test rows: AUROCs, and what each subject contributes to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from divsal_bench.conditions import IN_DOMAIN, restore
from divsal_bench.errors import UserError
from divsal_bench.leaderboard import cells, reader_case
from divsal_bench.leaderboard.cells import Cell
from divsal_bench.leaderboard.placements import Condition, clustered_influence
from divsal_bench.leaderboard.reader_case import Comparison, Interval
from divsal_bench.records import Run
from divsal_bench.scoring import margins

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
#: Seed to a metric's value and its influence values, (K,) over test subjects.
BySeed = dict[int, tuple[float, Floats]]


@dataclass(frozen=True)
class Metric:
    """AUROC on some conditions: one number a seed, summarised twice.

    Attributes:
        seeds: Mean ± sd and the t-interval over seeds, "on exactly these test images".
        population: The interval for new seeds and new subjects; None where there is no such metric.
    """

    seeds: Cell
    population: Interval | None


@dataclass(frozen=True)
class Scored:
    """The runs of one method that have scores, with what the tests need: seed to (value, influence (K,))."""

    label: str
    kind: str
    runs: dict[int, Run]
    primary: BySeed
    in_domain: BySeed
    worst: BySeed


def score_methods(by_label: dict[str, list[Run]]) -> dict[str, Scored]:
    """Score every method's runs on the same test rows, AUROC and influences at once."""
    done = {label: [run for run in runs if run.record.status == "done"] for label, runs in by_label.items()}
    every = [run for runs in done.values() for run in runs]
    scores, test = test_scores(every)
    values: dict[str, list[tuple[float, Floats]]] = {"primary": [], "in_domain": [], "worst": []}
    if test is not None:
        values = influences(scores, test)
    results: dict[str, Scored] = {}
    start = 0
    for label, runs in done.items():
        stop = start + len(runs)
        parts = {
            name: {run.spec.seed: one for run, one in zip(runs, found[start:stop], strict=False)}
            for name, found in values.items()
        }
        kind = by_label[label][0].record.method_kind
        results[label] = Scored(label, kind, {run.spec.seed: run for run in runs}, **parts)
        start = stop
    return results


def test_scores(runs: Sequence[Run]) -> tuple[Floats, pd.DataFrame | None]:
    """Margins of all runs on the test rows, (R, N), and the rows, in the order of sample ids."""
    reference = None
    scores = []
    for run in runs:
        rows = run.predictions()
        rows = rows[rows["split"] == "test"].sort_values("sample_id", ignore_index=True)
        fixed = rows[["sample_id", "label", "condition", "condition_axis", "subject"]]
        if reference is None:
            reference = fixed
        elif not fixed.equals(reference):
            raise UserError(
                f"{run.path} was scored on other test rows than the runs beside it; delete that folder and run again"
            )
        values = margins(rows)
        if not np.isfinite(values).all():
            raise UserError(f"{run.path} has scores that are not finite; delete that folder and run again")
        scores.append(values)
    return np.array(scores), reference


def influences(scores: Floats, test: pd.DataFrame) -> dict[str, list[tuple[float, Floats]]]:
    """Primary, in-domain and worst-condition AUROC of every run, each with its influence values."""
    found = restore(
        test["label"].to_numpy(np.int64),
        test["condition"].to_numpy(object),
        test["condition_axis"].to_numpy(object),
    )
    subjects = test["subject"].to_numpy(str)

    def one(names: list[str]) -> list[tuple[float, Floats]]:
        chosen = [Condition(c.name, c.positives, c.negatives) for c in found if c.name in names]
        result = clustered_influence(scores, chosen, subjects)
        return list(zip(result.primary.tolist(), result.influence, strict=True))

    unseen = [c.name for c in found if c.in_primary]
    inside = [c.name for c in found if c.name == IN_DOMAIN and c.kind == "scored"]
    parts: dict[str, list[tuple[float, Floats]]] = {"primary": [], "in_domain": [], "worst": []}
    if inside:
        parts["in_domain"] = one(inside)
    if unseen:
        parts["primary"] = one(unseen)
        # The minimum moves with the condition that attains it: its influence is that condition's.
        each = [one([name]) for name in unseen]
        parts["worst"] = [min(run, key=lambda pair: pair[0]) for run in zip(*each, strict=True)]
    elif inside:
        parts["primary"] = parts["in_domain"]
    return parts


def metric(found: BySeed) -> Metric:
    """Summarise one metric over seeds and over the population."""
    values = np.array([found[seed][0] for seed in sorted(found)])
    if not len(values):
        return Metric(cells.cell(values), None)
    return Metric(cells.cell(values), reader_case.single(values, np.array([found[seed][1] for seed in sorted(found)])))


def compare(a: BySeed, b: BySeed) -> Comparison | None:
    """Compare over the seeds both have; None without any."""
    shared = sorted(set(a) & set(b))
    if not shared:
        return None
    values = [np.array([found[seed][0] for seed in shared]) for found in (a, b)]
    parts = [np.array([found[seed][1] for seed in shared]) for found in (a, b)]
    return reader_case.compare(values[0], values[1], parts[0], parts[1])
