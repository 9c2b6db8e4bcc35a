"""A worker process of the grid: each run is a fork of one that has loaded torch and touched nothing.

So no method can reach another's run. Where a fork is not safe, the worker makes one run itself and ends. When the
parent is gone, the run ends at once, wherever it is: nothing of it has been counted. When it is asked to stop, it saves
its state before that.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from divsal_bench.errors import StoppedError
from divsal_bench.networks import devices
from divsal_bench.processes.serving import Send, asked_to_stop, serve

#: What a run imports on its way.
NEEDED = (
    "timm", "torch", "sklearn.metrics", "scipy.stats", "safetensors.torch", "pyarrow.dataset", "divsal_bench.grid.work",
)  # fmt: skip

#: Seconds between two signs that a run goes on.
SIGN_EVERY = 2.0


def make_run(content: dict[str, Any], send: Send) -> None:
    """Make one run; a result is stored here, the parent stores a failure with what was printed."""
    from divsal_bench.grid import work
    from divsal_bench.grid.jobs import Job, Watch
    from divsal_bench.registry import plugins

    job = Job.from_json(content)
    plugins.narrow(task=job.task_from, method=job.method_from)
    watch = Watch(
        on_begun=lambda facts: send("begun", facts=facts),
        on_epoch=lambda done, total: send("epoch", done=done, total=total),
        on_notice=lambda text: send("notice", text=text),
        on_step=signs(send),
        should_stop=asked_to_stop,
    )
    try:
        found = work.attempt(job, watch)
    except StoppedError as stopped:
        send("interrupted", epoch=stopped.epoch)
        return
    if isinstance(found, Path):
        send("finished", path=str(found))
    else:
        send("failed", **dataclasses.asdict(found))


def signs(send: Send) -> Callable[[], None]:
    """What says that the work goes on, now and then, however often it is called."""
    last = time.monotonic()

    def on_step() -> None:
        nonlocal last
        now = time.monotonic()
        if now - last > SIGN_EVERY:
            last = now
            send("alive")

    return on_step


def may_fork(content: dict[str, Any]) -> bool:
    """Whether a fork of this process can train: on Linux, unless the run may go to an accelerator."""
    device = content["device"]
    return sys.platform == "linux" and (device == "cpu" or (device == "auto" and not devices.has_nvidia()))


if __name__ == "__main__":
    devices.prepare_environment()
    serve(NEEDED, may_fork, make_run, stops=True)
