"""What the command does is a function: it says what the command prints, and returns the runs."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from delivered import Delivered

import divsal_bench
from divsal_bench.data import arrays, catalogue, decoding, room
from divsal_bench.data.prepare import prepare_data_set
from divsal_bench.errors import UserError
from divsal_bench.grid.pool import Event
from divsal_bench.registry import plugins, protocols
from divsal_bench.tasks.adapters.manifest_csv import ADAPTER
from divsal_bench.workflows import asking, running


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """quick-v1 as small and short as it gets."""
    small = dataclasses.replace(
        protocols.find_protocol("quick-v1"),
        epochs=1,
        input_size=32,
        backbone_args={"channels": [4, 4, 8, 8], "stem_width": 4},
    )
    monkeypatch.setitem(protocols.PROTOCOLS, "quick-v1", small)


def test_runs_are_made_once_and_what_happens_is_told(tmp_path: Path) -> None:
    events: list[Event] = []
    said: list[str] = []
    first = running.run("cxr", ["cross-entropy", "cyborg"], seeds="1-1", data="standin", device="cpu",
                        out=tmp_path, say=said.append, on_event=events.append)  # fmt: skip
    assert [(run.spec.method, run.spec.seed, run.record.status) for run in first] == [
        ("cross-entropy", 1, "done"), ("cyborg", 1, "done"),
    ]  # fmt: skip
    assert [event.kind for event in events] == ["begun", *["epoch", "finished"] * 2]
    assert events[0].total == 2
    assert said[0] == "plan: 2 runs = 1 task × 2 methods × 1 seed; 0 already done, 2 to do"
    assert (
        divsal_bench.run("cxr", "cross-entropy,cyborg", seeds=[1], data="standin", device="cpu", out=tmp_path) == first
    )


def test_paths_of_new_and_kept_runs_have_the_form_of_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for methods in ("cross-entropy", "cross-entropy,cyborg"):
        found = running.run("cxr", methods, seeds=1, data="standin", device="cpu", out="kept")
        assert all(one.path.parts[0] == "kept" and one.path.is_dir() for one in found)


def test_a_plan_writes_nothing_and_says_what_would_be_done(tmp_path: Path) -> None:
    said: list[str] = []
    plan = running.plan_runs("cxr,iris-pad", "cyborg", seeds=2, data="standin", out=tmp_path / "runs", say=said.append)
    assert [len(part.jobs) for part in plan.tasks] == [2, 2]
    assert plan.unnamed == set()
    assert said[0] == "plan: 4 runs = 2 tasks × 1 method × 2 seeds; 0 already done, 4 to do"
    assert not (tmp_path / "runs").exists()
    unnamed = running.plan_runs("cxr", "cyborg", seeds=1, out=tmp_path / "runs")
    assert unnamed.unnamed == {"cxr"}


def test_a_plan_decodes_nothing_and_says_what_decoding_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("DIVSAL_BENCH_HOME", str(home))
    data = prepare_data_set(plugins.tasks().get("cxr"), ADAPTER, Delivered(tmp_path / "files").save(), tmp_path / "own")
    arguments: dict[str, Any] = {"data": data.path, "device": "cpu", "out": tmp_path / "runs"}
    said: list[str] = []
    with monkeypatch.context() as whole:
        whole.setattr(decoding, "decode_image", lambda *_: pytest.fail("decoded"))
        plan = running.plan_runs("cxr", "cyborg", seeds=1, say=said.append, **arguments)
    assert "4 train (2 that come with a map), " in said[3]
    cache, size = plan.tasks[0].data.path, plan.grid.protocol.input_size
    most = f"{(16 + 4) * size**2 / 1e6:.1f} MB"
    assert re.fullmatch(
        rf"    decoded: at most {most} in {cache}, not there yet; [0-9,.]+ [GM]B free on that disk", said[4]
    )
    assert not home.exists()
    with monkeypatch.context() as full:
        full.setattr(room.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
        running.plan_runs("cxr", "cyborg", seeds=1, say=said.append, **arguments)
    assert said[-1].endswith("not there yet, and too large for that disk; 0.0 MB free on that disk")
    arrays.load_arrays(plugins.tasks().get("cxr"), catalogue.resolve(plugins.tasks().get("cxr"), str(data.path)), size)
    said.clear()
    again = running.plan_runs("cxr", "cyborg", seeds=1, say=said.append, **arguments)
    assert [job.spec for job in again.tasks[0].jobs] == [job.spec for job in plan.tasks[0].jobs]
    assert "4 train (2 with a map), " in said[3]
    assert re.fullmatch(rf"    decoded: {most} in {cache}, there already; .* free on that disk", said[4])


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is not a folder"):
        running.run("cxr", "cyborg", seeds=1, out=tmp_path / "file")


@pytest.mark.parametrize(
    ("given", "meant"), [(3, (0, 1, 2)), ("3", (0, 1, 2)), ("5-6", (5, 6)), ([4, 2], (4, 2)), (range(1, 3), (1, 2))]
)
def test_seeds_are_a_number_a_range_or_themselves(given: int | str | list[int], meant: tuple[int, ...]) -> None:
    assert asking.seed_range(given) == meant


@pytest.mark.parametrize("given", [0, -1, "0", "6-5", "1001", "some", str(2**31)])
def test_seeds_that_are_none_or_too_many_are_refused(given: int | str) -> None:
    with pytest.raises(UserError, match="--seeds"):
        asking.seed_range(given)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"head": "no-logit"}, "unknown head 'no-logit'; give one of"),
        ({"device": "abacus"}, "unknown device 'abacus'; give one of"),
        ({"task": "cxr,nothing"}, "unknown task 'nothing'"),
        ({"workers": -1}, "--workers must be 0 or more"),
    ],
)
def test_what_is_not_known_is_refused(tmp_path: Path, wrong: dict[str, object], message: str) -> None:
    asked: dict[str, object] = {"task": "cxr", "method": "cyborg", "data": "standin", "out": tmp_path, **wrong}
    with pytest.raises(UserError, match=message):
        running.run(**asked)  # type: ignore[arg-type]
