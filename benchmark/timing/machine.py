"""What a number was measured on, and how much memory is in use."""

from __future__ import annotations

import ctypes
import datetime
import gc
import importlib.metadata
import os
import platform
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from divsal_bench.grid.recording import peak_memory
from divsal_bench.networks import devices
from divsal_bench.processes.processors import usable_processors

if TYPE_CHECKING:
    import torch

#: Linux counts a process's peak of memory anew after this is written there.
FORGET, FORGET_PEAK = Path("/proc/self/clear_refs"), "5"
#: Packages whose version changes how fast a step is.
PACKAGES = ("divsal-bench", "torch", "timm", "numpy")


def machine_facts(device: torch.device) -> dict[str, Any]:
    """Processor, device, software and date, so that numbers can be compared over time."""
    import torch

    facts: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "processor": processor_name(),
        "processors": usable_processors(),
        "instructions": devices.instruction_set(),
        "threads": torch.get_num_threads(),
        "device": devices.device_name(device),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "commit": commit_of_source(),
    }
    facts |= {name: importlib.metadata.version(name) for name in PACKAGES}
    if device.type == "cuda":
        facts["cuda"] = str(torch.version.cuda)
        facts["tf32"] = bool(torch.backends.cuda.matmul.allow_tf32)
    if hasattr(os, "getloadavg"):
        facts["load"] = round(os.getloadavg()[0], 2)
    return facts


def processor_name() -> str:
    """As the system calls it; "" where it does not."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor()


def commit_of_source() -> str:
    """The commit of the checkout that this program runs from, ``+`` where it was changed; "" for an installed one."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return ""
    git = ["git", "-C", str(folder)]
    with suppress(OSError, subprocess.SubprocessError):
        head, changed = (
            subprocess.run([*git, *words], capture_output=True, text=True, check=True, timeout=10).stdout.strip()
            for words in (["rev-parse", "--short=12", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
        return head + "+" * bool(changed)
    return ""


def forget_peak(device: torch.device) -> None:
    """Give back what is not in use, and count peaks of memory from now on, where that can be done."""
    import torch

    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError, AttributeError):  # glibc keeps what was freed, and the next peak would hold it
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):
        FORGET.write_text(FORGET_PEAK, encoding="ascii")


def peak_mb(device: torch.device) -> float:
    """The device's peak of memory in MB, or this process's; 0 where the platform does not tell."""
    import torch

    if device.type == "cuda":
        return float(round(torch.cuda.max_memory_allocated(device) / 2**20, 1))
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) / 2**10, 1)
    return peak_memory()
