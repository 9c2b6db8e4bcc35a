"""What says that memory ran out, in the words of those that it happens to; and how often a run says that it goes on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from divsal_bench.grid import trouble, worker
from divsal_bench.grid.recording import error_words

pytestmark = pytest.mark.fast


def numpy_allocates() -> None:
    np.empty(2**60, np.uint8)


def torch_allocates() -> None:
    torch.empty(2**60)


def python_allocates() -> None:
    bytearray(2**62)


@pytest.mark.parametrize("allocate", [numpy_allocates, torch_allocates, python_allocates])
def test_whoever_asks_for_too_much_says_so(allocate: object) -> None:
    with pytest.raises((MemoryError, RuntimeError)) as caught:
        allocate()  # type: ignore[operator]
    assert trouble.memory_ran_out(error_words(caught.value)), error_words(caught.value)


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"), True),
        (ValueError("out of memory"), False),
        (RuntimeError("the memory of the method is a list"), False),
        (ValueError("out of luck"), False),
    ],
)
def test_other_errors_do_not(error: Exception, is_memory: bool) -> None:
    assert trouble.memory_ran_out(error_words(error)) == is_memory


def test_signs_of_progress_are_few_however_many_steps_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    now = [100.0]
    monkeypatch.setattr(worker.time, "monotonic", lambda: now[0])
    on_step = worker.signs(sent.append)
    for _ in range(10):
        now[0] += 1
        on_step()
    assert sent == ["alive"] * 3
