"""``divsal-bench run``: plan, progress, table."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import sys
from collections.abc import Sequence

from divsal_bench.cli import EXIT_INTERRUPTED, EXIT_USER_ERROR, say, terminal_width
from divsal_bench.cli.progress import counter, progress_of
from divsal_bench.errors import UserError, plural
from divsal_bench.grid import planning, pool
from divsal_bench.networks import devices
from divsal_bench.registry import method_choice, plugins, protocols
from divsal_bench.runs import store
from divsal_bench.runs.reading import Run

#: More seeds than anyone means: a typo here would fill a disk.
MAX_SEEDS = 1000


def run(arguments: argparse.Namespace) -> int:
    """Plan, run what is missing, print the table."""
    from divsal_bench.leaderboard.tables import board, render

    grid = grid_of(arguments)
    if not arguments.plan:
        store.check_writable(grid.out)
    plans = planning.plan(grid, counter("decoded"))
    workers = worker_count(arguments, grid)
    if not arguments.plan:
        store.prepare_folder(grid.out)
    say_plan(plans, grid, workers)
    if arguments.plan:
        return 0
    new, interrupted = execute(plans, workers)
    if interrupted:
        return EXIT_INTERRUPTED
    runs = [found for plan in plans for found in plan.done] + new
    unnamed = {plan.task.name for plan in plans if plan.source.unnamed}
    tables = [dataclasses.replace(table, unnamed=table.task in unnamed) for table in board.tables_of_runs(runs)]
    print(render.render_tables(tables, arguments.format, terminal_width()))
    return say_failures(runs, grid)


def grid_of(arguments: argparse.Namespace) -> planning.Grid:
    """Check every argument that names something."""
    if arguments.device != "auto" and arguments.device.partition(":")[0] not in devices.DEVICES:
        raise UserError(f"unknown device {arguments.device!r}; give one of {', '.join(devices.DEVICES)}")
    if arguments.device not in ("auto", "cpu"):
        devices.choose(arguments.device)
    return planning.Grid(
        tasks=task_names(arguments.task),
        methods=tuple(method_choice.choose_methods(arguments.method)),
        seeds=seed_range(arguments.seeds),
        out=arguments.out,
        protocol=protocols.find_protocol(arguments.protocol),
        backbone=arguments.backbone,
        head=arguments.head,
        data=arguments.data,
        device=arguments.device,
        retry_failed=arguments.retry_failed,
    )


def task_names(text: str) -> tuple[str, ...]:
    """``all``, or names joined by commas."""
    known = plugins.tasks()
    for complaint in (*known.complaints(), *plugins.methods().complaints()):
        say(f"notice: {complaint}")
    if text == "all":
        if known.broken:
            raise UserError(f"{known.complaints()[0]}; mend or remove it, or name the tasks you want")
        return tuple(known.found)
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UserError("--task is empty; give a task or `all`")
    return tuple(dict.fromkeys(known.get(name).name for name in names))


def seed_range(text: str) -> tuple[int, ...]:
    """``5`` is 0 to 4; ``5-9`` is 5 to 9."""
    first, dash, last = text.partition("-")
    try:
        low, high = (int(first), int(last) + 1) if dash else (0, int(first))
    except ValueError:
        raise UserError(f"--seeds takes a number or a range like 5-9, not {text!r}") from None
    if not (0 <= low < high <= low + MAX_SEEDS and high < 2**31):
        raise UserError(
            f"--seeds {text} names no seeds or too many; give a number from 1 to {MAX_SEEDS}, e.g. --seeds 5"
        )
    return tuple(range(low, high))


def worker_count(arguments: argparse.Namespace, grid: planning.Grid) -> int:
    """``--workers``, or what the machine has room for."""
    if arguments.workers is not None:
        if arguments.workers < 0:
            raise UserError(f"--workers must be 0 or more, not {arguments.workers}")
        return int(arguments.workers)
    return 1 if uses_accelerator(grid.device) else devices.default_workers(grid.protocol.threads)


def uses_accelerator(device: str) -> bool:
    """Whether runs go to a GPU; looks without importing torch where a name tells."""
    if device != "auto":
        return device != "cpu"
    return devices.has_nvidia() or (sys.platform in ("darwin", "win32") and devices.choose(device).type != "cpu")


def say_plan(plans: Sequence[planning.TaskPlan], grid: planning.Grid, workers: int) -> None:
    """What will be run, what is there already, and on which data."""
    to_do = sum(len(plan.jobs) for plan in plans)
    there = [found for plan in plans for found in plan.done]
    bad = sum(found.record.status != "done" for found in there)
    without = f" ({bad} of them without a result: --retry-failed runs those again)" if bad else ""
    specs = [job.spec for plan in plans for job in plan.jobs] + [found.spec for found in there]
    backbone = specs[0].backbone
    say(
        f"plan: {plural(to_do + len(there), 'run')} = {plural(len(plans), 'task')} × "
        f"{plural(len(grid.methods), 'method')} × {plural(len(grid.seeds), 'seed')}; "
        f"{len(there)} already done{without}, {to_do} to do"
    )
    say(
        f"  protocol {grid.protocol.name}, backbone {backbone}, {grid.head}, device {grid.device}, "
        f"{plural(workers, 'worker')}, results in {shlex.quote(str(grid.out))}"
    )
    say(f"  method{'s' * (len(grid.methods) != 1)}: {', '.join(choice.label for choice in grid.methods)}")
    for plan in plans:
        rows = plan.arrays.rows
        parts = [
            f"{(rows['split'] == split).sum()} {split} ({rows.loc[rows['split'] == split, 'has_map'].sum()} with a map)"
            for split in ("train", "validation", "test")
        ]
        say(
            f"  {plan.task.name}: data {plan.source.name} ({plan.arrays.fingerprint[:8]}): "
            f"{', '.join(parts)}; "
            f"{len(plan.done)} done, {len(plan.jobs)} to do"
        )
        for notice in plan.notices:
            say(f"  notice: {notice}")


def execute(plans: Sequence[planning.TaskPlan], workers: int) -> tuple[list[Run], bool]:
    """Run the missing runs; on Ctrl-C say how to go on. Returns the new runs, and if it was interrupted."""
    jobs = [job for plan in plans for job in plan.jobs]
    if not jobs:
        return [], False
    with progress_of(jobs) as progress:
        try:
            return pool.execute(jobs, workers, progress.on_event), False
        except KeyboardInterrupt:
            progress.close()
            command = shlex.join(["divsal-bench", *sys.argv[1:]])
            say(f"stopped: {progress.finished} of {plural(len(jobs), 'run')} finished and kept. To go on: {command}")
            return [], True


def say_failures(runs: Sequence[Run], grid: planning.Grid) -> int:
    """One line for each run without a result; exit code 2 if there is any."""
    bad = [found for found in runs if found.record.status != "done"]
    for found in bad:
        record = found.record
        say(
            f"divsal-bench: {record.status}: {record.spec.task} {record.method_label} "
            f"seed {record.spec.seed}: {record.error}; see `divsal-bench show {record.run_id} --out "
            f"{shlex.quote(str(grid.out))}`, mend it and add --retry-failed"
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
