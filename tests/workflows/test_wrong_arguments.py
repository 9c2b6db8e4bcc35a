"""An argument of another kind than a function takes is refused in one line that names it; results show short."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from written_runs import write_run

import divsal_bench
from divsal_bench.errors import UserError

pytestmark = pytest.mark.fast

#: What is called with a run directory, and how the refusal begins.
WRONG: dict[str, tuple[Callable[[Any], object], str]] = {
    "seeds": (lambda run: divsal_bench.run("cxr", "cyborg", seeds=1.5, data="standin"), "seeds takes a number, "),  # type: ignore[arg-type]
    "several seeds": (lambda run: divsal_bench.run("cxr", "cyborg", seeds=[0.5]), "each of seeds takes a whole number"),  # type: ignore[list-item]
    "seed below 0": (
        lambda run: divsal_bench.run("cxr", "cyborg", seeds=[-1], data="standin"),
        "--seeds: -1 is no seed",
    ),
    "no folder": (lambda run: divsal_bench.board(""), "runs names no folder"),
    "method": (lambda run: divsal_bench.run("cxr", 5, seeds=1), "method takes a name, several, "),  # type: ignore[arg-type]
    "method object": (
        lambda run: divsal_bench.run("cxr", divsal_bench.load_method("cyborg"), seeds=1),  # type: ignore[arg-type]
        "method takes a name, several, or one text with commas, not Cyborg",
    ),
    "task": (lambda run: divsal_bench.run(5), "task takes a name, several, "),  # type: ignore[arg-type]
    "workers": (lambda run: divsal_bench.run("cxr", "cyborg", seeds=1, data="standin", workers="two"), "workers takes"),  # type: ignore[arg-type]
    "minutes": (
        lambda run: divsal_bench.run("cxr", "cyborg", seeds=1, data="standin", checkpoint_minutes="x"),  # type: ignore[arg-type]
        "checkpoint_minutes takes a number, not 'x'",
    ),
    "minutes below 0": (
        lambda run: divsal_bench.run("cxr", "cyborg", seeds=1, data="standin", checkpoint_minutes=-1),
        "--checkpoint-minutes must be 0 (none) or more, not -1",
    ),
    "board": (lambda run: divsal_bench.board(5), "runs takes an output folder, "),  # type: ignore[arg-type]
    "compare": (lambda run: divsal_bench.compare(1, 2), "first takes an output folder, "),  # type: ignore[arg-type]
    "compare second": (lambda run: divsal_bench.compare(run, [2]), "second takes an output folder, "),  # type: ignore[list-item]
    "predict": (lambda run: divsal_bench.predict(run, 5), "images takes image files, "),  # type: ignore[arg-type]
    "predict batches": (lambda run: divsal_bench.predict(run, "x.png", batch_size="x"), "batch_size takes a whole"),  # type: ignore[arg-type]
    "explain": (lambda run: divsal_bench.explain(run, np.zeros((4, 4))), "images takes image files, "),  # type: ignore[arg-type]
    "load_run": (lambda run: divsal_bench.load_run(3), "run takes a run directory as text or Path, not 3"),  # type: ignore[arg-type]
    "load_method": (lambda run: divsal_bench.load_method(3), "method takes a name, "),  # type: ignore[arg-type]
    "load_task": (lambda run: divsal_bench.load_task(3), "name takes a task's name"),  # type: ignore[arg-type]
    "load_pretrained": (lambda run: divsal_bench.load_pretrained(3), "model takes a folder, "),  # type: ignore[arg-type]
    "audit": (lambda run: divsal_bench.audit(run, images="x"), "images takes a whole number, not 'x'"),  # type: ignore[arg-type]
    "audit k": (lambda run: divsal_bench.audit(run, k="x"), "k takes a number, not 'x'"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", WRONG)
def test_what_an_argument_does_not_take_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    call, message = WRONG[name]
    run = write_run(tmp_path / "runs", "cyborg", 0, 1.0)
    with pytest.raises(UserError) as caught:
        call(getattr(run, "path", run))
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_runs_and_boards_show_short(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", "cyborg", 0, 1.0)
    board = divsal_bench.board(tmp_path / "runs")
    assert repr(board) == f"Board(cxr {board.tables[0].data}, 1 method)"
    (path,) = (tmp_path / "runs/cxr/cyborg").iterdir()
    assert repr(divsal_bench.load_run(path)) == f"Run(path={path!r})"


def test_only_public_names_are_listed() -> None:
    assert {name for name in dir(divsal_bench) if not name.startswith("__")} == set(divsal_bench.__all__) - {
        "__version__"
    }
