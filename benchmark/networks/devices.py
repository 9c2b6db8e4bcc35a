"""The device that a process works on, its arithmetic there, and what makes it deterministic."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from divsal_bench.errors import UserError
from divsal_bench.processes.processors import usable_processors

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from divsal_bench.networks.backbones import CamNet

#: What a user may name; a number may follow, as in ``cuda:1``.
DEVICES = ("auto", "cpu", "cuda", "mps")
#: What keeps a library from using all that a processor can; each moves the last digits of a sum.
LIMITS = ("ATEN_CPU_CAPABILITY", "DNNL_MAX_CPU_ISA", "ONEDNN_MAX_CPU_ISA", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS")

#: Stands in the environment of a worker: how many of them share its device.
SLOTS = "DIVSAL_BENCH_SLOTS"


def require_known(name: str) -> None:
    """Refuse a word that names no device, without looking for one."""
    if name.partition(":")[0] not in DEVICES:
        raise UserError(f"unknown device {name!r}; give one of {', '.join(DEVICES)}")


def choose_device(name: str) -> torch.device:
    """``auto`` takes CUDA, then Apple's MPS, then the CPU; a device that is not there is a UserError."""
    import torch

    count = {
        "cpu": 1,
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
    }
    if name == "auto":
        return torch.device(next(device for device in ("cuda", "mps", "cpu") if count[device]))
    kind, _, number = name.partition(":")
    if not (number or "0").isdecimal() or int(number or 0) >= count.get(kind, 0):
        raise UserError(f"device {name!r} is not available here; use --device cpu, or auto to take what there is")
    return torch.device(name)


def device_of(model: CamNet) -> torch.device:
    """Where a network is."""
    return next(model.net.parameters()).device


def arithmetic(device: torch.device, precision: str = "fp32") -> torch.autocast:
    """What a network computes in, whatever is set around it: bfloat16 where ``bf16`` is cheaper, or float32."""
    import torch

    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def has_nvidia() -> bool:
    """Whether there is an NVIDIA driver; looks without importing torch, which takes seconds."""
    return Path("/proc/driver/nvidia").exists()


def instruction_set() -> str:
    """The processor's instructions that torch uses, such as ``AVX512``, and what limits its libraries further.

    Runs that differ in it differ by up to .01 in a margin: sums are taken in another order.
    """
    import torch

    limits = [f"{name}={os.environ[name]}" for name in LIMITS if name in os.environ]
    return ", ".join([str(torch.backends.cpu.get_cpu_capability()), *limits])


def prepare_environment() -> None:
    """Settings that must stand before torch is imported: deterministic cuBLAS, CPU fallback for MPS."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")


def make_deterministic(threads: int) -> None:
    """Fix the thread count and choose deterministic kernels; what has none warns instead of failing."""
    import torch

    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # On by default with the line above, for code that reads memory it never wrote; 4 % of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False


def synchronise(device: torch.device) -> None:
    """Wait for queued work, so that timings mean something."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def to_host(results: Sequence[Tensor]) -> Callable[[], list[Tensor]]:
    """Begin to copy results of one device to the CPU; the function that is returned waits for them."""
    import torch

    if results[0].device.type != "cuda":
        copies = [one.cpu() for one in results]
        return lambda: copies
    # To pinned memory; without waiting, so that more work can be queued behind it.
    copies = [one.to("cpu", non_blocking=True) for one in results]
    done = torch.cuda.current_stream(results[0].device).record_event()

    def waited() -> list[Tensor]:
        done.synchronize()
        return copies

    return waited


def device_name(device: torch.device) -> str:
    """``cpu``, or the accelerator's kind and model."""
    import torch

    return f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type


def slots_here() -> int:
    """How many workers share this process's device; what one keeps in its memory is a share of what is free."""
    given = os.environ.get(SLOTS, "")
    return max(1, int(given)) if given.isdecimal() else 1


def default_workers(threads: int) -> int:
    """As many workers as the processors that this process may use have room for."""
    return max(1, usable_processors() // threads)
