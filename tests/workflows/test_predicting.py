"""Predicting from Python: what the command prints is what a call returns, and nothing is printed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from divsal_bench import cli
from divsal_bench.errors import UserError
from divsal_bench.grid import planning, work
from divsal_bench.registry import method_choice, protocols
from divsal_bench.workflows import predicting

TINY = dataclasses.replace(
    protocols.find_protocol("quick-v1"),
    epochs=1,
    input_size=32,
    backbone_args={"channels": [4, 4, 8, 8], "stem_width": 4},
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    grid = planning.Grid(
        ("cxr",),
        tuple(method_choice.choose_methods("cross-entropy")),
        (0,),
        tmp_path_factory.mktemp("here") / "runs",
        TINY,
        data="standin",
    )
    (job,) = planning.plan(grid)[0].jobs
    return work.execute(job)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two images, one of them of 16 bits; a damaged one; and no image."""
    folder = tmp_path / "images"
    folder.mkdir()
    Image.new("L", (40, 30), 90).save(folder / "a.png")
    Image.fromarray(np.full((30, 40), 4000, np.uint16)).save(folder / "b.png")
    (folder / "c.png").write_bytes(b"x")
    (folder / "d.txt").write_text("x")
    return folder


def test_a_call_returns_what_the_command_prints(
    run: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps: list[tuple[int, int]] = []
    found = predicting.predict(
        run, images, csv=tmp_path / "call.csv", overlay=tmp_path / "maps", on_image=lambda *at: steps.append(at)
    )
    assert capsys.readouterr() == ("", "")
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == ["a.png", "b.png"]
    assert list(found.frame()["image"]) == [str(images / name) for name in ("a.png", "b.png", "c.png")]
    assert [one.image for one in found.failed] == [str(images / "c.png")]
    assert sum(found.counts.values()) == 2

    assert cli.main(["predict", str(run), str(images), "--csv", str(tmp_path / "command.csv")]) == 2
    said = capsys.readouterr().err
    assert (tmp_path / "command.csv").read_bytes() == (tmp_path / "call.csv").read_bytes()
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "call.csv", keep_default_na=False, na_values={"score": "", "probability": ""}),
        found.frame(), check_dtype=False,
    )  # fmt: skip
    (notice,) = found.notices
    counts = ", ".join(f"{count} {name}" for name, count in found.counts.items())
    for line in (
        f"notice: {notice}", f"model: {run}", f"threshold: {found.threshold}",
        f"3 images: {counts}, 1 not scored{found.left_out}",
    ):  # fmt: skip
        assert line in said.splitlines()
    assert "use only their lowest 12 bits" in notice
    assert found.left_out.startswith("; 1 file has no suffix")


def test_one_image_and_a_window(run: Path, images: Path) -> None:
    dark, seen = (predicting.predict(str(run), str(images / "b.png"), window=window) for window in (None, "12bit"))
    assert dark.frame()["score"][0] != seen.frame()["score"][0]
    assert seen.notices == ("1 16-bit files were read with 0 as black and 4095 as white",)


def test_what_is_there_is_not_replaced(run: Path, images: Path, tmp_path: Path) -> None:
    (tmp_path / "there.csv").write_text("mine")
    with pytest.raises(UserError, match="exists; choose another file"):
        predicting.predict(run, images, csv=tmp_path / "there.csv")
    with pytest.raises(UserError, match="there is no folder"):
        predicting.predict(tmp_path / "nobody", images)
    with pytest.raises(UserError, match="is no number of images"):
        predicting.predict(run, images, batch_size=0)
