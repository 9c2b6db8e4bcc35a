"""Do the drawn data sets hold what they promise?"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from divsal_bench.contracts.task import VARIANTS
from divsal_bench.errors import plural
from divsal_bench.grid import planning
from divsal_bench.grid.events import OnEvent
from divsal_bench.leaderboard.sheets.scored import Metric
from divsal_bench.leaderboard.tables import board
from divsal_bench.runs.reading import Run
from divsal_bench.workflows.asking import Seeds, grid_asked, worker_count
from divsal_bench.workflows.running import make_missing
from divsal_bench.workflows.selection import Names
from divsal_bench.workflows.telling import Say, silent, unheard

#: What cross-entropy has to reach on seen sources, and lose on unseen ones where there is a shortcut to be lost.
IN_DOMAIN_AT_LEAST = 0.90
GAP_AT_LEAST = 0.10
#: What it reaches on unseen sources where the shortcut tells nothing in training either.
ORACLE_BETWEEN = (0.90, 0.98)


@dataclass(frozen=True)
class Promise:
    """One promise: what was measured and promised, and whether it holds (None: shown without a pass mark)."""

    task: str
    what: str
    measured: str
    promised: str
    holds: bool | None


@dataclass(frozen=True)
class ProvenStandins:
    """What cross-entropy does on the variants.

    Attributes:
        runs: Every run that was needed.
        promises: Empty where one of them has no result.
    """

    runs: tuple[Run, ...]
    promises: tuple[Promise, ...]


def prove_standins(
    task: Names = "all",
    *,
    seeds: Seeds = 5,
    protocol: str = "quick-v1",
    device: str = "auto",
    workers: int | None = 0,
    out: str | Path = "runs",
    retry_failed: bool = False,
    say: Say = silent,
    on_event: OnEvent = unheard,
) -> ProvenStandins:
    """Train cross-entropy on ``standin``, ``standin:oracle`` and ``standin:null``, and compare.

    Args:
        task: A name or several, or ``all``.
        seeds, protocol, device, workers, out, retry_failed, say, on_event: As :func:`divsal_bench.run` takes them.

    Returns:
        The runs, and what each task's variants promise.

    Raises:
        UserError: Something is wrong that the caller can mend.

    Example:
        >>> from divsal_bench.workflows.proving import prove_standins
        >>> found = prove_standins("cxr", seeds=2, out="proving")
        >>> {one.task for one in found.promises}
        {'cxr'}
    """
    grid = grid_asked(
        task, "cross-entropy", seeds=seeds, protocol=protocol, backbone=None, head="two-logit", data=None,
        device=device, out=out, retry_failed=retry_failed, say=say,
    )  # fmt: skip
    plans = [plan for variant in VARIANTS for plan in planning.plan(dataclasses.replace(grid, data=variant))]
    to_do = sum(len(plan.jobs) for plan in plans)
    processes = worker_count(workers, grid)
    say(
        f"plan: cross-entropy on {len(plans)} drawn data sets × {plural(len(grid.seeds), 'seed')}; "
        f"{plural(to_do, 'run')} to do, {plural(processes, 'worker')}"
    )
    runs = make_missing(plans, processes, on_event)
    if any(found.record.status != "done" for found in runs):
        return ProvenStandins(tuple(runs), ())
    return ProvenStandins(tuple(runs), tuple(one for name in grid.tasks for one in promises_of(name, runs)))


def promises_of(task: str, runs: list[Run]) -> list[Promise]:
    """Compare one task's variants."""
    rows = {}
    for variant in VARIANTS:
        of_variant = [run for run in runs if run.spec.task == task and run.spec.data == variant]
        rows[variant] = board.tables_of_runs(of_variant)[0].rows[0]
    plain, oracle, null = (rows[variant] for variant in VARIANTS)
    gap = oracle.open_set.seeds.mean - plain.open_set.seeds.mean
    low, high = ORACLE_BETWEEN
    return [
        Promise(task, "standin, in-domain", auroc_words(plain.in_domain), f"≥ {IN_DOMAIN_AT_LEAST:.2f}",
                plain.in_domain.seeds.mean >= IN_DOMAIN_AT_LEAST),
        Promise(task, "standin, open-set", auroc_words(plain.open_set), "", None),
        Promise(task, "oracle, open-set", auroc_words(oracle.open_set), f"{low:.2f} to {high:.2f}",
                low <= oracle.open_set.seeds.mean <= high),
        Promise(task, "gap, oracle − standin", f"{gap:.3f}", f"≥ {GAP_AT_LEAST:.2f}", gap >= GAP_AT_LEAST),
        Promise(task, "null, in-domain", auroc_words(null.in_domain), "", None),
        Promise(task, "null, open-set", auroc_words(null.open_set), "", None),
    ]  # fmt: skip


def auroc_words(metric: Metric) -> str:
    """Mean ± sd, and the population interval."""
    text = f"{metric.seeds.mean:.3f} ± {metric.seeds.sd:.3f}"
    interval = metric.population
    return f"{text} [{interval.low:.3f}, {interval.high:.3f}]" if interval and interval.status == "ok" else text
