"""A worker process: imports torch once, then runs one job after another.

Jobs come in as JSON lines on standard input, events go out as JSON lines on what was standard output. When
standard input ends (the parent is gone), the worker ends at once, in the middle of a run if need be: nothing
of that run has been counted.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import threading
from typing import IO, Any

from divsal_bench import devices


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
    jobs: queue.Queue[str] = queue.Queue()
    threading.Thread(target=listen, args=(lines, jobs), daemon=True).start()

    def send(event: str, **content: Any) -> None:
        pipe.write(json.dumps({"event": event, **content}) + "\n")
        pipe.flush()

    devices.prepare_environment()
    import timm  # noqa: F401 - loaded before the first run, whose seconds are then its own
    import torch  # noqa: F401

    from divsal_bench import work
    from divsal_bench.errors import UserError

    send("ready")
    while True:
        job = work.Job.from_json(json.loads(jobs.get()))
        try:
            path = work.execute(job, lambda done, total: send("epoch", done=done, total=total))
        except UserError as error:
            send("stopped", error=str(error))
        else:
            send("finished", path=str(path))


def listen(lines: IO[str], jobs: queue.Queue[str]) -> None:
    """Queue the parent's lines; leave with it."""
    for line in lines:
        jobs.put(line)
    os._exit(0)


if __name__ == "__main__":
    main()
