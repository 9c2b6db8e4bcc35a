"""Progress on standard error: one live bar on a terminal, one line a finished run elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from divsal_bench.grid.jobs import Job
from divsal_bench.grid.pool import Event
from divsal_bench.runs.reading import Run


class Progress(Protocol):
    """What ``run`` needs of either kind."""

    finished: int

    def on_event(self, event: Event) -> None:
        """Take note of an epoch, a finished run or a retry."""

    def close(self) -> None:
        """Leave the terminal as it was."""

    def __enter__(self) -> Progress:
        """Start."""

    def __exit__(self, *_: object) -> None:
        """End."""


def progress_of(jobs: Sequence[Job]) -> Progress:
    """Live on a terminal, sparse elsewhere."""
    return LiveBar(jobs) if sys.stderr.isatty() else Lines(jobs)


def outcome(run: Run) -> str:
    """One finished run in a few words."""
    record = run.record
    text = f"{record.spec.task} {record.method_label} seed {record.spec.seed}: {record.status}"
    if record.scores is None:
        return f"{text} ({record.error})"
    parts = [("in-domain", record.scores.in_domain), ("open-set", record.scores.open_set)]
    shown = ", ".join(f"{name} {value:.3f}" for name, value in parts if value is not None)
    return f"{text}, {shown}, {record.seconds:.1f} s"


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


class Lines:
    """For logs: a line for each finished run and each retry."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.total = len(jobs)
        self.finished = 0
        self.started = time.monotonic()

    def on_event(self, event: Event) -> None:
        """Print what ended."""
        if event.kind == "retry":
            spec = event.job.spec
            self.line(f"the process of {spec.task} {event.job.label} seed {spec.seed} died; trying that run once more")
        elif event.kind == "waiting":
            runs = "1 run" if event.total == 1 else f"{event.total} runs"
            self.line(f"another command is making {runs} in this folder; waiting for the end of that")
        elif event.kind == "finished" and event.run is not None:
            self.finished += 1
            left = (time.monotonic() - self.started) / self.finished * (self.total - self.finished)
            made = " (made by another command)" if event.elsewhere else ""
            self.line(f"[{self.finished}/{self.total}] {outcome(event.run)}{made}; about {duration(left)} left")

    def line(self, text: str) -> None:
        """Print one line to standard error."""
        print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Nothing is open."""

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LiveBar(Lines):
    """For terminals: epochs of all runs in one bar, with the time left; failures and retries stay above."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bar

        super().__init__(jobs)
        self.bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("epochs"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        epochs = sum(int(job.spec.protocol_settings["epochs"]) for job in jobs)
        self.task = self.bar.add_task(f"0/{self.total} runs", total=epochs)
        self.epochs: dict[str, int] = {}

    def on_event(self, event: Event) -> None:
        """Move the bar."""
        run_id = event.job.spec.run_id
        if event.kind == "epoch":
            self.epochs[run_id] = event.done
        elif event.kind == "retry":
            self.epochs[run_id] = 0
            super().on_event(event)
        elif event.kind == "waiting":
            super().on_event(event)
        elif event.run is not None:
            self.epochs[run_id] = int(event.job.spec.protocol_settings["epochs"])
            if event.run.record.status == "done":
                self.finished += 1
            else:
                super().on_event(event)
        self.bar.update(
            self.task, completed=sum(self.epochs.values()), description=f"{self.finished}/{self.total} runs"
        )

    def line(self, text: str) -> None:
        """Print above the bar."""
        self.bar.console.print(text, markup=False, highlight=False)

    def close(self) -> None:
        """Stop redrawing."""
        self.bar.stop()

    def __enter__(self) -> LiveBar:
        self.bar.start()
        return self


def counter(word: str) -> Callable[[int, int], None]:
    """Progress that redraws one line on a terminal and keeps quiet elsewhere."""

    def show(done: int, total: int) -> None:
        if sys.stderr.isatty() and (done % 50 == 0 or done == total):
            end = "\n" if done == total else ""
            print(f"\r{word} {done:,} of {total:,}", end=end, file=sys.stderr, flush=True)

    return show
