"""A run that is stopped, killed or troubled goes on from what it kept, and says so; its numbers are the same bits."""

from __future__ import annotations

import dataclasses
import errno
import json
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from small_task import small_task

from divsal_bench.contracts.method import Batch, Method, Outputs, TrainingSplit
from divsal_bench.errors import StoppedError, UserError
from divsal_bench.grid import keeping, planning, pool, recording, work
from divsal_bench.grid.jobs import Job, Watch
from divsal_bench.grid.keeping import Schedule
from divsal_bench.registry import method_choice, plugins, protocols
from divsal_bench.runs import checkpoints, store, unfinished
from divsal_bench.runs.reading import Run, read_run, read_runs
from divsal_bench.words import Kind
from divsal_bench.workflows import watching

TINY = dataclasses.replace(
    protocols.find_protocol("quick-v1"), name="tiny", epochs=3, batch_size=2, input_size=32, output_stride=8,
    backbone_args={"channels": [4, 4, 8, 8], "stem_width": 4}, selection="validation-auroc",
)  # fmt: skip
#: Six training rows in batches of two, three epochs.
STEPS = 9
KEPT_FILES = ("history.csv", "model.safetensors", "predictions.parquet")


@dataclass
class Acting(Method):
    """Cross-entropy; what a test has put into ``before`` is called before each step."""

    name: ClassVar[str] = "acting"
    kind: ClassVar[Kind] = "unguided"
    before: ClassVar[Callable[[Acting], None]] = lambda method: None

    def setup(self, train: TrainingSplit) -> None:
        self.step = 0

    def loss(self, batch: Batch, out: Outputs) -> dict[str, torch.Tensor]:
        type(self).before(self)
        self.step += 1
        return {"loss": out.cross_entropy}


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task of eighteen rows, and a method that does as it is told."""
    monkeypatch.setitem(plugins.tasks().found, "toy", dataclasses.replace(small_task(), name="toy"))
    monkeypatch.setitem(plugins.methods().found, "acting", Acting)
    # A checkpoint of a toy costs more than a toy's epoch.
    monkeypatch.setattr(keeping, "PAID_BACK", 0.0)


def job_in(out: Path, method: str = "cyborg", minutes: float = 1e-9, **grid: Any) -> Job:
    """The job of one run; with such minutes there is a checkpoint after every step."""
    asked = planning.Grid(
        ("toy",), tuple(method_choice.choose_methods(method)), (0,), out, TINY, device="cpu",
        checkpoint_minutes=minutes, **grid,
    )  # fmt: skip
    ((job,),) = (part.jobs for part in planning.plan(asked))
    return job


def after(calls: int) -> Callable[[], bool]:
    """Says no for so many times, then yes."""
    left = [calls]

    def ask() -> bool:
        left[0] -= 1
        return left[0] < 0

    return ask


def stop(job: Job, steps: int) -> None:
    """Make a part of a run."""
    with pytest.raises(StoppedError):
        work.execute(job, Watch(should_stop=after(steps - 1)))


def contents(run: Run) -> list[bytes]:
    """What a run computed."""
    return [(run.path / name).read_bytes() for name in KEPT_FILES]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run without an interruption."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(plugins.tasks().found, "toy", dataclasses.replace(small_task(), name="toy"))
        return read_run(work.execute(job_in(tmp_path_factory.mktemp("whole"), minutes=0)))


def kept(out: Path) -> list[str]:
    """What there is of unfinished runs."""
    return sorted(str(path.relative_to(out / ".unfinished")) for path in (out / ".unfinished").rglob("*"))


@pytest.mark.parametrize("minutes", [1e-9, 1.0])
def test_a_run_that_was_asked_to_stop_goes_on_with_the_same_bits(tmp_path: Path, whole: Run, minutes: float) -> None:
    """Its state is saved when it stops, whatever was due."""
    job = job_in(tmp_path, minutes=minutes)
    for steps in (1, 3, 2):
        stop(job, steps)
        assert read_runs(tmp_path) == []
    assert kept(tmp_path) == [
        job.spec.run_id,
        *(f"{job.spec.run_id}/{name}" for name in ("progress.json", "state-6.safetensors", "state.json")),
    ]
    (group,) = watching.run_status(tmp_path)
    (one,) = group.unfinished
    assert (one.running, one.epoch, one.epochs, one.resumes, one.host) == (False, 3, 3, 2, platform.node())
    assert one.saved == 6 / STEPS
    steps_told, epochs_told = [], []
    watch = Watch(on_step=lambda: steps_told.append(1), on_epoch=lambda done, total: epochs_told.append(done))
    run = read_run(work.execute(job, watch))
    assert contents(run) == contents(whole)
    assert (run.record.resumes, run.record.notices) == (3, whole.record.notices)
    assert run.record.scores == whole.record.scores
    assert len(steps_told) >= 3
    assert epochs_told == [2, 3], "where it goes on, and what it does"
    assert not (tmp_path / ".unfinished").exists()


def test_time_adds_up_over_the_parts(tmp_path: Path) -> None:
    job = job_in(tmp_path)
    stop(job, 4)
    path = unfinished.folder_of(tmp_path, job.spec.run_id) / "state.json"
    content = json.loads(path.read_text())
    content |= {"seconds": content["seconds"] + 1000, "seal": ""}
    content["state"]["train_seconds"] += 900
    content["seal"] = checkpoints.Checkpoint.model_validate(content).sealed()
    path.write_text(json.dumps(content))
    record = read_run(work.execute(job)).record
    assert record.seconds > 1000
    assert 900 < record.train_seconds < record.seconds


def kill_at(monkeypatch: pytest.MonkeyPatch, place: object, name: str) -> None:
    """Let a function end everything the first time that it is called."""
    real = getattr(place, name)

    def killed(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(place, name, real)
        raise StoppedError("killed")

    monkeypatch.setattr(place, name, killed)


@pytest.mark.parametrize("name", ["predictions", "score"])
def test_training_that_has_ended_is_not_repeated(
    tmp_path: Path, whole: Run, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A kill while predictions are made, or scored."""
    job = job_in(tmp_path)
    with monkeypatch.context() as patch:
        kill_at(patch, work.predictions if name == "predictions" else work, name)
        with pytest.raises(StoppedError):
            work.execute(job)
        told: list[int] = []
        run = read_run(work.execute(job, Watch(on_epoch=lambda done, total: told.append(done))))
    assert told == [3], "where it stands, once"
    assert contents(run) == contents(whole)
    assert run.record.resumes == 1


def test_what_cannot_be_used_is_set_aside_and_the_run_begins_anew(tmp_path: Path, whole: Run) -> None:
    """Damaged, of other software, or sealed by somebody and fitting nothing."""
    job = job_in(tmp_path)
    folder = unfinished.folder_of(tmp_path, job.spec.run_id)
    state = folder / "state.json"

    def flip() -> None:
        content = bytearray(state.read_bytes())
        content[50] ^= 1
        state.write_bytes(bytes(content))

    def reseal(**change: Any) -> None:
        content = {**json.loads(state.read_text()), "seal": ""}
        content |= {name: value(content[name]) for name, value in change.items()}
        content["seal"] = checkpoints.Checkpoint.model_validate(content).sealed()
        state.write_text(json.dumps(content))

    def rewrite(before: str, after: str) -> None:
        state.write_text(state.read_text().replace(before, after, 1))

    def with_entry(name: str, entry: list[Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
        return lambda one: {**one, name: {**one[name], "of": [*one[name]["of"], entry]}}

    def texts_for_numbers(one: dict[str, Any]) -> dict[str, Any]:
        one["epochs"]["of"][0]["of"][1][1] = "low"
        return one

    def other_torch() -> None:
        reseal(maker=lambda maker: {**maker, "versions": {**maker["versions"], "torch": "1.0"}})

    for damage, words in (
        (flip, "it is damaged"),
        (other_torch, "it was made with torch 1.0, this is "),
        (lambda: reseal(state=lambda one: {**one, "done": 77}), "it is at step 77 of epoch 2"),
        (lambda: reseal(state=lambda one: {**one, "sums": {}}), "it does not fit (KeyError"),
        (lambda: reseal(state=lambda one: {**one, "epoch": 10**400}), "it is at step 1 of epoch 1000"),
        (lambda: reseal(state=lambda one: {**one, "train_seconds": 10**400}), "it does not fit (OverflowError"),
        (lambda: reseal(state=with_entry("scheduler", ["step", 5])), "it has another schedule"),
        (lambda: reseal(state=texts_for_numbers), "it has a history of something else than numbers"),
        (lambda: rewrite('"resumes": 0', f'"resumes": {2**64}'), "it is damaged: field 'resumes'"),
        (lambda: rewrite('"seconds": ', '"seconds": 1e300, "before": '), "it is damaged: field 'seconds'"),
    ):
        stop(job, 4)
        damage()
        told: list[dict[str, Any]] = []
        run = read_run(work.execute(job, Watch(on_begun=told.append)))
        (notice,) = (text for text in run.record.notices if "checkpoint" in text)
        assert notice.startswith(f"a checkpoint was not used, {words}")
        assert notice.endswith("; the run was made from its beginning")
        assert run.record.resumes == 0
        assert contents(run) == contents(whole)
        assert not (tmp_path / ".unfinished").exists()
        shutil.rmtree(run.path)


def test_what_was_said_before_an_interruption_is_said_in_the_end(tmp_path: Path) -> None:
    job = job_in(tmp_path)
    stop(job, 2)
    (unfinished.folder_of(tmp_path, job.spec.run_id) / "state.json").write_bytes(b"{")
    stop(job, 2)
    run = read_run(work.execute(job))
    assert [text.partition(",")[0] for text in run.record.notices] == ["a checkpoint was not used"]
    assert run.record.resumes == 1


def test_another_processor_is_noted_and_no_reason_to_begin_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_in(tmp_path)
    stop(job, 4)
    own = work.devices.instruction_set()
    monkeypatch.setattr(work.devices, "instruction_set", lambda: "AVX9")
    record = read_run(work.execute(job)).record
    assert record.resumes == 1
    assert record.notices == [
        f"begun on {own}, it went on in epoch 2 on AVX9: the last digits may differ from those of a run without "
        "interruption"
    ]


def test_a_full_disk_while_a_checkpoint_is_written_is_said_once_and_ends_no_run(
    tmp_path: Path, whole: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    flush, keep = store.whole.flush, store.save_run
    monkeypatch.setattr(store.whole, "flush", full)
    job = job_in(tmp_path)

    def saved(*arguments: Any) -> Path:
        monkeypatch.setattr(store.whole, "flush", flush)
        return keep(*arguments)

    monkeypatch.setattr(recording.store, "save_run", saved)
    run = read_run(work.execute(job))
    (notice,) = run.record.notices
    assert notice == "a checkpoint could not be written (No space left on device); the run went on without"
    assert contents(run) == contents(whole)


@pytest.mark.parametrize("what", [".unfinished", ".unfinished/*", ".", "toy"])
def test_folders_that_are_deleted_under_a_run_do_not_end_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    out = tmp_path / "out"

    def delete(method: Acting) -> None:
        if method.step in (1, 5):
            for path in [out] if what == "." else out.glob(what):
                shutil.rmtree(path)

    monkeypatch.setattr(Acting, "before", delete)
    (run,) = pool.run_jobs([job_in(out, "acting")], 0)
    assert (run.record.status, run.record.notices) == ("done", [])
    assert read_runs(out) == [run]
    assert not (out / ".unfinished").exists()


def test_a_file_where_the_folder_belongs_ends_no_run(tmp_path: Path) -> None:
    (tmp_path / ".unfinished").write_text("mine")
    run = read_run(work.execute(job_in(tmp_path)))
    assert run.record.status == "done"
    assert [text.partition(" (")[0] for text in run.record.notices] == ["a checkpoint could not be written"]
    assert (tmp_path / ".unfinished").read_text() == "mine"


def test_a_method_that_keeps_what_cannot_be_restored_has_no_checkpoint_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_something(method: Acting) -> None:
        method.file = (byte for byte in b"some")  # type: ignore[attr-defined]

    monkeypatch.setattr(Acting, "before", open_something)
    job = job_in(tmp_path, "acting")
    stop(job, 3)
    assert kept(tmp_path) == [job.spec.run_id, f"{job.spec.run_id}/progress.json"]
    run = read_run(work.execute(job))
    assert run.record.status == "done"
    assert run.record.resumes == 0
    assert run.record.notices == [
        "no checkpoints were made: the method keeps self.file, of type generator, made after setup; an interruption "
        "loses the run"
    ]


def test_a_run_that_fails_keeps_no_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does the run that is made in its place begin with its state, should that have stayed."""

    def fail(method: Acting) -> None:
        if method.step == 4:
            raise ValueError("out of luck")

    monkeypatch.setattr(Acting, "before", fail)
    job = job_in(tmp_path, "acting")
    with monkeypatch.context() as patch:
        patch.setattr(recording, "forget", lambda out, run_id: None)
        assert read_run(work.execute(job)).record.status == "failed"
    assert kept(tmp_path)
    again = job_in(tmp_path, "acting", retry_failed=True)
    monkeypatch.setattr(Acting, "before", lambda method: None)
    record = read_run(work.execute(again)).record
    assert (record.status, record.resumes) == ("done", 0)
    assert not (tmp_path / ".unfinished").exists()


def test_a_result_that_could_not_be_written_is_not_computed_again(
    tmp_path: Path, whole: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_in(tmp_path)

    def full(*_: object, **__: object) -> None:
        raise UserError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(recording.store, "save_run", full)
        with pytest.raises(UserError, match="no room"):
            work.execute(job)
    told: list[int] = []
    run = read_run(work.execute(job, Watch(on_epoch=lambda done, total: told.append(done))))
    assert (told, contents(run)) == ([3], contents(whole))


def test_without_checkpoints_nothing_is_kept_and_status_still_knows(tmp_path: Path) -> None:
    job = job_in(tmp_path, minutes=0)
    stop(job, 4)
    assert kept(tmp_path) == [job.spec.run_id, f"{job.spec.run_id}/progress.json"]
    ((one,),) = (group.unfinished for group in watching.run_status(tmp_path))
    assert (one.epoch, one.saved) == (2, 0.0)
    assert read_run(work.execute(job)).record.resumes == 0


def test_a_checkpoint_is_due_after_epochs_and_minutes_and_never_costs_more_than_one_per_cent() -> None:
    schedule = Schedule(minutes=1, now=0)
    assert not schedule.is_due(9, epoch_ended=True), "little is lost"
    assert schedule.is_due(10, epoch_ended=True)
    assert not schedule.is_due(59, epoch_ended=False)
    assert schedule.is_due(60, epoch_ended=False)


def test_what_one_costs_is_earned_back_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "PAID_BACK", 100.0)
    schedule = Schedule(minutes=1, now=0)
    schedule.made(begun=60, ended=62)
    assert not schedule.is_due(261, epoch_ended=True)
    assert schedule.is_due(262, epoch_ended=True)
    assert not any(Schedule(minutes=0, now=0).is_due(10**6, ended) for ended in (False, True))
