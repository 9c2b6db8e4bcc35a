"""Run directories are there whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from divsal_bench.errors import UserError
from divsal_bench.files import owners
from divsal_bench.networks.trained import load_model
from divsal_bench.runs import store
from divsal_bench.runs.reading import Run, read_run, read_runs
from divsal_bench.runs.records import DataFacts, Record, Spec, Status


def record(seed: int = 0, status: Status = "failed", **content: Any) -> Record:
    spec = Spec(
        task="cxr",
        task_version=1,
        data="standin",
        data_fingerprint="f" * 64,
        method="cross-entropy",
        method_version=1,
        fields={},
        backbone="resnet10t",
        weights="scratch",
        head="two-logit",
        protocol="quick-v1",
        protocol_settings={"epochs": 1},
        seed=seed,
    )
    return Record(
        run_id=spec.run_id,
        status=status,
        method_label="cross-entropy",
        method_kind="unguided",
        spec=spec,
        data=DataFacts(kind="standin", revision="", pixel_hash="p", train=1, validation=1, test=1, train_maps=0),
        **content,
    )


def write(text: str) -> Callable[[Path], None]:
    """A writer of two files that must never be seen to differ."""

    def write_files(folder: Path) -> None:
        (folder / "history.csv").write_text(text, encoding="utf-8")
        (folder / "predictions.parquet").write_text(text, encoding="utf-8")

    return write_files


def text_of(run: Run) -> str:
    """What :func:`write` wrote."""
    first, second = ((run.path / name).read_text(encoding="utf-8") for name in ("history.csv", "predictions.parquet"))
    assert first == second
    return first


def leftovers(out: Path) -> list[Path]:
    return sorted((out / store.ASIDE).iterdir())


def python(code: str, *arguments: str) -> subprocess.Popen[str]:
    """Code in a process of its own that can import this module as ``test_store``."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], env=environment, stderr=subprocess.PIPE, text=True
    )


# ---------------------------------------------------------------- whole or not at all


def test_a_saved_run_is_found_and_read_back(tmp_path: Path) -> None:
    saved = record(3, "done", notices=["é"])
    path = store.save_run(tmp_path, saved, write("a"))
    assert path == store.run_path(tmp_path, saved.spec) == tmp_path / "cxr/cross-entropy" / path.name
    found = store.find_run(tmp_path, saved.spec)
    assert found is not None
    digits = hashlib.sha256(b"a").hexdigest()
    files = {"history.csv": digits, "predictions.parquet": digits}
    assert found.record == saved.model_copy(update={"files": files})
    assert read_runs(tmp_path) == [found]
    assert text_of(found) == "a"
    assert not leftovers(tmp_path)
    assert store.find_run(tmp_path, record(4).spec) is None


def test_nothing_is_counted_while_it_is_written_and_run_json_comes_last(tmp_path: Path) -> None:
    seen: list[Path] = []

    def write_files(folder: Path) -> None:
        seen.extend(folder.iterdir())
        assert folder.parent == tmp_path / store.ASIDE
        (folder / "run.json").write_text("{}", encoding="utf-8")  # even a whole-looking one does not count
        assert read_runs(tmp_path) == []
        assert store.find_run(tmp_path, record().spec) is None

    store.save_run(tmp_path, record(), write_files)
    assert seen == []
    assert len(read_runs(tmp_path)) == 1


@pytest.mark.parametrize("error", [RuntimeError("a bug"), KeyboardInterrupt()])
def test_an_exception_while_writing_leaves_nothing_and_keeps_the_earlier_run(
    tmp_path: Path, error: BaseException
) -> None:
    store.save_run(tmp_path, record(error="earlier"))

    def write_files(folder: Path) -> None:
        write("half")(folder)
        raise error

    with pytest.raises(type(error)):
        store.save_run(tmp_path, record(0, "done"), write_files)
    with pytest.raises(type(error)):
        store.save_run(tmp_path, record(1, "done"), write_files)
    assert [run.record.error for run in read_runs(tmp_path)] == ["earlier"]
    assert not leftovers(tmp_path)


def test_a_finished_run_is_never_replaced(tmp_path: Path) -> None:
    store.save_run(tmp_path, record(0, "done"), write("first"))
    before = (store.run_path(tmp_path, record().spec) / "run.json").stat().st_ino
    store.save_run(tmp_path, record(0, "done", attempts=2), write("second"))
    store.save_run(tmp_path, record(0, "failed"))
    (run,) = read_runs(tmp_path)
    assert text_of(run) == "first"
    assert (run.path / "run.json").stat().st_ino == before
    assert not leftovers(tmp_path)


@pytest.mark.parametrize("earlier", ["failed", "diverged"])
def test_a_run_without_a_result_is_replaced_by_the_next_try(tmp_path: Path, earlier: Status) -> None:
    store.save_run(tmp_path, record(0, earlier, error="old"), write("old"))
    store.save_run(tmp_path, record(0, "failed", error="new"))
    (run,) = read_runs(tmp_path)
    assert run.record.error == "new"
    assert [path.name for path in run.path.iterdir()] == ["run.json"]
    store.save_run(tmp_path, record(0, "done"), write("done"))
    (run,) = read_runs(tmp_path)
    assert (run.record.status, text_of(run)) == ("done", "done")
    assert not leftovers(tmp_path)


def test_a_folder_without_run_json_is_no_run_and_gives_way_to_one(tmp_path: Path) -> None:
    path = store.run_path(tmp_path, record().spec)
    path.mkdir(parents=True)
    (path / "predictions.parquet").write_bytes(b"what a file manager left")
    assert store.find_run(tmp_path, record().spec) is None
    assert read_runs(tmp_path) == []
    store.save_run(tmp_path, record(0, "done"), write("whole"))
    assert [text_of(run) for run in read_runs(tmp_path)] == ["whole"]


# ---------------------------------------------------------------- disks


@contextmanager
def file_limit(size: int) -> Iterator[None]:
    """No file may grow beyond ``size`` bytes: a write then fails as on a full disk, here and in libraries."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def write_plain(folder: Path) -> None:
    (folder / "history.csv").write_bytes(b"x" * 300_000)


def write_model(folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(75_000)}, str(folder / "model.safetensors"))


def write_table(folder: Path) -> None:
    import numpy as np
    import pandas as pd

    table = pd.DataFrame({"a": np.random.default_rng(0).random(40_000)})
    table.to_parquet(folder / "predictions.parquet", index=False)


def fits(folder: Path) -> None:
    """Everything but run.json fits."""


def refuses_a_full_disk(out: Path, writer: Callable[[Path], None]) -> None:
    """The error is the user's, names the folder and the remedy; nothing stays, nothing earlier is lost."""
    large = {f"{number}": "x" * 390 for number in range(700)}
    with pytest.raises(UserError, match="could not be written") as caught:
        store.save_run(out, record(0, "done", versions=large), writer)
    assert str(out) in str(caught.value)
    assert "--out" in str(caught.value)
    assert not leftovers(out)
    assert [run.record.error for run in read_runs(out)] == ["earlier"]


WRITERS = [write_plain, write_model, write_table, fits]


@pytest.mark.parametrize("writer", WRITERS)
def test_a_file_that_cannot_grow_is_a_user_error(tmp_path: Path, writer: Callable[[Path], None]) -> None:
    store.save_run(tmp_path, record(error="earlier"))
    with file_limit(200_000):
        refuses_a_full_disk(tmp_path, writer)
    store.save_run(tmp_path, record(0, "done"), writer)
    assert [run.record.status for run in read_runs(tmp_path)] == ["done"]


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_is_a_user_error(tmp_path: Path, writer: Callable[[Path], None]) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs root and the right to mount; the test above limits files instead")
    try:
        out = tmp_path / "runs"
        store.prepare_folder(out)
        store.save_run(out, record(error="earlier"))
        refuses_a_full_disk(out, writer)
        store.prepare_folder(out)  # there is room for the rest of the grid
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    out = tmp_path / "file" / "runs"
    with pytest.raises(UserError, match=r"cannot be written \(Not a directory\); choose another with --out") as caught:
        store.prepare_folder(out)
    assert str(out) in str(caught.value)
    with pytest.raises(UserError, match="could not be written"):
        store.save_run(out, record())


def test_preparing_creates_the_folder_and_leaves_no_probe(tmp_path: Path) -> None:
    store.prepare_folder(tmp_path / "new" / "runs")
    assert not leftovers(tmp_path / "new" / "runs")


# ---------------------------------------------------------------- several processes

SAVE_ALL = """
import os, sys, time
from pathlib import Path
from divsal_bench.runs import store
from divsal_bench.runs.reading import read_run
from test_store import record, text_of, write
out, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
(out / name).touch()
while not (out / "go").exists():
    time.sleep(0.001)
for seed in range(count):
    path = store.save_run(out, record(seed, "done", notices=[name]), write(name))
    if seed % 4:  # those of a fourth are there as failed; all replace them
        run = read_run(path)
        assert run.record.notices == [text_of(run)], "two processes' files in one run"
"""


def test_processes_that_save_the_same_runs_at_once_keep_one_of_each(tmp_path: Path) -> None:
    count, names = 150, ["a", "b", "c"]
    for seed in range(0, count, 4):
        store.save_run(tmp_path, record(seed, "failed"))
    owners = [python(SAVE_ALL, str(tmp_path), name, str(count)) for name in names]
    while not all((tmp_path / name).exists() for name in names):
        assert [process.poll() for process in owners] == [None] * 3
    (tmp_path / "go").touch()
    for process in owners:
        assert process.communicate()[1] == ""
        assert process.returncode == 0
    runs = read_runs(tmp_path)
    assert sorted(run.spec.seed for run in runs) == list(range(count))
    for run in runs:
        assert (run.record.status, run.record.notices) == ("done", [text_of(run)])
    assert not leftovers(tmp_path)


DIE_WHILE_SAVING = """
import os, sys
from pathlib import Path
from divsal_bench.runs import store
from test_store import record, write
def die(folder):
    write("half")(folder)
    os.kill(os.getpid(), 9)
store.save_run(Path(sys.argv[1]), record(1, "done"), die)
"""


def test_what_a_killed_process_left_is_not_counted_and_swept(tmp_path: Path) -> None:
    store.save_run(tmp_path, record(0, "done"), write("whole"))
    process = python(DIE_WHILE_SAVING, str(tmp_path))
    assert process.wait() == -signal.SIGKILL, process.communicate()[1]
    (left,) = leftovers(tmp_path)
    assert (left / "history.csv").read_text(encoding="utf-8") == "half"
    assert [run.spec.seed for run in read_runs(tmp_path)] == [0]
    assert store.find_run(tmp_path, record(1).spec) is None

    host = owners.own_tag().split("-")[0]
    kept = [
        f"{owners.own_tag()}-new",  # another thread of this process is writing it
        f"00000000-{process.pid}-0123-new",  # so may another host that shares the folder
        "odd",  # not ours to judge
    ]
    for name in kept:
        (tmp_path / store.ASIDE / name).mkdir()
    (tmp_path / store.ASIDE / f"{host}-{process.pid}-probe").touch()
    store.prepare_folder(tmp_path)
    assert sorted(path.name for path in leftovers(tmp_path)) == sorted(kept)
    assert [text_of(run) for run in read_runs(tmp_path)] == ["whole"]


def test_marks_of_another_container_or_boot_are_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two containers with one host name count their processes from 1 each."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    own = f"{owners.own_tag().split('-')[0]}-{dead.pid}-0123"
    assert owners.is_abandoned(own)
    real = Path.readlink
    for read, what in (("readlink", "/proc/self/ns/pid"), ("read_text", "/proc/sys/kernel/random/boot_id")):
        original = getattr(Path, read)

        def elsewhere(path: Path, *given: Any, what: str = what, original: Any = original, **named: Any) -> Any:
            found = original(path, *given, **named)
            return type(found)(f"{found}0") if str(path) == what else found

        with monkeypatch.context() as patch:
            patch.setattr(Path, read, elsewhere)
            owners._host.cache_clear()
            assert not owners.is_abandoned(own)
        owners._host.cache_clear()
    assert Path.readlink is real
    assert owners.is_abandoned(own)


def test_what_machines_that_cannot_be_asked_left_is_swept_after_a_day(tmp_path: Path) -> None:
    store.prepare_folder(tmp_path)
    old, fresh, odd = (tmp_path / store.ASIDE / name for name in ("0badcafe-1-ab-new", "0badcafe-2-ab-new", "odd"))
    for path in (old, fresh, odd):
        path.mkdir()
    for path in (old, odd):
        os.utime(path, (0, 0))
    store.prepare_folder(tmp_path)
    assert leftovers(tmp_path) == sorted([fresh, odd])


# ---------------------------------------------------------------- whose files, whose place


def test_a_run_in_another_runs_place_is_named_and_never_counted(tmp_path: Path) -> None:
    """A folder copied over another: of another seed, another method, another version of the data."""
    wanted = record(0).spec
    others = [
        wanted.model_copy(update=change)
        for change in ({"seed": 1}, {"method": "cyborg"}, {"data_fingerprint": "0" * 64}, {"fields": {"alpha": 1}})
    ]
    for spec in others:
        out = tmp_path / spec.run_id
        saved = store.save_run(
            out, record(0, "done").model_copy(update={"spec": spec, "run_id": spec.run_id}), write("a")
        )
        place = store.run_path(out, wanted)
        place.parent.mkdir(parents=True, exist_ok=True)
        saved.rename(place)
        for reader in (lambda out=out: store.find_run(out, wanted), lambda out=out: read_runs(out)):
            with pytest.raises(
                UserError, match=f"holds another run: .* seed .* \\({spec.run_id}\\); delete this folder"
            ):
                reader()


@pytest.mark.parametrize("name", store.FILES)
@pytest.mark.parametrize("change", ["another run's", "a flipped bit", "empty", "gone"])
def test_a_file_that_is_not_the_runs_own_is_named_by_who_reads_it(tmp_path: Path, name: str, change: str) -> None:
    def writer(text: str) -> Callable[[Path], None]:
        return lambda folder: [(folder / file).write_text(text, encoding="utf-8") for file in store.FILES]  # type: ignore[return-value]

    path = store.save_run(tmp_path, record(0, "done"), writer("one"))
    other = store.save_run(tmp_path, record(1, "done"), writer("two"))
    run = read_run(path)
    assert sorted(run.record.files) == sorted(store.FILES)
    for file in store.FILES:
        run.check_file(file)
    content = {"another run's": (other / name).read_bytes(), "a flipped bit": b"ond", "empty": b"", "gone": None}[
        change
    ]
    (path / name).unlink()
    if content is not None:
        (path / name).write_bytes(content)
    message = "cannot be read" if content is None else f"{name} is not what run {run.record.run_id} wrote: its sha256"
    with pytest.raises(UserError, match=message):
        run.check_file(name)
    if name == "predictions.parquet":
        with pytest.raises(UserError, match=message):
            run.predictions()
    if name == "model.safetensors":
        with pytest.raises(UserError, match=message if content is not None else "has no model"):
            load_model(run)


def test_records_without_hashes_claim_nothing(tmp_path: Path) -> None:
    path = store.save_run(tmp_path, record(0, "done"), write("one"))
    content = json.loads((path / "run.json").read_text(encoding="utf-8"))
    del content["files"], content["processor"]
    (path / "run.json").write_text(json.dumps(content), encoding="utf-8")
    (path / "history.csv").write_text("other", encoding="utf-8")
    run = read_run(path)
    assert run.record.files == {}
    run.check_file("history.csv")
    copied = store.save_run(tmp_path / "copy", run.record, write("x"), as_it_is=True)
    assert read_run(copied).record == run.record


UNREADABLE: dict[str, dict[str, Any]] = {
    "a long text": {"device": "x" * 401},
    "a direction mark": {"device": "a\u2067b"},
    "deep": {"model_args": {"a": json.loads("[" * 60 + "]" * 60)}},
    "a huge record": {"versions": {f"{number}": "x" * 390 for number in range(12_000)}},
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_what_could_not_be_read_back_is_refused_before_it_is_in_place(tmp_path: Path, case: str) -> None:
    with pytest.raises(store.UnreadableError, match=r"could not be read back: run\.json"):
        store.save_run(tmp_path, record(0, "done", **UNREADABLE[case]), write("a"))
    assert read_runs(tmp_path) == []
    assert not leftovers(tmp_path)
    assert not store.run_path(tmp_path, record().spec).exists()


# ---------------------------------------------------------------- damaged records


def edit(**changes: Any) -> Callable[[str], bytes]:
    """Change fields of run.json; None removes one."""

    def change(text: str) -> bytes:
        content = json.loads(text) | changes
        return json.dumps({name: value for name, value in content.items() if value is not None}).encode()

    return change


def edit_spec(text: str) -> bytes:
    content = json.loads(text)
    content["spec"]["seed"] = 1
    return json.dumps(content).encode()


DAMAGES: dict[str, tuple[Callable[[str], bytes], str]] = {
    "empty": (lambda text: b"", "cannot be read .* delete its folder and run again"),
    "cut short": (lambda text: text[: len(text) // 2].encode(), "cannot be read .* delete its folder"),
    "not text": (lambda text: b"\xff\xfe\x00", "cannot be read .* delete its folder"),
    "a list": (lambda text: b"[]", "damaged: .* delete its folder and run again"),
    "a field is gone": (edit(status=None), "damaged: field 'status': .* delete its folder and run again"),
    "a field too many": (edit(score=1), "damaged: field 'score': "),
    "a wrong value": (edit(status="fine"), "damaged: field 'status': "),
    "not a number": (edit(seconds=float("nan")), "damaged: field 'seconds' has a number"),
    "an edited specification": (edit_spec, "was edited: its specification does not hash to its run_id"),
    "a newer version": (edit(schema_version=2), "has schema version 2, this program reads 1; update divsal-bench"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record_is_named_and_never_counted(tmp_path: Path, damage: str) -> None:
    change, message = DAMAGES[damage]
    file = store.save_run(tmp_path, record(0, "done")) / "run.json"
    file.write_bytes(change(file.read_text(encoding="utf-8")))
    readers: list[Callable[[], object]] = [
        lambda: read_run(file.parent),
        lambda: read_run(file),
        lambda: read_runs(tmp_path),
        lambda: store.find_run(tmp_path, record().spec),
        lambda: store.save_run(tmp_path, record(0, "done")),
    ]
    for reader in readers:
        with pytest.raises(UserError, match=message) as caught:
            reader()
        assert str(file) in str(caught.value)


def test_a_folder_that_is_no_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a run: it has no run\.json"):
        read_run(tmp_path)


@pytest.mark.parametrize("content", [None, b"", b"PAR1 and nothing more"])
def test_unreadable_predictions_are_a_user_error(tmp_path: Path, content: bytes | None) -> None:
    path = store.save_run(tmp_path, record(0, "done"))
    if content is not None:
        (path / "predictions.parquet").write_bytes(content)
    with pytest.raises(UserError, match=r"cannot be read .* run again") as caught:
        read_run(path).predictions()
    assert str(path / "predictions.parquet") in str(caught.value)
