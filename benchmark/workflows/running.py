"""Run what is missing of a grid."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from divsal_bench.data.arrays import DataRows
from divsal_bench.data.room import Room, amount
from divsal_bench.errors import plural
from divsal_bench.grid import planning, pool
from divsal_bench.grid.events import OnEvent
from divsal_bench.grid.jobs import CHECKPOINT_MINUTES
from divsal_bench.grid.launch import STALL
from divsal_bench.grid.planning import Grid, TaskPlan
from divsal_bench.processes.places import Place
from divsal_bench.runs import store
from divsal_bench.runs.reading import Run
from divsal_bench.workflows.asking import Seeds, grid_asked, places_asked, stall_seconds, worker_count
from divsal_bench.workflows.selection import Names
from divsal_bench.workflows.telling import OnCount, Say, silent, unheard


@dataclass(frozen=True)
class RunPlan:
    """What was asked for, by task: what is there already and what is missing.

    Attributes:
        workers: Processes that will do the work.
        places: Where these are, on accelerators that were named; else empty.
        stall: Seconds without a sign of progress after which a run is taken to hang.
    """

    grid: Grid
    tasks: tuple[TaskPlan, ...]
    workers: int
    places: tuple[Place, ...] = ()
    stall: float = STALL

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
    devices: Names | None = None,
    slots: int | None = None,
    workers: int | None = 0,
    stall_minutes: float = 30,
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
        devices: Accelerators to divide the runs among, as ``"cuda:0,cuda:1"`` or a list; ``"cuda"`` is all that there
            are. ``CUDA_VISIBLE_DEVICES``, which schedulers set, says what that is.
        slots: Runs at a time on each of ``devices``; None is 1.
        workers: Processes; 0 runs in this one, None takes as many as the machine has room for. With ``devices`` there
            are as many as slots.
        stall_minutes: Minutes without a sign of progress (a training step, a batch of predictions; loading data and
            building the network count as beginning) after which a run's process is ended, and the run tried once more.
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
        devices=devices, slots=slots, workers=workers, stall_minutes=stall_minutes, out=out, retry_failed=retry_failed,
        checkpoint_minutes=checkpoint_minutes, for_work=True, say=say,
    )  # fmt: skip
    found = carry_out(plan, on_event)
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
    devices: Names | None = None,
    slots: int | None = None,
    workers: int | None = 0,
    stall_minutes: float = 30,
    out: str | Path = "runs",
    retry_failed: bool = False,
    checkpoint_minutes: float = CHECKPOINT_MINUTES,
    for_work: bool = False,
    say: Say = silent,
    on_decoded: OnCount = unheard,
) -> RunPlan:
    """What :func:`run` would do with the same arguments; nothing is written but drawn images.

    Args:
        task, method, seeds, protocol, backbone, head, data, device, devices, slots, workers, stall_minutes, out,
            retry_failed, checkpoint_minutes, say: As :func:`run` takes them.
        for_work: Refuse an output folder that cannot be written, before any other work, and decode the data. Without
            it the plan is there to be looked at, and says what decoding would take.
        on_decoded: Told of every image that is decoded for the first time.

    Returns:
        The plan; :func:`carry_out` carries one out that is for work.

    Raises:
        UserError: Something is wrong that the caller can mend.

    Example:
        >>> from divsal_bench.workflows.running import plan_runs
        >>> plan = plan_runs("cxr", "cross-entropy,cyborg", seeds=3, data="standin", out="elsewhere")
        >>> len(plan.tasks[0].jobs)
        6
    """
    inside, places = places_asked(devices, slots, workers, device)
    stall = stall_seconds(stall_minutes)
    grid = grid_asked(
        task, method, seeds=seeds, protocol=protocol, backbone=backbone, head=head, data=data, device=inside, out=out,
        retry_failed=retry_failed, checkpoint_minutes=checkpoint_minutes, say=say,
    )  # fmt: skip
    if for_work:
        store.check_writable(grid.out)
    tasks = planning.plan(grid, on_decoded, say, decode=for_work)
    count = len(places) or worker_count(workers, grid)
    plan = RunPlan(grid, tuple(tasks), count, places, stall)
    say_plan(plan, say, for_work)
    return plan


def carry_out(plan: RunPlan, on_event: OnEvent) -> list[Run]:
    """The runs of a plan that are there, then those that were missing."""
    return make_missing(plan.tasks, plan.places or plan.workers, on_event, plan.stall)


def make_missing(
    tasks: Sequence[TaskPlan], workers: int | Sequence[Place], on_event: OnEvent, stall: float = STALL
) -> list[Run]:
    """The runs that are there, then those that were missing."""
    new = pool.run_jobs([job for plan in tasks for job in plan.jobs], workers, on_event, stall)
    return [found for plan in tasks for found in plan.done] + new


def say_plan(plan: RunPlan, say: Say, for_work: bool) -> None:
    """What will be run, what is there already, and on which data; and the room for that, unless work has begun."""
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
    named = list(dict.fromkeys(place.device for place in plan.places))
    device = f"device{'s' * (len(named) > 1)} {', '.join(named)}" if named else f"device {grid.device}"
    say(
        f"  protocol {grid.protocol.name}, backbone {specs[0].backbone}, {grid.head}, {device}, "
        f"{plural(plan.workers, 'worker')}, results in {shlex.quote(str(grid.out))}"
    )
    say(f"  method{'s' * (len(grid.methods) != 1)}: {', '.join(choice.label for choice in grid.methods)}")
    for part in plan.tasks:
        rows = part.data.rows
        with_map = "with a map" if part.data.decoded else "that come with a map"
        splits = [
            f"{(rows['split'] == split).sum()} {split} ({rows.loc[rows['split'] == split, 'has_map'].sum()} {with_map})"
            for split in ("train", "validation", "test")
        ]
        say(
            f"  {part.task.name}: data {part.source.name} ({part.data.fingerprint[:8]}): "
            f"{', '.join(splits)}; {len(part.done)} done, {len(part.jobs)} to do"
        )
        if not for_work:
            say(f"    {cache_words(part.data)}")
        for notice in part.notices:
            say(f"  notice: {notice}")


def cache_words(data: DataRows) -> str:
    """What a data set takes on the disk once it is decoded, where, and what is free there."""
    room = Room(data.path)
    if data.decoded:
        size, state = amount(data.shape.bytes), "there already"
    else:
        size, state = f"at most {amount(data.shape.bytes)}", "not there yet"
        if not room.is_enough(data.shape):
            state += ", and too large for that disk"
    return f"decoded: {size} in {data.path}, {state}; {amount(room.free)} free on that disk"
