"""What a launcher tells of its runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from divsal_bench.grid.jobs import Job
from divsal_bench.runs.reading import Run


@dataclass(frozen=True)
class Event:
    """What happened to a run.

    Attributes:
        kind: ``begun`` (all ``total`` runs, before the first event), ``epoch`` (done of total), ``finished`` (with its
            run), ``retry`` (``why`` it is tried once more), ``joined`` (``total`` of the runs are being made by other
            launchers), ``waiting`` (nothing is left but such ones), ``notice`` (``why``: what the user should know of
            it now), ``stopping`` (``total`` runs were asked to stop) or ``stopped`` (the same command goes on with it
            in epoch ``done``, or makes it anew where that is 0).
        elsewhere: Another launcher made the run.
    """

    kind: Literal["begun", "epoch", "finished", "retry", "joined", "waiting", "notice", "stopping", "stopped"]
    job: Job
    done: int = 0
    total: int = 0
    run: Run | None = None
    elsewhere: bool = False
    why: str = ""


#: Told of what happens to the runs, the first of it ``begun``.
OnEvent = Callable[[Event], None]
