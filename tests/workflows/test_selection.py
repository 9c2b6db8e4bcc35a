"""Runs are given as one has them, and are the same runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from written_runs import write_run

from divsal_bench.errors import UserError
from divsal_bench.runs.reading import Run, read_runs
from divsal_bench.workflows.found_runs import found_runs
from divsal_bench.workflows.selection import Runs, runs_meant

pytestmark = pytest.mark.fast


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An output folder: two methods, two seeds."""
    for method in ("cross-entropy", "cyborg"):
        for seed in range(2):
            write_run(tmp_path / "runs", method, seed, 1.0)
    return tmp_path / "runs"


GIVEN: list[Callable[[Path], Runs]] = [
    lambda out: out,
    str,
    lambda out: [out],
    read_runs,
    lambda out: (run for run in read_runs(out)),
    lambda out: [out / "cxr" / "cross-entropy", str(out / "cxr" / "cyborg")],
    lambda out: [run.path for run in read_runs(out)],
    lambda out: [read_runs(out)[0], *(run.path for run in read_runs(out)[1:])],
]


def ids(runs: list[Run]) -> list[str]:
    return sorted(run.record.run_id for run in runs)


@pytest.mark.parametrize("given", GIVEN)
def test_folders_directories_and_runs_are_the_same_runs(given: Callable[[Path], Runs], out: Path) -> None:
    assert ids(runs_meant(given(out))) == ids(read_runs(out))
    found = found_runs(given(out))
    assert ids([one.run for one in found]) == ids(read_runs(out))
    assert {one.origin for one in found} == {""}


def test_one_run_alone(out: Path) -> None:
    run = read_runs(out)[0]
    assert runs_meant(run) == runs_meant(run.path) == [one.run for one in found_runs(run)] == [run]


def test_what_is_given_twice_is_found_once(out: Path) -> None:
    assert len(found_runs([out, read_runs(out)[0], str(out)])) == 4
    assert len(runs_meant([out, read_runs(out)[0], str(out)])) == 4


@pytest.mark.parametrize("names", ["cyborg", ["cyborg"], "cyborg,difference", ("cyborg", "difference")])
def test_methods_are_named_by_one_text_or_several(names: str | list[str], out: Path) -> None:
    assert {run.spec.method for run in runs_meant(out, method=names)} == {"cyborg"}
    assert len(runs_meant(out, task=["cxr", "iris-pad"], method=names)) == 2
    with pytest.raises(UserError, match="no run is of that task and method"):
        runs_meant(out, task="iris-pad")


def test_nothing_given_and_nothing_there_are_refused(out: Path) -> None:
    for empty in ([], iter([])):
        with pytest.raises(UserError, match="no runs are given"):
            runs_meant(empty)
    for wrong in ("nowhere", Path("org/name")):
        with pytest.raises(UserError, match="there is no folder"):
            found_runs(wrong)
