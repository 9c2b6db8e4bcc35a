"""Short real runs, through the same planner and unit of work as ``divsal-bench run``."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from divsal_bench.conformance.checks import BreachError, Check
from divsal_bench.contracts.method import Method
from divsal_bench.contracts.task import Task
from divsal_bench.grid import planning, pool
from divsal_bench.registry import plugins, protocols
from divsal_bench.registry.method_choice import MethodChoice, validated
from divsal_bench.registry.protocols import Protocol
from divsal_bench.runs.reading import Run

HOME = "DIVSAL_BENCH_HOME"


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """A folder for decoded data and runs in place of the user's own; it is removed afterwards."""
    earlier = os.environ.get(HOME)
    # Memory-mapped arrays cannot be deleted everywhere while something still refers to them.
    with tempfile.TemporaryDirectory(prefix="divsal-check-", ignore_cleanup_errors=True) as folder:
        os.environ[HOME] = folder
        try:
            yield Path(folder)
        finally:
            if earlier is None:
                del os.environ[HOME]
            else:
                os.environ[HOME] = earlier


@contextlib.contextmanager
def registered(plugin: type[Method] | Task) -> Iterator[None]:
    """Let the engine find a plugin by its name in this process, whether or not it lies in the plugin folders."""
    found: dict[str, Any] = plugins.tasks().found if isinstance(plugin, Task) else plugins.methods().found
    earlier = found.get(plugin.name)
    found[plugin.name] = plugin
    try:
        yield
    finally:
        if earlier is None:
            del found[plugin.name]
        else:
            found[plugin.name] = earlier


def one_epoch() -> Protocol:
    """quick-v1, for one epoch."""
    return dataclasses.replace(protocols.find_protocol("quick-v1"), name="conformance", epochs=1)


def short_run(task: str, method: type[Method], protocol: Protocol, out: Path) -> Run:
    """Plan and run one seed on a task's stand-in, in this process; BreachError if it failed or diverged."""
    choice = MethodChoice(method.name, validated(method, {}))
    grid = planning.Grid((task,), (choice,), (0,), out, protocol, data="standin", device="cpu")
    (plan,) = planning.plan(grid)
    (run,) = pool.run_jobs(plan.jobs, workers=0)
    if run.record.status != "done":
        raise BreachError(f"the run {run.record.status}: {run.record.error}{line_of(run, method)}; mend the plugin")
    return run


def line_of(run: Run, method: type[Method]) -> str:
    """The last line of the method's file in a failed run's traceback, "" without one."""
    file = inspect.getsourcefile(method) or ""
    lines = re.findall(rf'File "{re.escape(file)}", line (\d+)', "".join(run.record.notices))
    return f" ({Path(file).name} line {lines[-1]})" if lines else ""


def run_summary(run: Run) -> str:
    """AUROC, seconds and notices of a short run."""
    scores = run.record.scores
    assert scores is not None
    numbers = [f"{name} {value:.2f}" for name, value in (("in-domain", scores.in_domain), ("open-set", scores.open_set))
               if value is not None]  # fmt: skip
    return "; ".join([f"after one epoch {', '.join(numbers)}", f"{run.record.seconds:.1f} s", *run.record.notices])


def on_task(task: str) -> Check[type[Method]]:
    """A short run of a method on one task's stand-in."""

    def look(method: type[Method]) -> str:
        with workplace() as folder, registered(method):
            return run_summary(short_run(task, method, one_epoch(), folder / "runs"))

    return Check(f"short run on the {task} stand-in", look)
