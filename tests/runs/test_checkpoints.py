"""Checkpoints as files: whole or not there, gone with the run, and anybody's until they are shown to be ours."""

from __future__ import annotations

import errno
import json
import os
import pickle
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save
from written_runs import write_run

from divsal_bench.errors import UserError
from divsal_bench.files import whole
from divsal_bench.files.foreign import RefusedError
from divsal_bench.runs import checkpoints, locks, store, unfinished
from divsal_bench.runs.checkpoints import Checkpoint, Maker, read_checkpoint, write_checkpoint
from divsal_bench.runs.reading import collect_runs, read_runs
from divsal_bench.runs.records import Spec

pytestmark = pytest.mark.fast

SPEC = Spec(
    task="cxr", task_version=1, data="standin", data_fingerprint="f" * 64, method="cyborg", method_version=1, fields={},
    backbone="resnet10t", weights="scratch", head="two-logit", protocol="quick-v1", protocol_settings={}, seed=0,
)  # fmt: skip
OWN = Maker(
    run_id=SPEC.run_id, engine_version=1, replaces="", versions={"torch": "2.9", "timm": "1.0"}, method_source="ab",
    pixel_hash="cd", device="cpu",
)  # fmt: skip
TENSORS = save({"a": np.arange(1000.0)})


def checkpoint(step: int = 7, **content: Any) -> Checkpoint:
    """One that says what a training said."""
    state = {"numbers": [0.1, 2**100, -0.0], "text": "ä"}
    full = {"maker": OWN, "hardware": "AVX2", "seconds": 1.5, "resumes": 0, "notices": [], "state": state}
    return Checkpoint(**{**full, "step": step, "epoch": 1, **content})


def put_tensors(path: Path) -> None:
    """Write them, as safetensors does."""
    path.write_bytes(TENSORS)


def write(out: Path, step: int = 7, **content: Any) -> Path:
    """Write one; its folder."""
    write_checkpoint(out, checkpoint(step, **content), put_tensors)
    return unfinished.folder_of(out, OWN.run_id)


def names(folder: Path) -> list[str]:
    """What lies in a folder."""
    return sorted(path.name for path in folder.iterdir())


def test_what_was_written_is_read_and_the_one_before_goes(tmp_path: Path) -> None:
    assert read_checkpoint(tmp_path, OWN) is None
    assert list(tmp_path.iterdir()) == [], "looking makes nothing"
    write(tmp_path, 7)
    folder = write(tmp_path, 12)
    assert names(folder) == ["state-12.safetensors", "state.json"]
    found = read_checkpoint(tmp_path, OWN)
    assert found is not None
    assert found[0].state == checkpoint().state
    assert (found[0].step, found[1]) == (12, TENSORS)


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, at the tensors or at what says that they are whole."""
    folder = write(tmp_path, 7)

    def full(path: Path) -> None:
        path.write_bytes(TENSORS[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(UserError, match="No space left on device"):
        write_checkpoint(tmp_path, checkpoint(9), full)
    monkeypatch.setattr(whole, "write", lambda path, content: full(whole.aside_of(path)))
    with pytest.raises(UserError, match="No space left on device"):
        write(tmp_path, 9)
    found = read_checkpoint(tmp_path, OWN)
    assert found is not None
    assert found[0].step == 7
    assert "state-7.safetensors" in names(folder)


def test_a_state_beyond_all_measure_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path, 7)
    monkeypatch.setattr(checkpoints, "LARGEST_STATE", 2000)
    with pytest.raises(UserError, match="2,000 are allowed"):
        write(tmp_path, 9, state={"list": [0] * 2000})
    assert names(folder) == ["state-7.safetensors", "state.json"]


OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "another specification": ({"run_id": "0" * 16}, "another specification"),
    "another engine": ({"engine_version": 2}, "engine version 2, this is 1"),
    "another torch": ({"versions": {"torch": "2.8", "timm": "1.0"}}, "with torch 2.8, this is 2.9"),
    "a package that is gone": ({"versions": {**OWN.versions, "numpy": "2"}}, "numpy 2, this is without it"),
    "another method's code": ({"method_source": "ef"}, "other code of the method"),
    "other pixels": ({"pixel_hash": "ef"}, "on other pixels"),
    "another kind of device": ({"device": "cuda"}, "on the device cuda, this is cpu"),
    "an earlier try": ({"replaces": "2026-01-01"}, "an earlier try"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path, name: str) -> None:
    change, message = OTHERS[name]
    maker = OWN.model_copy(update=change)
    write(tmp_path, maker=maker)
    # A folder may have been given another name.
    unfinished.folder_of(tmp_path, maker.run_id).rename(unfinished.folder_of(tmp_path, OWN.run_id))
    with pytest.raises(RefusedError, match=message):
        read_checkpoint(tmp_path, OWN)


def resealed(path: Path, **change: Any) -> None:
    """Change state.json, and seal it again, as whoever knows our program can."""
    content = {**json.loads(path.read_text()), **change, "seal": ""}
    path.write_text(json.dumps(content))
    found = Checkpoint.model_validate(content)
    path.write_text(json.dumps({**content, "seal": found.sealed()}))


def flip(path: Path, place: int) -> None:
    """Change one bit."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(bytes(content))


def as_link(path: Path) -> None:
    """Put a link in place of a file or folder, to where it is now."""
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def as_pipe(path: Path) -> None:
    """Put a pipe in place of a file: who opens it waits for ever."""
    path.unlink()
    os.mkfifo(path)


DAMAGE: dict[str, Callable[[Path, Path], object]] = {
    "a flipped bit in the state": lambda state, tensors: flip(state, state.read_bytes().index(b"0.1") + 2),
    "a flipped bit in the tensors": lambda state, tensors: flip(tensors, 5000),
    "half a state": lambda state, tensors: state.write_bytes(state.read_bytes()[:300]),
    "an empty state": lambda state, tensors: state.write_bytes(b""),
    "half the tensors": lambda state, tensors: tensors.write_bytes(TENSORS[:500]),
    "no tensors": lambda state, tensors: tensors.unlink(),
    "a pickle as state": lambda state, tensors: state.write_bytes(pickle.dumps({"step": 7})),
    "a pickle as tensors": lambda state, tensors: tensors.write_bytes(pickle.dumps(list(range(5000)))),
    "a huge state": lambda state, tensors: state.write_bytes(b"[" + b"0," * 2**23 + b"0]"),
    "a state nested too deeply": lambda state, tensors: state.write_bytes(b"[" * 200_000),
    "no object": lambda state, tensors: state.write_bytes(b"[]"),
    "a newer schema": lambda state, tensors: state.write_text('{"schema_version": 99}'),
    "a field too many": lambda state, tensors: state.write_text(
        json.dumps({**json.loads(state.read_text()), "more": 1})
    ),
    "a size beyond all measure": lambda state, tensors: state.write_text(
        json.dumps({**json.loads(state.read_text()), "tensors_size": 2**60})
    ),
    "a path for a number": lambda state, tensors: state.write_text(
        json.dumps({**json.loads(state.read_text()), "step": "../../etc/passwd"})
    ),
    "another step": lambda state, tensors: resealed(state, step=8),
    "another hash": lambda state, tensors: resealed(state, tensors_sha256="0" * 64),
    "a link as state": lambda state, tensors: as_link(state),
    "a link as tensors": lambda state, tensors: as_link(tensors),
    "a link as folder": lambda state, tensors: as_link(state.parent),
    "a dangling link": lambda state, tensors: (state.unlink(), state.symlink_to("nowhere")),
    "a pipe": lambda state, tensors: as_pipe(state),
    "a pipe as tensors": lambda state, tensors: as_pipe(tensors),
    "a folder": lambda state, tensors: (state.unlink(), state.mkdir()),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_checkpoint_is_refused_and_can_be_set_aside(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path)
    DAMAGE[name](folder / "state.json", folder / "state-7.safetensors")
    with pytest.raises(RefusedError) as caught:
        read_checkpoint(tmp_path, OWN)
    assert len(str(caught.value)) < 400
    for _ in range(2):  # one is kept
        unfinished.set_aside(tmp_path, OWN.run_id)
        assert read_checkpoint(tmp_path, OWN) is None
        write(tmp_path)
    assert [one for one in names(folder.parent) if one != "elsewhere"] == [OWN.run_id, f"{OWN.run_id}-aside"]
    assert read_checkpoint(tmp_path, OWN) is not None


@pytest.mark.parametrize("linked", [".unfinished", f".unfinished/{OWN.run_id}"])
def test_nothing_is_written_through_a_link(tmp_path: Path, linked: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / linked).parent.mkdir(parents=True)
    (tmp_path / "out" / linked).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError):
        write(tmp_path / "out")
    unfinished.note_progress(tmp_path / "out", progress())
    assert names(tmp_path / "elsewhere") == []


def test_nothing_is_taken_away_behind_a_link(tmp_path: Path) -> None:
    write(tmp_path / "another")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".unfinished").symlink_to(tmp_path / "another" / ".unfinished")
    with pytest.raises(RefusedError, match="is a link"):
        read_checkpoint(tmp_path / "out", OWN)
    with pytest.raises(OSError, match="link"):
        unfinished.set_aside(tmp_path / "out", OWN.run_id)
    unfinished.forget(tmp_path / "out", OWN.run_id)
    assert read_checkpoint(tmp_path / "another", OWN) is not None


def progress(**content: Any) -> unfinished.Progress:
    """In the second of four epochs."""
    full: dict[str, Any] = {
        "spec": SPEC, "method_label": "cyborg", "epoch": 2, "epochs": 4, "step": 15, "steps": 40, "pace": 2.0,
        "seconds": 31.0, "saved_step": 10, "resumes": 0, "host": platform.node(), "updated": time.time(),
    }  # fmt: skip
    return unfinished.Progress(**{**full, **content})


def test_a_run_is_running_while_it_is_locked_or_another_machine_says_so(tmp_path: Path) -> None:
    def running() -> list[bool]:
        return [is_running for _, is_running in unfinished.unfinished_runs(tmp_path)]

    assert running() == []
    store.prepare_folder(tmp_path)
    unfinished.note_progress(tmp_path, progress())
    assert running() == [False]
    lock = locks.lock_run(tmp_path, SPEC.run_id)
    assert lock is not None
    assert running() == [True]
    lock.release()
    assert running() == [False]
    assert locks.lock_run(tmp_path, SPEC.run_id) is not None, "looking locks nothing"
    unfinished.note_progress(tmp_path, progress(host="another"))
    unfinished.forget(tmp_path, "0" * 16)
    (tmp_path / ".partial" / f"claim-{SPEC.run_id}").unlink()
    assert running() == [True]
    unfinished.note_progress(tmp_path, progress(host="another", updated=time.time() - 3600))
    assert running() == [False]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\x80\x04", b'{"epoch": NaN}', b"[" * 100_000, json.dumps({"epoch": 1}).encode(),
     json.dumps({**progress().model_dump(mode="json"), "host": "\x1b[2J"}).encode(),
     json.dumps({**progress().model_dump(mode="json"), "more": 1}).encode(),
     json.dumps({**progress().model_dump(mode="json"), "pace": 1e308}).encode(),
     json.dumps({**progress().model_dump(mode="json"), "steps": 2**63}).encode(),
     json.dumps({**progress(spec=SPEC.model_copy(update={"seed": 1})).model_dump(mode="json")}).encode()],
)  # fmt: skip
def test_progress_that_nobody_of_ours_wrote_is_passed_by(tmp_path: Path, content: bytes) -> None:
    unfinished.note_progress(tmp_path, progress())
    assert len(unfinished.unfinished_runs(tmp_path)) == 1
    (unfinished.folder_of(tmp_path, SPEC.run_id) / "progress.json").write_bytes(content)
    assert unfinished.unfinished_runs(tmp_path) == []


def test_readers_of_an_output_folder_pass_unfinished_runs_by(tmp_path: Path) -> None:
    run = write_run(tmp_path, "cyborg", 0)
    write(tmp_path)
    unfinished.note_progress(tmp_path, progress())
    # Even where it looks like a run.
    place = unfinished.folder_of(tmp_path, OWN.run_id) / "seed0-0123456789abcdef"
    place.mkdir()
    (place / "run.json").write_text("{}")
    assert [one.path for one in read_runs(tmp_path)] == [run.path]
    assert [one.path for one in collect_runs([tmp_path], tmp_path)] == [run.path]


def test_what_is_kept_of_done_runs_is_swept_and_of_others_stays(tmp_path: Path) -> None:
    """A kill between the saving of a run and the end of its checkpoint leaves that behind."""
    done, failed = write_run(tmp_path, "cyborg", 0), write_run(tmp_path, "cyborg", 1, status="failed")
    for run in (done, failed):
        write(tmp_path, maker=OWN.model_copy(update={"run_id": run.record.run_id}))
    unfinished.set_aside(tmp_path, done.record.run_id)
    write(tmp_path, maker=OWN.model_copy(update={"run_id": done.record.run_id}))
    (tmp_path / ".unfinished/notes").mkdir()
    store.prepare_folder(tmp_path)
    assert names(tmp_path / ".unfinished") == sorted([failed.record.run_id, "notes"])
