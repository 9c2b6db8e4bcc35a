"""A worker process: imports torch once and touches nothing else, then gives every run a process of its own.

Jobs come in as JSON lines on standard input, events go out as JSON lines on what was standard output. Each run is a
fork of this process, so that no method can reach another's run: neither through torch's global state nor through
what it patches, keeps or edits. Where a fork is not safe, the worker runs one job itself and ends.

When standard input ends (the parent is gone), the run ends at once, wherever it is: nothing of it has been counted.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn

from divsal_bench.files import owners
from divsal_bench.networks import devices

Send = Callable[..., None]
#: What a run imports on its way; imported by each run for itself, it would cost a second.
NEEDED = (
    "timm", "torch", "sklearn.metrics", "scipy.stats", "safetensors.torch", "pyarrow.dataset", "divsal_bench.grid.work",
)  # fmt: skip


def main() -> None:
    """Serve jobs until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    # Plugins and libraries may print or read; only our own lines may pass through the pipes.
    lines = os.fdopen(os.dup(0), encoding="utf-8")
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)

    def send(event: str, **content: Any) -> None:
        pipe.write(json.dumps({"event": event, **content}) + "\n")
        pipe.flush()

    devices.prepare_environment()
    load()
    send("ready")
    for line in lines:
        content = json.loads(line)
        if not may_fork(content["device"]):
            run_and_leave(content, lines.fileno(), send)
        parent = os.getpid()
        child = os.fork()
        if not child:
            owners.die_with(parent)
            run_and_leave(content, lines.fileno(), send)
        _, status, usage = os.wait4(child, 0)
        send("ended", code=os.waitstatus_to_exitcode(status), peak_mb=round(usage.ru_maxrss / 1024, 1))


def load() -> None:
    """Import what a run needs and do nothing with it: no thread of torch's may run before a fork."""
    for name in NEEDED:
        importlib.import_module(name)


def may_fork(device: str) -> bool:
    """Whether a fork of this process can train: on Linux, unless the run may go to an accelerator."""
    return sys.platform == "linux" and (device == "cpu" or (device == "auto" and not devices.has_nvidia()))


def run_and_leave(content: dict[str, Any], lines: int, send: Send) -> NoReturn:
    """Run one job in this process, which is then used up."""
    from divsal_bench.errors import UserError
    from divsal_bench.grid import work
    from divsal_bench.registry import plugins

    faulthandler.enable()  # a crash inside a library leaves its place on standard error
    threading.Thread(target=leave_with_parent, args=(lines,), daemon=True).start()
    own = os.getpid()
    job = work.Job.from_json(content)
    plugins.narrow(task=job.task_from, method=job.method_from)
    try:
        path = work.execute(job, lambda done, total: send("epoch", done=done, total=total))
    except UserError as error:
        send("stopped", error=str(error))
    else:
        if os.getpid() == own:  # a method may fork, and both would go on here
            send("finished", path=str(path))
    os._exit(0)


def leave_with_parent(lines: int) -> None:
    """End this process when its standard input ends; no job comes in while one is run."""
    while os.read(lines, 1):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
