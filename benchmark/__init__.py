"""divsal-bench: a benchmark for training image classifiers with human saliency.

Whatever a command of ``divsal-bench`` does is a function here, with typed results and without printing:

>>> import divsal_bench
>>> runs = divsal_bench.run("cxr", ["cross-entropy", "cyborg"], seeds=1, data="standin")
>>> divsal_bench.board(runs).frame()["method"].tolist()
['cross-entropy', 'cyborg']

Each is loaded when it is first used; torch is imported only when something is trained.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from divsal_bench.workflows.auditing import audit as audit
    from divsal_bench.workflows.boards import board as board
    from divsal_bench.workflows.calibrating import calibrate as calibrate
    from divsal_bench.workflows.comparing import compare as compare
    from divsal_bench.workflows.explaining import explain as explain
    from divsal_bench.workflows.explaining import explain_set as explain_set
    from divsal_bench.workflows.loading import (
        list_methods as list_methods,
    )
    from divsal_bench.workflows.loading import (
        list_tasks as list_tasks,
    )
    from divsal_bench.workflows.loading import (
        load_data as load_data,
    )
    from divsal_bench.workflows.loading import (
        load_method as load_method,
    )
    from divsal_bench.workflows.loading import (
        load_pretrained as load_pretrained,
    )
    from divsal_bench.workflows.loading import (
        load_run as load_run,
    )
    from divsal_bench.workflows.loading import (
        load_task as load_task,
    )
    from divsal_bench.workflows.predicting import predict as predict
    from divsal_bench.workflows.preparing import check_data as check_data
    from divsal_bench.workflows.preparing import prepare as prepare
    from divsal_bench.workflows.pulling import pull as pull
    from divsal_bench.workflows.pushing import push as push
    from divsal_bench.workflows.pushing import push_data as push_data
    from divsal_bench.workflows.running import run as run
    from divsal_bench.workflows.studying import study as study
    from divsal_bench.workflows.submitting import reproduce as reproduce
    from divsal_bench.workflows.submitting import submit as submit
    from divsal_bench.workflows.timing import speed as speed
    from divsal_bench.workflows.verifying import verify as verify
    from divsal_bench.workflows.verifying import verify_accepted as verify_accepted

#: Public name to the module of ``workflows`` that has it.
_PUBLIC = {
    "audit": "auditing",
    "board": "boards",
    "calibrate": "calibrating",
    "check_data": "preparing",
    "compare": "comparing",
    "explain": "explaining",
    "explain_set": "explaining",
    "list_methods": "loading",
    "list_tasks": "loading",
    "load_data": "loading",
    "load_method": "loading",
    "load_pretrained": "loading",
    "load_run": "loading",
    "load_task": "loading",
    "predict": "predicting",
    "prepare": "preparing",
    "pull": "pulling",
    "push": "pushing",
    "push_data": "pushing",
    "reproduce": "submitting",
    "run": "running",
    "speed": "timing",
    "study": "studying",
    "submit": "submitting",
    "verify": "verifying",
    "verify_accepted": "verifying",
}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("divsal-bench")
    if name not in _PUBLIC:
        raise AttributeError(f"module 'divsal_bench' has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module(f"divsal_bench.workflows.{_PUBLIC[name]}"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
