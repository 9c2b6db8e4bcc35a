"""``divsal-bench run``: plan, progress, table."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from divsal_bench.cli import EXIT_USER_ERROR, ToldInterruption, say, terminal_width
from divsal_bench.cli.progress import counter, progress_shown
from divsal_bench.errors import UserError
from divsal_bench.grid.events import OnEvent
from divsal_bench.runs.reading import Run
from divsal_bench.workflows import running

T = TypeVar("T")


def command(arguments: argparse.Namespace) -> int:
    """Plan, run what is missing, print the table."""
    from divsal_bench.leaderboard.tables import board, render

    if arguments.devices is not None and arguments.workers == 0:
        raise UserError("--workers 0 runs in this process, --devices in others; leave --workers out")
    plan = running.plan_runs(
        arguments.task, arguments.method, seeds=arguments.seeds, protocol=arguments.protocol,
        backbone=arguments.backbone, head=arguments.head, data=arguments.data, device=arguments.device,
        devices=arguments.devices, slots=arguments.slots, workers=arguments.workers,
        stall_minutes=arguments.stall_minutes, out=arguments.out, retry_failed=arguments.retry_failed,
        checkpoint_minutes=arguments.checkpoint_minutes, for_work=not arguments.plan, say=say,
        on_decoded=counter("decoded"),
    )  # fmt: skip
    if arguments.plan:
        return 0
    runs = with_progress(lambda on_event: running.carry_out(plan, on_event))
    tables = [dataclasses.replace(table, unnamed=table.task in plan.unnamed) for table in board.tables_of_runs(runs)]
    print(render.render_tables(tables, arguments.format, terminal_width()))
    return say_failures(runs, arguments.out)


def with_progress(work: Callable[[OnEvent], T]) -> T:
    """Show the progress of work that trains; where that is interrupted, say where it stands and how to go on.

    Raises:
        ToldInterruption: It was.
    """
    with progress_shown() as progress:
        try:
            return work(progress.on_event)
        except KeyboardInterrupt as error:
            if progress.finished == progress.total:  # nothing has begun, or all is trained
                raise
            progress.close()
            again = shlex.join(["divsal-bench", *sys.argv[1:]])
            say(f"stopped: {progress.standing()}. To go on: {again}")
            raise ToldInterruption(getattr(error, "number", signal.SIGINT)) from None


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
