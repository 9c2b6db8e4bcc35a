"""Run what is missing of a grid."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from divsal_bench.errors import plural
from divsal_bench.grid import planning, pool
from divsal_bench.grid.jobs import CHECKPOINT_MINUTES
from divsal_bench.grid.planning import Grid, TaskPlan
from divsal_bench.grid.pool import OnEvent
from divsal_bench.runs import store
from divsal_bench.runs.reading import Run
from divsal_bench.workflows.asking import Seeds, grid_asked, worker_count
from divsal_bench.workflows.selection import Names
from divsal_bench.workflows.telling import OnCount, Say, silent, unheard


@dataclass(frozen=True)
class RunPlan:
    """What was asked for, by task: what is there already and what is missing.

    Attributes:
        workers: Processes that will do the work.
    """

    grid: Grid
    tasks: tuple[TaskPlan, ...]
    workers: int

    @property
    def unnamed(self) -> set[str]:
        """Tasks whose data is drawn, and is used without being named."""
        return {part.task.name for part in self.tasks if part.source.unnamed}


def run(
    task: Names,
    method: Names = "all",
    *,
    seeds: Seeds = 5,
    protocol: str = "quick-v1",
    backbone: str | None = None,
    head: str = "two-logit",
    data: str | Path | None = None,
    device: str = "auto",
    workers: int | None = 0,
    out: str | Path = "runs",
    retry_failed: bool = False,
    checkpoint_minutes: float = CHECKPOINT_MINUTES,
    say: Say = silent,
    on_event: OnEvent = unheard,
) -> list[Run]:
    """Run what is missing of a grid; the function behind ``divsal-bench run``.

    Args:
        task: A name or several, or ``all``.
        method: As ``--method``, or a list of such: names joined by commas, ``all``, ``all,controls``, fields after
            a colon.
        seeds: How many, from 0; a range as ``"5-9"``; or which.
        protocol: A protocol's name.
        backbone: A timm name; None takes the protocol's.
        head: ``two-logit`` or ``one-logit``.
        data: A prepared folder, a Hub id, or a stand-in variant; None takes the task's prepared data
            if there is any, else its stand-in.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        workers: Processes; 0 runs in this one, None takes as many as the machine has room for.
        out: The output folder; runs it already holds are returned, not run again.
        retry_failed: Run failed and diverged runs again.
        checkpoint_minutes: Between two checkpoints within an epoch; 0 makes none, and an interrupted run is made from
            its beginning.
        say: Told the plan, and what the user should know of the data.
        on_event: Told of every epoch and of every run that ends.

    Returns:
        Every run asked for, whatever its status.

    Raises:
        UserError: Something is wrong that the caller can mend.
        KeyboardInterrupt: Handed on after the workers are stopped; finished runs are kept, the same call goes on.

    Example:
        >>> import divsal_bench
        >>> (found,) = divsal_bench.run("cxr", "cross-entropy", seeds=1, data="standin")
        >>> found.record.status
        'done'
    """
    plan = plan_runs(
        task, method, seeds=seeds, protocol=protocol, backbone=backbone, head=head, data=data, device=device,
        workers=workers, out=out, retry_failed=retry_failed, checkpoint_minutes=checkpoint_minutes, for_work=True,
        say=say,
    )  # fmt: skip
    found = make_missing(plan.tasks, plan.workers, on_event)
    # A run that was there lies where ``out`` says, one that was just made where its process was told: one form.
    return [dataclasses.replace(one, path=store.run_path(plan.grid.out, one.spec)) for one in found]


def plan_runs(
    task: Names,
    method: Names = "all",
    *,
    seeds: Seeds = 5,
    protocol: str = "quick-v1",
    backbone: str | None = None,
    head: str = "two-logit",
    data: str | Path | None = None,
    device: str = "auto",
    workers: int | None = 0,
    out: str | Path = "runs",
    retry_failed: bool = False,
    checkpoint_minutes: float = CHECKPOINT_MINUTES,
    for_work: bool = False,
    say: Say = silent,
    on_decoded: OnCount = unheard,
) -> RunPlan:
    """What :func:`run` would do with the same arguments; nothing is written but the cache of decoded images.

    Args:
        task, method, seeds, protocol, backbone, head, data, device, workers, out, retry_failed, checkpoint_minutes,
            say: As :func:`run` takes them.
        for_work: Refuse an output folder that cannot be written, before any other work.
        on_decoded: Told of every image that is decoded for the first time.

    Returns:
        The plan; :func:`make_missing` carries it out.

    Raises:
        UserError: Something is wrong that the caller can mend.

    Example:
        >>> from divsal_bench.workflows.running import plan_runs
        >>> plan = plan_runs("cxr", "cross-entropy,cyborg", seeds=3, data="standin", out="elsewhere")
        >>> len(plan.tasks[0].jobs)
        6
    """
    grid = grid_asked(
        task, method, seeds=seeds, protocol=protocol, backbone=backbone, head=head, data=data, device=device, out=out,
        retry_failed=retry_failed, checkpoint_minutes=checkpoint_minutes, say=say,
    )  # fmt: skip
    if for_work:
        store.check_writable(grid.out)
    plan = RunPlan(grid, tuple(planning.plan(grid, on_decoded)), worker_count(workers, grid))
    say_plan(plan, say)
    return plan


def make_missing(tasks: Sequence[TaskPlan], workers: int, on_event: OnEvent) -> list[Run]:
    """The runs that are there, then those that were missing."""
    new = pool.run_jobs([job for plan in tasks for job in plan.jobs], workers, on_event)
    return [found for plan in tasks for found in plan.done] + new


def say_plan(plan: RunPlan, say: Say) -> None:
    """What will be run, what is there already, and on which data."""
    grid = plan.grid
    to_do = sum(len(part.jobs) for part in plan.tasks)
    there = [found for part in plan.tasks for found in part.done]
    bad = sum(found.record.status != "done" for found in there)
    without = f" ({bad} of them without a result: --retry-failed runs those again)" if bad else ""
    specs = [job.spec for part in plan.tasks for job in part.jobs] + [found.spec for found in there]
    say(
        f"plan: {plural(to_do + len(there), 'run')} = {plural(len(plan.tasks), 'task')} × "
        f"{plural(len(grid.methods), 'method')} × {plural(len(grid.seeds), 'seed')}; "
        f"{len(there)} already done{without}, {to_do} to do"
    )
    say(
        f"  protocol {grid.protocol.name}, backbone {specs[0].backbone}, {grid.head}, device {grid.device}, "
        f"{plural(plan.workers, 'worker')}, results in {shlex.quote(str(grid.out))}"
    )
    say(f"  method{'s' * (len(grid.methods) != 1)}: {', '.join(choice.label for choice in grid.methods)}")
    for part in plan.tasks:
        rows = part.arrays.rows
        splits = [
            f"{(rows['split'] == split).sum()} {split} ({rows.loc[rows['split'] == split, 'has_map'].sum()} with a map)"
            for split in ("train", "validation", "test")
        ]
        say(
            f"  {part.task.name}: data {part.source.name} ({part.arrays.fingerprint[:8]}): "
            f"{', '.join(splits)}; {len(part.done)} done, {len(part.jobs)} to do"
        )
        for notice in part.notices:
            say(f"  notice: {notice}")
