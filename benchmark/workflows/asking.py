"""A grid of runs from the words that people ask for it with."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from pathlib import Path

from divsal_bench.errors import UserError
from divsal_bench.grid.jobs import CHECKPOINT_MINUTES
from divsal_bench.grid.planning import Grid
from divsal_bench.networks import accelerators, devices
from divsal_bench.processes.places import Place
from divsal_bench.registry import method_choice, plugins, protocols
from divsal_bench.words import HEADS
from divsal_bench.workflows.selection import Names, joined, require_number, takes
from divsal_bench.workflows.telling import Say, silent

#: How many seeds, from 0; a range as ``5-9``; or which.
Seeds = int | str | Iterable[int]
#: More seeds than anyone means: a typo here would fill a disk.
MAX_SEEDS = 1000


def grid_asked(
    task: Names,
    method: Names,
    *,
    seeds: Seeds,
    protocol: str,
    backbone: str | None,
    head: str,
    data: str | Path | None,
    device: str,
    out: str | Path,
    retry_failed: bool,
    checkpoint_minutes: float = CHECKPOINT_MINUTES,
    say: Say = silent,
) -> Grid:
    """Check everything that names something; the arguments are those of :func:`divsal_bench.run`.

    Raises:
        UserError: There is no such thing.
    """
    devices.require_known(device)
    if device not in ("auto", "cpu"):
        devices.choose_device(device)
    if not isinstance(checkpoint_minutes, numbers.Real):
        raise takes("checkpoint_minutes", "a number", checkpoint_minutes)
    if not 0 <= checkpoint_minutes < math.inf:
        raise UserError(f"--checkpoint-minutes must be 0 (none) or more, not {checkpoint_minutes}")
    known_head = next((known for known in HEADS if known == head), None)
    if known_head is None:
        raise UserError(f"unknown head {head!r}; give one of {', '.join(HEADS)}")
    return Grid(
        tasks=task_names(task, say),
        methods=tuple(method_choice.choose_methods(joined(method, "method"))),
        seeds=seed_range(seeds),
        out=Path(out),
        protocol=protocols.find_protocol(protocol),
        backbone=backbone,
        head=known_head,
        data=None if data is None else str(data),
        device=device,
        retry_failed=retry_failed,
        checkpoint_minutes=checkpoint_minutes,
    )


def task_names(task: Names, say: Say = silent) -> tuple[str, ...]:
    """``all``, or names: several, or one text that joins them by commas.

    Args:
        task: What was asked for.
        say: Told of plugins that cannot be loaded.
    """
    known = plugins.tasks()
    for complaint in (*known.complaints(), *plugins.methods().complaints()):
        say(f"notice: {complaint}")
    if task == "all":
        if known.broken:
            raise UserError(f"{known.complaints()[0]}; mend or remove it, or name the tasks you want")
        return tuple(known.found)
    names = [name.strip() for name in joined(task, "task").split(",") if name.strip()]
    if not names:
        raise UserError("--task is empty; give a task or `all`")
    return tuple(dict.fromkeys(known.get(name).name for name in names))


def seed_range(seeds: Seeds) -> tuple[int, ...]:
    """``5`` is 0 to 4, as a number or a text; ``5-9`` is 5 to 9; several numbers are themselves."""
    if isinstance(seeds, Iterable) and not isinstance(seeds, str | bytes):
        several = list(seeds)
        for one in several:
            require_number("each of seeds", one)
            if not 0 <= one < 2**31:
                raise UserError(f"--seeds: {one} is no seed; seeds are whole numbers from 0 to 2147483647")
        return tuple(int(one) for one in several)
    if not isinstance(seeds, str | numbers.Integral):
        raise takes("seeds", "a number, a range like '5-9', or several whole numbers", seeds)
    first, dash, last = str(seeds).partition("-")
    try:
        low, high = (int(first), int(last) + 1) if dash else (0, int(first))
    except ValueError:
        raise UserError(f"--seeds takes a number or a range like 5-9, not {seeds!r}") from None
    if not (0 <= low < high <= low + MAX_SEEDS and high < 2**31):
        raise UserError(
            f"--seeds {seeds} names no seeds or too many; give a number from 1 to {MAX_SEEDS}, e.g. --seeds 5"
        )
    return tuple(range(low, high))


def worker_count(workers: int | None, grid: Grid) -> int:
    """As many worker processes as were asked for, or as the machine has room for."""
    require_number("workers", workers)
    if workers is not None:
        if workers < 0:
            raise UserError(f"--workers must be 0 or more, not {workers}")
        return workers
    return 1 if accelerators.uses_accelerator(grid.device) else devices.default_workers(grid.protocol.threads)


def places_asked(
    named: Names | None, slots: int | None, workers: int | None, device: str
) -> tuple[str, tuple[Place, ...]]:
    """The device of the runs, and the places of their workers where accelerators are named; else none.

    Args:
        named: As ``devices`` of :func:`divsal_bench.run`, the others as there.

    Raises:
        UserError: They contradict each other, or name what is not there.
    """
    require_number("slots", slots)
    if named is None:
        if slots is not None:
            raise UserError("--slots divides devices; name them with --devices, e.g. --devices cuda:0 --slots 3")
        return device, ()
    if device != "auto":
        raise UserError(f"--device {device} and --devices contradict each other; give one of them")
    inside, places = accelerators.device_places(joined(named, "devices"), 1 if slots is None else slots)
    if workers and workers != len(places):
        raise UserError(
            f"--workers {workers} contradicts --devices and --slots, which make {len(places)}; leave --workers out"
        )
    return inside, places


def stall_seconds(minutes: float) -> float:
    """Seconds without a sign of progress after which a run is taken to hang."""
    require_number("stall_minutes", minutes, whole=False)
    if not 0 < minutes < float("inf"):
        raise UserError(f"--stall-minutes must be a number of minutes above 0, not {minutes:g}")
    return 60.0 * minutes
