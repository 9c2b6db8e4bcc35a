"""``divsal-bench run``: plan, progress, table."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from divsal_bench.cli import EXIT_INTERRUPTED, EXIT_USER_ERROR, say, terminal_width
from divsal_bench.cli.progress import counter, progress_shown
from divsal_bench.errors import plural
from divsal_bench.grid.pool import OnEvent
from divsal_bench.runs.reading import Run
from divsal_bench.workflows import running

T = TypeVar("T")


def command(arguments: argparse.Namespace) -> int:
    """Plan, run what is missing, print the table."""
    from divsal_bench.leaderboard.tables import board, render

    plan = running.plan_runs(
        arguments.task, arguments.method, seeds=arguments.seeds, protocol=arguments.protocol,
        backbone=arguments.backbone, head=arguments.head, data=arguments.data, device=arguments.device,
        workers=arguments.workers, out=arguments.out, retry_failed=arguments.retry_failed,
        checkpoint_minutes=arguments.checkpoint_minutes, for_work=not arguments.plan, say=say,
        on_decoded=counter("decoded"),
    )  # fmt: skip
    if arguments.plan:
        return 0
    runs = with_progress(lambda on_event: running.make_missing(plan.tasks, plan.workers, on_event))
    if runs is None:
        return EXIT_INTERRUPTED
    tables = [dataclasses.replace(table, unnamed=table.task in plan.unnamed) for table in board.tables_of_runs(runs)]
    print(render.render_tables(tables, arguments.format, terminal_width()))
    return say_failures(runs, arguments.out)


def with_progress(work: Callable[[OnEvent], T]) -> T | None:
    """Show the progress of work that trains; on Ctrl-C say how to go on, and return None."""
    with progress_shown() as progress:
        try:
            return work(progress.on_event)
        except KeyboardInterrupt:
            if progress.finished == progress.total:  # nothing has begun, or all is trained
                raise
            progress.close()
            again = shlex.join(["divsal-bench", *sys.argv[1:]])
            done = f"{progress.finished} of {plural(progress.total, 'run')} finished and kept"
            say(f"stopped: {done}. To go on: {again}")
            return None


def say_failures(runs: Sequence[Run], out: Path) -> int:
    """One line for each run without a result; exit code 2 if there is any."""
    bad = [found for found in runs if found.record.status != "done"]
    for found in bad:
        record = found.record
        say(
            f"divsal-bench: {record.status}: {record.spec.task} {record.method_label} "
            f"seed {record.spec.seed}: {record.error}; see `divsal-bench show {record.run_id} --out "
            f"{shlex.quote(str(out))}`, mend it and add --retry-failed"
        )
    notices: dict[tuple[str, str], list[int]] = {}
    for found in runs:
        if found.record.status == "done":
            for notice in found.record.notices:
                notices.setdefault((found.record.method_label, notice), []).append(found.record.spec.seed)
    for (label, notice), seeds in notices.items():
        which = sorted(set(seeds))
        say(f"notice: {label}, seed{'s' * (len(which) != 1)} {', '.join(map(str, which))}: {notice}")
    return EXIT_USER_ERROR if bad else 0
