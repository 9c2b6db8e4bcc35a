"""A run keeps its state while it is made, goes on from what an earlier part of it kept, and says how far it is."""

from __future__ import annotations

import platform
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from divsal_bench.errors import StoppedError, UserError
from divsal_bench.files.foreign import RefusedError
from divsal_bench.grid.jobs import Job, Watch
from divsal_bench.runs import checkpoints, unfinished
from divsal_bench.runs.checkpoints import Checkpoint, Maker
from divsal_bench.runs.messages import LONGEST_NOTICE, one_line
from divsal_bench.runs.records import ENGINE_VERSION
from divsal_bench.runs.unfinished import Progress
from divsal_bench.runs.versions import versions

if TYPE_CHECKING:
    from divsal_bench.training.known import Known
    from divsal_bench.training.training import Training

#: A checkpoint that took a second is followed by another after so many seconds at the earliest: one per cent.
PAID_BACK = 100.0
#: Seconds of work that nobody minds to lose, at most: no checkpoint is made of less at the end of an epoch.
WORTH = 10.0
#: Characters of why a checkpoint is not used: it may say what anybody wrote.
LONGEST_REASON = 300
#: Seconds between two notes of how far the run is.
BEAT = 2.0


class SpoiltError(Exception):
    """A training took over only a part of a state that does not fit, and has to be made again."""


class Schedule:
    """When a checkpoint is due: after an epoch, and after some minutes within one; never for over 1 % of the time.

    Args:
        minutes: Between two within an epoch; 0 for none at all.
        now: The time in seconds, of any clock.
    """

    def __init__(self, minutes: float, now: float) -> None:
        self.seconds = 60 * minutes
        self.last = now
        self.cost = 0.0

    def is_due(self, now: float, epoch_ended: bool) -> bool:
        """Whether to make one now."""
        since = now - self.last
        if self.seconds <= 0 or since < PAID_BACK * self.cost:
            return False
        return since >= (min(self.seconds, WORTH) if epoch_ended else self.seconds)

    def made(self, begun: float, ended: float) -> None:
        """Take note of one, or of the vain attempt to make one."""
        self.last, self.cost = ended, ended - begun


class Keeper:
    """Looks on while one run is made, from :func:`divsal_bench.grid.work.attempt`'s beginning to its end.

    Args:
        started: When this part of the run began, by ``time.perf_counter``.
        device: Its kind.
        facts: Of the record, known so far; notices and how often the run went on are added.

    Attributes:
        seconds_before: Spent in earlier parts of the run.
    """

    def __init__(self, job: Job, watch: Watch, started: float, device: str, facts: dict[str, Any]) -> None:
        self.job, self.watch, self.started, self.facts = job, watch, started, facts
        self.out = Path(job.out)
        self.maker = Maker(
            run_id=job.spec.run_id,
            engine_version=ENGINE_VERSION,
            replaces=job.replaces,
            versions=versions(),
            method_source=facts["method_source"],
            pixel_hash=job.data.pixel_hash,
            device=device,
        )
        self.hardware = facts["processor"] or facts["device"]
        self.seconds_before = 0.0
        self.schedule = Schedule(job.checkpoint_minutes, started)
        self.notices: list[str] = []
        self.found: tuple[Checkpoint, bytes] | None = None
        self.training: Training | None = None
        self.known: Known | None = None
        self.saved_step, self.saved_epoch = -1, 0
        self.unwritten = False
        self.first_step, self.first_time = 0, started
        self.beaten = 0.0

    @property
    def seconds(self) -> float:
        """Spent on the run so far, in all its parts."""
        return self.seconds_before + time.perf_counter() - self.started

    def look(self) -> None:
        """Find what an earlier part of the run kept; what cannot be used is set aside."""
        if self.job.checkpoint_minutes <= 0:
            return
        try:
            self.found = checkpoints.read_checkpoint(self.out, self.maker)
        except RefusedError as error:
            self.refuse(str(error))
            return
        if self.found is None:
            return
        checkpoint, _ = self.found
        self.seconds_before = checkpoint.seconds
        self.facts["resumes"] = checkpoint.resumes + 1
        for notice in checkpoint.notices:
            self.note(notice)
        if checkpoint.hardware != self.hardware:
            self.note(
                f"begun on {checkpoint.hardware}, it went on in epoch {checkpoint.epoch} on {self.hardware}: the last "
                "digits may differ from those of a run without interruption"
            )

    def refuse(self, why: str) -> None:
        """Set aside a checkpoint that cannot be used: the run begins anew."""
        self.found, self.seconds_before = None, 0.0
        self.facts.pop("resumes", None)
        try:
            unfinished.set_aside(self.out, self.maker.run_id)
        except OSError:
            unfinished.forget(self.out, self.maker.run_id)
        self.note(f"a checkpoint was not used, it {why[:LONGEST_REASON]}; the run was made from its beginning")

    def note(self, text: str) -> None:
        """Say something in the run's record, once."""
        text = one_line(text, LONGEST_NOTICE)
        if text not in self.notices:
            self.notices.append(text)
            self.watch.on_notice(text)
        if text not in self.facts["notices"]:
            self.facts["notices"].append(text)

    def go_on(self, training: Training) -> None:
        """Bring a training that has not begun to where an earlier part of the run was.

        Raises:
            SpoiltError: What was kept does not fit; it is set aside.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        from divsal_bench.training import state
        from divsal_bench.training.known import UnusableError

        self.training, self.known = training, state.known_to(training)
        if self.found is not None:
            checkpoint, content = self.found
            try:
                state.restore_training(training, self.known, checkpoint.state, load(content))
            except (UnusableError, SafetensorError) as error:
                self.refuse(str(error) if isinstance(error, UnusableError) else f"cannot be read ({error})")
                raise SpoiltError from error
            self.saved_step, self.saved_epoch = checkpoint.step, checkpoint.epoch
            self.watch.on_notice(f"goes on in epoch {checkpoint.epoch} of {training.protocol.epochs}")
            self.found = None  # the bytes are not needed any more
        self.first_step, self.first_time = self.step, time.perf_counter()
        self.schedule.last = self.first_time
        self.beat()

    @property
    def step(self) -> int:
        """Training steps done."""
        assert self.training is not None
        return (self.training.epoch - 1) * self.training.steps + self.training.done

    def after_step(self, training: Training, epoch_ended: bool) -> None:
        """A training step was done.

        Raises:
            StoppedError: The run was asked to stop; its state is saved where that is possible.
        """
        self.watch.on_step()
        if self.schedule.is_due(time.perf_counter(), epoch_ended):
            self.save()
        self.go_or_stop()

    def on_batch(self) -> None:
        """A batch of predictions was made, after training.

        Raises:
            StoppedError: The run was asked to stop; its state is saved where that is possible.
        """
        self.watch.on_step()
        self.go_or_stop()

    def go_or_stop(self) -> None:
        """Say how far the run is from time to time, and stop if that is asked for."""
        if self.watch.should_stop():
            if self.step != self.saved_step:
                self.save()
            self.beat()
            raise StoppedError(self.saved_epoch)
        if time.perf_counter() - self.beaten >= BEAT:
            self.beat()

    def save(self) -> None:
        """Write the state down, unless there are to be no checkpoints; a full disk is no reason to stop."""
        from safetensors.torch import save_file

        from divsal_bench.training import state
        from divsal_bench.training.known import UnstorableError

        if self.schedule.seconds <= 0:
            return
        assert self.training is not None
        assert self.known is not None
        begun, step = time.perf_counter(), self.step
        try:
            content, tensors = state.state_of(self.training, self.known)
            checkpoint = Checkpoint(
                maker=self.maker,
                hardware=self.hardware,
                step=step,
                epoch=self.training.epoch,
                seconds=self.seconds,
                resumes=self.facts.get("resumes", 0),
                notices=self.notices,
                state=content,
            )
            checkpoints.write_checkpoint(self.out, checkpoint, lambda path: save_file(tensors, str(path)))
            self.saved_step, self.saved_epoch = step, self.training.epoch
        except (UnstorableError, RecursionError) as error:
            self.schedule.seconds = 0
            kept = "values that are nested too deeply" if isinstance(error, RecursionError) else str(error)
            self.note(f"no checkpoints were made: the method keeps {kept}; an interruption loses the run")
        except UserError as error:
            if not self.unwritten:
                reason = getattr(error.__cause__, "strerror", None) or error
                self.note(f"a checkpoint could not be written ({reason}); the run went on without")
            self.unwritten = True
        self.schedule.made(begun, time.perf_counter())

    def beat(self) -> None:
        """Write down how far the run is."""
        self.beaten = now = time.perf_counter()
        assert self.training is not None
        steps = self.step - self.first_step
        with suppress(ValueError):  # a folder's name that no text can say, say
            progress = Progress(
                spec=self.job.spec,
                method_label=self.job.label,
                epoch=self.training.epoch,
                epochs=self.training.protocol.epochs,
                step=self.step,
                steps=self.training.protocol.epochs * self.training.steps,
                pace=(now - self.first_time) / steps if steps else 0.0,
                seconds=self.seconds,
                saved_step=max(0, self.saved_step),
                resumes=self.facts.get("resumes", 0),
                host=one_line(platform.node(), 60),
                updated=time.time(),
            )
            unfinished.note_progress(self.out, progress)
