"""What keeps tests that are marked ``fast`` fast: in them nothing is trained and no process started."""

from __future__ import annotations

import multiprocessing.process
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest


def refusing(deed: str) -> Callable[..., Any]:
    """A stand-in for what does the deed."""

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError(f"a test marked fast {deed}: take the mark away, or the deed")

    return refuse


@contextmanager
def fast_only() -> Iterator[None]:
    """Refuse to start processes and to make optimisers, which is how training begins."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "Popen", refusing("starts a process"))
        patch.setattr(multiprocessing.process.BaseProcess, "start", refusing("starts a process"))
        for name in ("fork", "posix_spawn", "system"):
            if hasattr(os, name):
                patch.setattr(os, name, refusing("starts a process"))
        # Never imported for its own sake: that takes seconds.
        optimisers = sys.modules.get("torch.optim")
        if optimisers is not None:
            patch.setattr(optimisers.Optimizer, "__init__", refusing("trains"))
        yield
