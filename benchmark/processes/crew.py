"""A crew of worker processes: started, handed one job at a time, listened to, replaced where they die."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Generic, TypeVar

from divsal_bench.errors import UserError
from divsal_bench.processes.places import Place
from divsal_bench.processes.serving import OVERHEARD, PROCESSORS, end_mark

J = TypeVar("J")

#: Bytes kept of what a job prints on standard error.
KEPT_OUTPUT = 2**15
#: Workers in a row that may die before they take a job.
STILLBORN = 5
#: Seconds in which the last that a process printed comes through its pipe.
DELAY = 1.0


@dataclass(eq=False)
class Worker(Generic[J]):
    """One worker process.

    Attributes:
        place: Where it works; no other worker is there.
        job: What it is on.
        begun: When it was given that, by :func:`time.perf_counter`.
        heard: When it was given that or last said something, by :func:`time.monotonic`.
        ready: It has imported all it needs.
        idle: It could take a job.
        ended: How many jobs it has done in processes of their own.
        output: The last bytes that it and its jobs printed.
    """

    process: subprocess.Popen[str]
    place: Place
    job: J | None = None
    begun: float = 0.0
    heard: float = 0.0
    ready: bool = False
    idle: bool = False
    ended: int = 0
    output: bytes = b""

    @property
    def stdin(self) -> IO[str]:
        """Where its jobs go."""
        assert self.process.stdin is not None
        return self.process.stdin

    def printed(self) -> str:
        """What its job has printed, as far as that is kept."""
        _, mark, after = self.output.partition(end_mark(self.ended))
        own = (after if mark else self.output).partition(end_mark(self.ended + 1))[0]
        lines = own.decode("utf-8", errors="replace").splitlines()
        # Hundreds of names, none of which says where it crashed.
        return "\n".join(line for line in lines if not line.startswith("Extension modules:")).strip()


@dataclass(frozen=True)
class Free(Generic[J]):
    """A worker could take a job."""

    worker: Worker[J]


@dataclass(frozen=True)
class Told(Generic[J]):
    """A worker said something about its job: the name of an event, and what belongs to it."""

    worker: Worker[J]
    job: J
    event: str
    content: dict[str, Any]


@dataclass(frozen=True)
class Ended(Generic[J]):
    """A process ended, and its job had not been called finished.

    Attributes:
        place: Where it was done.
        seconds: Since it was handed the job.
        code: Its exit code; below 0, the signal that killed it.
        peak_mb: Peak resident memory, 0 if unknown.
        printed: The last it wrote to standard error; "" in a crew that lets that through.
    """

    job: J
    place: Place
    seconds: float
    code: int
    peak_mb: float
    printed: str

    @property
    def how(self) -> str:
        """How it ended, in words."""
        if self.code >= 0:
            return f"exit code {self.code}; the method, or a library it calls, ends the program"
        try:
            name = signal.Signals(-self.code).name
        except ValueError:
            name = f"signal {-self.code}"
        return f"{name}; too little memory is the usual cause" if name == "SIGKILL" else name


class Crew(Generic[J]):
    """Worker processes that take jobs one at a time and end with this process, however that ends.

    Args:
        module: What each of them runs; its main calls :func:`divsal_bench.processes.serving.serve`.
        places: Where they work; there is a worker at each as long as more are needed, one that dies is replaced there.
        is_needed: Whether there are jobs that nobody has begun.
        as_json: A job for the pipe.
        threads: Of their libraries; None leaves them as they are here.
        overhear: Keep what they print on standard error, instead of letting it through.
    """

    def __init__(
        self,
        module: str,
        places: Sequence[Place],
        is_needed: Callable[[], bool],
        as_json: Callable[[J], dict[str, Any]],
        threads: int | None = None,
        overhear: bool = False,
    ) -> None:
        self.module = module
        self.places = places
        self.is_needed = is_needed
        self.as_json = as_json
        self.threads = threads
        self.overhear = overhear
        self.events: queue.Queue[tuple[Worker[J], dict[str, Any] | None]] = queue.Queue()
        self.workers: list[Worker[J]] = []
        self.stillborn = 0

    def __enter__(self) -> Crew[J]:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.process.kill()
        for worker in self.workers:
            worker.process.wait()

    @property
    def idle(self) -> list[Worker[J]]:
        """Who could take a job."""
        return [worker for worker in self.workers if worker.idle]

    def give(self, worker: Worker[J], job: J) -> None:
        """Hand a job to a worker that is idle; if that died meanwhile, :meth:`next` tells."""
        worker.job, worker.idle, worker.begun, worker.heard = job, False, time.perf_counter(), time.monotonic()
        try:
            worker.stdin.write(json.dumps(self.as_json(job)) + "\n")
            worker.stdin.flush()
        except OSError:
            pass

    def ask(self, worker: Worker[J]) -> None:
        """Ask a worker's job to stop where nothing is lost; its worker ends with it."""
        with suppress(OSError):
            worker.process.terminate()

    def next(self, wait: float | None = None) -> Free[J] | Told[J] | Ended[J] | None:
        """What happens next; None if nothing does for ``wait`` seconds.

        Raises:
            UserError: A job raised one, or workers die before they take a job.
        """
        while True:
            while len(self.workers) < len(self.places) and self.is_needed():
                taken = {worker.place.number for worker in self.workers}
                self.workers.append(self.start(next(place for place in self.places if place.number not in taken)))
            try:
                worker, event = self.events.get(timeout=wait)
            except queue.Empty:
                return None
            found = self.understood(worker, event)
            if found is not None:
                return found

    def understood(self, worker: Worker[J], event: dict[str, Any] | None) -> Free[J] | Told[J] | Ended[J] | None:
        """What an event means to whoever hands out jobs; None if nothing."""
        job = worker.job
        if event is None:
            self.workers.remove(worker)
            self.stillborn = 0 if worker.ready else self.stillborn + 1
            if job is not None:
                return self.end(worker, job, worker.process.returncode, 0.0)
            if self.stillborn > STILLBORN:
                raise UserError("worker processes die before their first run; try --workers 0 to see why")
            return None
        name = event.pop("event")
        if name == "stopped":
            raise UserError(event["error"])
        if name == "ready":
            worker.ready = worker.idle = True
            return Free(worker)
        if name == "ended":
            if not event["last"]:
                self.events.put((worker, {"event": "ready"}))
            found = None
            if job is not None:
                limit = time.monotonic() + DELAY
                while self.overhear and end_mark(event["number"]) not in worker.output and time.monotonic() < limit:
                    time.sleep(0.01)
                found = self.end(worker, job, event["code"], event["peak_mb"])
            worker.ended = event["number"]
            return found
        return None if job is None else Told(worker, job, name, event)

    def end(self, worker: Worker[J], job: J, code: int, peak_mb: float) -> Ended[J]:
        """The process of a job is gone."""
        worker.job = None
        return Ended(job, worker.place, time.perf_counter() - worker.begun, code, peak_mb, worker.printed())

    def start(self, place: Place) -> Worker[J]:
        """Start a worker and threads that listen to it."""
        environment = dict(os.environ)
        if self.threads is not None:
            # The thread count must stand before torch is imported; results depend on it.
            environment |= {"OMP_NUM_THREADS": str(self.threads), "MKL_NUM_THREADS": str(self.threads)}
        environment |= place.environment
        # The same modules and plugins as here; without -P a file like ./queue.py would shadow the real one.
        environment["PYTHONPATH"] = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
        arguments = [OVERHEARD] * self.overhear
        if place.processors:
            arguments.append(PROCESSORS + ",".join(map(str, place.processors)))
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", self.module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if self.overhear else None,
            env=environment,
            text=True,
            encoding="utf-8",
        )
        worker: Worker[J] = Worker(process, place)
        listeners = [threading.Thread(target=self.forward, args=(worker,), daemon=True)]
        if self.overhear:
            listeners.append(threading.Thread(target=self.keep_output, args=(worker,), daemon=True))
        for listener in listeners:
            listener.start()
        threading.Thread(target=self.bury, args=(worker, listeners), daemon=True).start()
        return worker

    def keep_output(self, worker: Worker[J]) -> None:
        """Keep the end of what a worker prints: libraries warn there, and a crash leaves its place."""
        assert worker.process.stderr is not None
        while read := os.read(worker.process.stderr.fileno(), 2**16):
            worker.output = (worker.output + read)[-KEPT_OUTPUT:]

    def forward(self, worker: Worker[J]) -> None:
        """Queue a worker's lines."""
        assert worker.process.stdout is not None
        try:
            for line in worker.process.stdout:
                event = json.loads(line)
                if not isinstance(event, dict) or not isinstance(event.get("event"), str):
                    raise ValueError("something else wrote into the pipe")
                worker.heard = time.monotonic()
                self.events.put((worker, event))
        except ValueError:  # a line cut short: it died while writing, or can no longer be understood
            worker.process.kill()

    def bury(self, worker: Worker[J], listeners: list[threading.Thread]) -> None:
        """Queue None when a worker is gone, after its last line.

        The end of its pipes does not tell: a process that a plugin forked may hold them open.
        """
        worker.process.wait()
        for listener in listeners:
            listener.join(timeout=2 * DELAY)
        self.events.put((worker, None))
