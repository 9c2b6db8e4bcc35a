"""The processors that there are to use."""

from __future__ import annotations

import os
from pathlib import Path


def usable_processors() -> int:
    """How many this process may use; a container or a scheduler may leave it fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processors_by_core() -> list[int]:
    """The numbers of those that this process may use, those of one core side by side; empty where nobody can choose."""
    if not hasattr(os, "sched_getaffinity"):
        return []
    return sorted(os.sched_getaffinity(0), key=core_of)


def core_of(processor: int) -> tuple[int, int, int]:
    """What to sort a processor by: its package, its core there, itself."""
    folder = Path(f"/sys/devices/system/cpu/cpu{processor}/topology")
    try:
        package, core = (int((folder / name).read_text()) for name in ("physical_package_id", "core_id"))
    except (OSError, ValueError):  # a container may hide it
        return 0, processor, processor
    return package, core, processor
