"""Studying from Python: what is trained, what is measured, and where the numbers stand."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from divsal_bench.errors import UserError
from divsal_bench.grid import planning, work
from divsal_bench.registry import method_choice, protocols
from divsal_bench.runs.reading import Run, read_runs
from divsal_bench.studies import case
from divsal_bench.workflows import studying

TINY = dataclasses.replace(
    protocols.find_protocol("quick-v1"),
    epochs=1,
    input_size=32,
    backbone_args={"channels": [4, 4, 8, 8], "stem_width": 4},
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("studying") / "runs"
    methods = tuple(method_choice.choose_methods("cross-entropy,cyborg"))
    for job in planning.plan(planning.Grid(("iris-pad",), methods, (0, 1), out, TINY, data="standin"))[0].jobs:
        work.execute(job)
    return out


def test_runs_that_are_there_are_measured_and_nothing_is_trained(runs: Path) -> None:
    said: list[str] = []
    (table,) = studying.study("difference", [runs], images=4, say=said.append)
    assert said == [f"iris-pad {method} seed {seed}" for method in ("cross-entropy", "cyborg") for seed in (0, 1)]
    assert {method for _, method, _ in table.rows} == {"cross-entropy", "cyborg"}
    frame = table.frame()
    assert list(frame.columns) == ["task (data)", "method", "map", "metric", "seed", "value"]
    assert len(frame) == sum(len(values) for row in table.rows.values() for values in row.values())
    (none,) = studying.study("difference", [runs], task="cxr")
    assert none.rows == {}


def test_a_study_trains_what_its_question_asks_for(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(case, "STEPS", (0, 20))
    asked: list[tuple[Any, ...]] = []

    def run(task: Any, method: str, **settings: Any) -> list[Run]:
        asked.append((task, method, settings["head"], settings["seeds"], settings["data"]))
        return [run for run in read_runs(runs) if run.spec.method in method.split(",")]

    monkeypatch.setattr(studying.running, "run", run)
    tables = studying.study("case", task="iris-pad", seeds=2, images=2, epochs=1, out=tmp_path)
    assert asked == [("iris-pad", "cross-entropy", "two-logit", 2, None)]
    assert len(tables) == 4
    assert tables[2].rows[("iris-pad", "  1")]["cosine"]


def test_what_is_not_known_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown study 'imbalanced'"):
        studying.study("imbalanced")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="unknown task 'nothing'"):
        studying.study("case", task="iris-pad,nothing", out=tmp_path)
    with pytest.raises(UserError, match="holds no finished run"):
        studying.study("difference", [tmp_path])
