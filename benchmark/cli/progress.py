"""Progress on standard error: one live bar on a terminal, one line a finished run elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from divsal_bench.errors import plural
from divsal_bench.grid.events import Event
from divsal_bench.grid.jobs import Job
from divsal_bench.runs.reading import Run

if TYPE_CHECKING:
    from rich.progress import Progress as Bar


def progress_shown() -> ProgressLines:
    """Live on a terminal, sparse elsewhere; it begins with the event ``begun``."""
    return LiveBar() if sys.stderr.isatty() else ProgressLines()


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


class ProgressLines:
    """For logs: a line for each finished run and each retry.

    Attributes:
        total: Runs to make; 0 until there is any.
        finished: How many of them are.
        stopped: For each run that was stopped, the epoch that it goes on in; 0 for one of which nothing is kept.
    """

    def __init__(self) -> None:
        self.total = 0
        self.finished = 0
        self.stopped: list[int] = []
        self.started = time.monotonic()

    def on_event(self, event: Event) -> None:
        """Print what ended."""
        if event.kind == "begun":
            self.total, self.finished, self.stopped, self.started = event.total, 0, [], time.monotonic()
        elif event.kind in ("retry", "notice"):
            spec = event.job.spec
            between = " " if event.kind == "retry" or event.why.startswith("goes on") else ": "
            self.line(f"{spec.task} {event.job.label} seed {spec.seed}{between}{event.why}")
        elif event.kind == "joined":
            self.line(f"another command is making {event.total} of these runs; this one makes the others")
        elif event.kind == "waiting":
            runs = plural(event.total, "run")
            self.line(f"another command is making {runs} in this folder; waiting for the end of that")
        elif event.kind == "stopping" and event.total:
            whose = "its" if event.total == 1 else "their"
            self.line(
                f"stopping: {plural(event.total, 'run')} asked to save {whose} state; a second signal ends at once"
            )
        elif event.kind == "stopped":
            self.stopped.append(event.done)
        elif event.kind == "finished" and event.run is not None:
            self.finished += 1
            left = (time.monotonic() - self.started) / self.finished * (self.total - self.finished)
            made = " (made by another command)" if event.elsewhere else ""
            self.line(f"[{self.finished}/{self.total}] {outcome(event.run)}{made}; about {duration(left)} left")

    def standing(self) -> str:
        """Where work that is stopped stands, in words."""
        done = f"{self.finished} of {plural(self.total, 'run')} finished and kept"
        kept = [epoch for epoch in self.stopped if epoch]
        if kept:
            epochs = [f"{epoch}" for epoch in sorted(set(kept))]
            several = f"{', '.join(epochs[:-1])} and " * (len(epochs) > 1)
            goes = "goes" if len(kept) == 1 else "go"
            done += f", {len(kept)} {goes} on from epoch{'s' * (len(epochs) > 1)} {several}{epochs[-1]}"
        lost = len(self.stopped) - len(kept)
        begin, them = ("begins", "it") if lost == 1 else ("begin", "them")
        return f"{done}, {lost} {begin} again, nothing of {them} is kept" if lost else done

    def line(self, text: str) -> None:
        """Print one line to standard error."""
        print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave the terminal as it was."""

    def __enter__(self) -> ProgressLines:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LiveBar(ProgressLines):
    """For terminals: epochs of all runs in one bar, with the time left; failures and retries stay above."""

    def __init__(self) -> None:
        super().__init__()
        self.bar: Bar | None = None
        self.epochs: dict[str, int] = {}

    def start(self, job: Job, total: int) -> None:
        """Show a new bar; all runs of a grid have as many epochs."""
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self.close()
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("epochs"),
            TimeElapsedColumn(),
            TextColumn("·"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=Console(stderr=True),
        )
        self.epochs = {}
        self.bar.add_task(f"0/{total} runs", total=total * epoch_count(job))
        self.bar.start()

    def on_event(self, event: Event) -> None:
        """Move the bar."""
        run_id = event.job.spec.run_id
        if event.kind == "begun":
            super().on_event(event)
            self.start(event.job, event.total)
        elif event.kind == "epoch":
            self.epochs[run_id] = event.done
        elif event.kind == "retry":
            self.epochs[run_id] = 0
            super().on_event(event)
        elif event.kind in ("joined", "waiting", "notice", "stopping", "stopped"):
            super().on_event(event)
        elif event.run is not None:
            self.epochs[run_id] = epoch_count(event.job)
            if event.run.record.status == "done":
                self.finished += 1
            else:
                super().on_event(event)
        if self.bar is not None:
            text = f"{self.finished}/{self.total} runs"
            self.bar.update(self.bar.task_ids[0], completed=sum(self.epochs.values()), description=text)
        if self.finished == self.total:  # what follows, measuring perhaps, prints lines of its own
            self.close()

    def line(self, text: str) -> None:
        """Print above the bar."""
        if self.bar is not None:
            self.bar.console.print(text, markup=False, highlight=False)

    def close(self) -> None:
        """Stop redrawing."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def epoch_count(job: Job) -> int:
    """Epochs of a run."""
    return int(job.spec.protocol_settings["epochs"])


def counter(word: str) -> Callable[[int, int], None]:
    """Progress that redraws one line on a terminal and keeps quiet elsewhere."""

    def show(done: int, total: int) -> None:
        if sys.stderr.isatty() and (done % 50 == 0 or done == total):
            end = "\n" if done == total else ""
            print(f"\r{word} {done:,} of {total:,}", end=end, file=sys.stderr, flush=True)

    return show
