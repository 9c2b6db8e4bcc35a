"""``divsal-bench standins check``: do the drawn data sets hold what they promise?"""

from __future__ import annotations

import argparse
import dataclasses
import json
from dataclasses import dataclass

from divsal_bench.cli import EXIT_INTERRUPTED, say
from divsal_bench.cli.run import execute, grid_of, say_failures, worker_count
from divsal_bench.cli.tables import table
from divsal_bench.contracts.task import VARIANTS
from divsal_bench.errors import plural
from divsal_bench.files import escaping
from divsal_bench.grid import planning
from divsal_bench.leaderboard.sheets.scored import Metric
from divsal_bench.leaderboard.tables import board
from divsal_bench.registry import method_choice
from divsal_bench.runs.reading import Run

IN_DOMAIN_AT_LEAST = 0.90
GAP_AT_LEAST = 0.10
ORACLE_BETWEEN = (0.90, 0.98)


@dataclass(frozen=True)
class Check:
    """One promise: what was measured and promised, and whether it holds (None: shown without a pass mark)."""

    task: str
    what: str
    measured: str
    promised: str
    holds: bool | None


def check(arguments: argparse.Namespace) -> int:
    """Train cross-entropy on the three variants; exit code 1 when a promise does not hold."""
    defaults = {
        "method": "cross-entropy",
        "backbone": None,
        "head": "two-logit",
        "data": None,
    }
    grid = grid_of(argparse.Namespace(**{**vars(arguments), **defaults}))
    grid = dataclasses.replace(grid, methods=tuple(method_choice.choose_methods("cross-entropy")))
    plans = [plan for variant in VARIANTS for plan in planning.plan(dataclasses.replace(grid, data=variant))]
    to_do = sum(len(plan.jobs) for plan in plans)
    workers = worker_count(arguments, grid)
    say(
        f"plan: cross-entropy on {len(plans)} drawn data sets × {plural(len(grid.seeds), 'seed')}; "
        f"{plural(to_do, 'run')} to do, {plural(workers, 'worker')}"
    )
    new, interrupted = execute(plans, workers)
    if interrupted:
        return EXIT_INTERRUPTED
    runs = [found for plan in plans for found in plan.done] + new
    if any(found.record.status != "done" for found in runs):
        return say_failures(runs, grid)
    checks = [row for task in grid.tasks for row in promises(task, runs)]
    print(written(checks, arguments.format))
    return 1 if any(row.holds is False for row in checks) else 0


def promises(task: str, runs: list[Run]) -> list[Check]:
    """Compare one task's variants."""
    rows = {}
    for variant in VARIANTS:
        chosen = [run for run in runs if run.spec.task == task and run.spec.data == variant]
        rows[variant] = board.tables_of_runs(chosen)[0].rows[0]
    plain, oracle, null = (rows[variant] for variant in VARIANTS)
    gap = oracle.open_set.seeds.mean - plain.open_set.seeds.mean
    low, high = ORACLE_BETWEEN
    return [
        Check(task, "standin, in-domain", number(plain.in_domain), f"≥ {IN_DOMAIN_AT_LEAST:.2f}",
              plain.in_domain.seeds.mean >= IN_DOMAIN_AT_LEAST),
        Check(task, "standin, open-set", number(plain.open_set), "", None),
        Check(task, "oracle, open-set", number(oracle.open_set), f"{low:.2f} to {high:.2f}",
              low <= oracle.open_set.seeds.mean <= high),
        Check(task, "gap, oracle − standin", f"{gap:.3f}", f"≥ {GAP_AT_LEAST:.2f}", gap >= GAP_AT_LEAST),
        Check(task, "null, in-domain", number(null.in_domain), "", None),
        Check(task, "null, open-set", number(null.open_set), "", None),
    ]  # fmt: skip


def number(metric: Metric) -> str:
    """Mean ± sd, and the population interval."""
    text = f"{metric.seeds.mean:.3f} ± {metric.seeds.sd:.3f}"
    interval = metric.population
    return f"{text} [{interval.low:.3f}, {interval.high:.3f}]" if interval and interval.status == "ok" else text


def written(checks: list[Check], form: str) -> str:
    """The checks as a table."""
    words = {True: "holds", False: "DOES NOT HOLD", None: "–"}
    head = ["task", "cross-entropy on", "AUROC, mean ± sd [95 % interval]", "promise", ""]
    rows = [[c.task, c.what, c.measured, c.promised, words[c.holds]] for c in checks]
    if form == "json":
        return json.dumps([dataclasses.asdict(check) for check in checks], indent=1, ensure_ascii=False)
    if form == "csv":
        return escaping.csv_text([[*head[:-1], "holds"], *rows])
    style = "github" if form == "markdown" else "simple"
    return table(rows, head, style=style)
