"""What may cost a run its result and be no fault of its own, so that it is worth a second try."""

from __future__ import annotations

import re
from dataclasses import dataclass

from divsal_bench.errors import plural
from divsal_bench.grid.jobs import Job
from divsal_bench.processes.crew import Ended

#: An exception, as ``recording.error_words`` writes it, that says that memory ran out: of a device, of this machine,
#: or of a library that reports it in a way of its own.
NO_MEMORY = re.compile(
    r"_?\w*MemoryError\b|(RuntimeError|AcceleratorError): .*"
    r"(can't allocate memory|out of memory|not enough memory|ALLOC_FAILED|Cannot allocate memory)",
    re.DOTALL | re.IGNORECASE,
)


@dataclass(frozen=True)
class Trouble:
    """Why a process has left no result.

    Attributes:
        words: What goes on where a run's name stands before.
        error: For the record of a run that is not tried again; ``{times}`` becomes how often it was tried.
        of_memory: Other runs may have been the cause.
    """

    words: str
    error: str = ""
    of_memory: bool = False


#: A run said itself that memory ran out.
MEMORY = Trouble("ran out of memory", of_memory=True)


def memory_ran_out(error: str) -> bool:
    """Whether an exception in words says so."""
    return NO_MEMORY.match(error) is not None


def sudden_death(ended: Ended[Job]) -> Trouble:
    """A process that ended without a word; the system kills one to have its memory back."""
    words = f"died ({ended.how})"
    return Trouble(words, f"its process died {{times}} times ({ended.how})", ended.how.startswith("SIGKILL"))


def no_progress(seconds: float) -> Trouble:
    """A process that was ended for its silence."""
    minutes = plural(round(seconds / 60), "minute") if seconds >= 60 else plural(round(seconds), "second")
    silence = f"made no progress for {minutes} and was ended"
    return Trouble(silence, f"it {silence}, in the last of {{times}} tries; --stall-minutes allows more")


def asked_from_outside() -> Trouble:
    """A process that was asked to stop, but not by its launcher."""
    return Trouble("was asked to stop by a signal from outside", "it was asked to stop {times} times, from outside")
