"""Decoded data that is deleted, cut or altered while runs read it: never trained on, no fault of a method, mended."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

from divsal_bench import cli
from divsal_bench.data.stored_rows import HEADER_BYTES
from divsal_bench.errors import UserError
from divsal_bench.grid import planning, pool
from divsal_bench.grid.jobs import Job
from divsal_bench.grid.pool import Event
from divsal_bench.registry import method_choice, protocols
from divsal_bench.runs.reading import read_runs

#: Three epochs, so that there is time for what happens to the data after the first.
TINY = dataclasses.replace(
    protocols.find_protocol("quick-v1"),
    backbone_args={"channels": [8, 8, 8, 8], "stem_width": 8}, input_size=32, output_stride=8, threads=1, epochs=3,
)  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    """A home whose data is decoded, and the predictions of a run on it that nothing happens to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIVSAL_BENCH_HOME", str(folder / "home"))
        (run,) = pool.run_jobs([planned(folder / "runs")[0]], 0)
    return folder / "home", run.predictions()


@pytest.fixture(autouse=True)
def damageable(undisturbed: tuple[Path, pd.DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """A cache that may be damaged."""
    shutil.copytree(undisturbed[0], tmp_path / "home")
    monkeypatch.setenv("DIVSAL_BENCH_HOME", str(tmp_path / "home"))
    return undisturbed[1]


def planned(out: Path) -> tuple[Job, Path, pd.DataFrame]:
    """A run to make, where its data is, and the data's rows."""
    choice = tuple(method_choice.choose_methods("cyborg"))
    (part,) = planning.plan(planning.Grid(("cxr",), choice, (0,), out, TINY, data="standin", device="cpu"))
    return part.jobs[0], part.data.path, part.data.rows


def alter(file: Path, row: int, of: int) -> None:
    """Flip a bit in the middle of one row of so many."""
    size = (file.stat().st_size - HEADER_BYTES) // of
    with file.open("r+b") as opened:
        opened.seek(HEADER_BYTES + size * row + size // 2)
        (byte,) = opened.read(1)
        opened.seek(-1, os.SEEK_CUR)
        opened.write(bytes([byte ^ 64]))


def last_test_row(rows: pd.DataFrame) -> int:
    return int((rows["split"] == "test").to_numpy().nonzero()[0][-1])


@pytest.mark.parametrize(("how", "workers"), [("deleted", 0), ("deleted", 1), ("cut", 0), ("altered", 1)])
def test_what_happens_to_the_data_while_it_is_read(
    tmp_path: Path, damageable: pd.DataFrame, how: str, workers: int
) -> None:
    job, cache, rows = planned(tmp_path / "runs")

    def after_an_epoch(event: Event) -> None:
        if event.kind == "epoch" and event.done == 1:
            if how == "deleted":
                shutil.rmtree(cache)
            elif how == "cut":
                os.truncate(cache / "images.npy", HEADER_BYTES + 5000)
            else:
                alter(cache / "images.npy", last_test_row(rows), len(rows))

    if how == "deleted":
        (run,) = pool.run_jobs([job], workers, after_an_epoch)
    else:
        with pytest.raises(UserError, match=r"the cached data in .* \(row \d+ of images\.npy .*\); give the command"):
            pool.run_jobs([job], workers, after_an_epoch)
        assert not read_runs(tmp_path / "runs")
        job, again, _ = planned(tmp_path / "runs")
        assert again == cache
        (run,) = pool.run_jobs([job], workers)
    assert run.record.status == "done"
    pd.testing.assert_frame_equal(run.predictions(), damageable, check_exact=True)


def test_data_that_takes_the_place_of_what_was_planned_with_is_not_trained_on(tmp_path: Path) -> None:
    job, _, _ = planned(tmp_path / "runs")
    other = dataclasses.replace(job, data=job.data.model_copy(update={"pixel_hash": "0" * 64}))
    with pytest.raises(UserError, match="it holds other data than this run was planned with"):
        pool.run_jobs([other], 0)
    assert not read_runs(tmp_path / "runs")


@pytest.mark.parametrize("name", ["images.npy", "maps.npy"])
def test_altered_data_ends_the_command_in_one_line_and_the_same_command_mends_it(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(protocols.PROTOCOLS, "quick-v1", dataclasses.replace(TINY, epochs=1))
    _, cache, rows = planned(tmp_path / "runs")
    split, mapped = rows["split"], rows["has_map"]
    of, row = (len(rows), 0) if name == "images.npy" else (int(mapped.sum()), 0)
    assert (split if name == "images.npy" else split[mapped]).iloc[row] == "train"
    command = [
        "run", "--task", "cxr", "--data", "standin", "--method", "cyborg", "--seeds", "1", "--workers", "1",
        "--out", str(tmp_path / "runs"),
    ]  # fmt: skip
    alter(cache / name, row, of)
    capsys.readouterr()
    assert cli.main(command) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith(f"divsal-bench: the cached data in {cache} cannot be read (row ")
    assert not read_runs(tmp_path / "runs")
    assert cli.main(command) == 0
    assert [run.record.status for run in read_runs(tmp_path / "runs")] == ["done"]
