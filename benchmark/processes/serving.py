"""A worker process: imports what it needs once and touches nothing else, then gives every job a process of its own.

Jobs come in as JSON lines on standard input, events go out as JSON lines on what was standard output. Each job is a
fork of this process, so that none can reach another's: neither through a library's global state nor through what it
patches, keeps or edits. Where a fork is not safe, the worker does one job itself and ends.

When standard input ends (the parent is gone), the job ends at once, wherever it is. A worker whose jobs can stop in
the middle hands a signal that asks for that (SIGTERM, SIGHUP) on to its job, and ends behind it.
"""

from __future__ import annotations

import ctypes
import faulthandler
import importlib
import itertools
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

from divsal_bench.errors import UserError
from divsal_bench.processes.stopping import STOPPING

Send = Callable[..., None]
#: Linux: the signal that a process gets when its parent is gone.
PR_SET_PDEATHSIG = 1
#: Argument of a worker whose parent keeps what it prints, and so has to know what of it belongs to which job.
OVERHEARD = "overheard"
#: Argument of a worker that uses some processors only; their numbers follow, joined by commas.
PROCESSORS = "processors="


class Asked:
    """Whether this process was asked to stop.

    Attributes:
        number: Of the signal that did; 0 if none.
        child: The process of the job that a worker waits for; 0 if there is none.
        idle: A worker waits for a job.
    """

    number = 0
    child = 0
    idle = False

    def note(self, number: int, frame: FrameType | None = None) -> None:
        """Take a signal, and hand it on."""
        self.number = number
        if self.idle:
            os._exit(0)
        if self.child:
            with suppress(ProcessLookupError):
                os.kill(self.child, number)


#: Of this process, or of the worker that it is a fork of.
ASKED = Asked()


def asked_to_stop() -> bool:
    """Whether the job of this process was asked to stop."""
    return ASKED.number != 0


def serve(
    needed: Iterable[str],
    may_fork: Callable[[dict[str, Any]], bool],
    do: Callable[[dict[str, Any], Send], None],
    stops: bool = False,
) -> None:
    """Take jobs until standard input ends.

    Events of its own: ``ready``; ``ended`` behind every job that had a process of its own, with its ``number``,
    exit ``code`` and ``peak_mb``, and whether it was the ``last``; ``stopped`` with the ``error`` where a job raised
    one that is the user's to mend.

    Args:
        needed: Modules that a job imports on its way; imported by each job for itself, they would cost a second.
        may_fork: Whether a fork of this process can do a job.
        do: Does one job, and sends events about it.
        stops: ``do`` looks at :func:`asked_to_stop`, so that it need not die of a signal that asks for it.
    """
    settle()
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

    for name in needed:  # nothing is done with them: no thread of a library's may run before a fork
        importlib.import_module(name)
    if stops:
        for number in STOPPING:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, ASKED.note)
    send("ready")
    for number in itertools.count(1):
        ASKED.idle = True
        line = lines.readline()
        ASKED.idle = False
        if not line:
            return
        content = json.loads(line)
        if not may_fork(content):
            do_and_leave(do, content, lines.fileno(), send)
        parent = os.getpid()
        child = os.fork()
        if not child:
            die_with(parent)
            do_and_leave(do, content, lines.fileno(), send)
        ASKED.child = child
        if ASKED.number:  # between the job and its process
            ASKED.note(ASKED.number)
        _, status, usage = os.wait4(child, 0)
        ASKED.child = 0
        if OVERHEARD in sys.argv[1:]:
            with suppress(OSError):
                os.write(2, end_mark(number))
        peak_mb = round(usage.ru_maxrss / 1024, 1)
        last = bool(ASKED.number)
        send("ended", number=number, code=os.waitstatus_to_exitcode(status), peak_mb=peak_mb, last=last)
        if last:
            return


def settle() -> None:
    """Use the processors of this worker's place only, before a library counts them."""
    for argument in sys.argv[1:]:
        if argument.startswith(PROCESSORS):
            with suppress(OSError):  # taken from this process meanwhile
                os.sched_setaffinity(0, map(int, argument.removeprefix(PROCESSORS).split(",")))


def end_mark(number: int) -> bytes:
    """What stands on standard error behind the output of a worker's job of this number, counted from 1."""
    return f"\0ended {number}\0\n".encode()


def do_and_leave(
    do: Callable[[dict[str, Any], Send], None], content: dict[str, Any], lines: int, send: Send
) -> NoReturn:
    """Do one job in this process, which is then used up."""
    faulthandler.enable()  # a crash inside a library leaves its place on standard error
    threading.Thread(target=leave_with_parent, args=(lines,), daemon=True).start()
    own = os.getpid()

    def send_own(event: str, **content: Any) -> None:
        if os.getpid() == own:  # a job may fork, and both would go on here
            send(event, **content)

    try:
        do(content, send_own)
    except UserError as error:
        send_own("stopped", error=str(error))
    with suppress(Exception):
        sys.stdout.flush()  # what was printed belongs to the job's output, which the parent may keep
    os._exit(0)


def leave_with_parent(lines: int) -> None:
    """End this process when its standard input ends; no job comes in while one is done."""
    while os.read(lines, 1):
        pass
    os._exit(0)


def die_with(parent: int) -> None:
    """Let the system kill this process when ``parent``, a process id, is gone, as far as the system can (Linux)."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it went before it was asked for
        os._exit(1)
