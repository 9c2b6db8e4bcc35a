"""Explaining from Python: what the command shows is what a call returns, with files or without."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from divsal_bench.data import catalogue
from divsal_bench.errors import UserError
from divsal_bench.grid import planning, work
from divsal_bench.registry import method_choice, protocols
from divsal_bench.registry.plugins import tasks
from divsal_bench.runs.reading import Run, read_run
from divsal_bench.workflows import explaining
from divsal_bench.workflows.loading import load_pretrained
from divsal_bench.workflows.predicting import predict

TINY = dataclasses.replace(
    protocols.find_protocol("quick-v1"),
    epochs=1,
    input_size=32,
    backbone_args={"channels": [4, 4, 8, 8], "stem_width": 4},
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("explaining") / "runs"
    methods = tuple(method_choice.choose_methods("cross-entropy"))
    for job in planning.plan(planning.Grid(("cxr",), methods, (0,), folder, TINY, data="standin"))[0].jobs:
        work.execute(job)
    return read_run(next((folder / "cxr/cross-entropy").iterdir()))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two test images and their maps."""
    folder = tmp_path_factory.mktemp("files")
    drawn = tasks().get("cxr").draw_standin("standin", catalogue.STANDIN_SEED)
    mapped = drawn.rows.index[(drawn.rows["split"] == "test") & (drawn.rows["saliency_kind"] != "none")][:2]
    for kind, pixels in (("images", drawn.images), ("maps", drawn.maps)):
        (folder / kind).mkdir()
        for row in mapped:
            Image.fromarray(pixels[row]).save(folder / kind / f"{drawn.rows['sample_id'][row]}.png")
    return folder


def test_without_a_folder_nothing_is_written(run: Run, files: Path) -> None:
    before = sorted(files.rglob("*"))
    told: list[tuple[int, int]] = []
    found = explaining.explain(
        run.path, [files / "images"], human=files / "maps", maps=["difference", "true-class"], label="abnormal",
        on_image=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    assert sorted(files.rglob("*")) == before
    assert found.written == found.failed == ()
    assert told == [(1, 2), (2, 2)]
    assert [[one.name for one in each.maps] for each in found.explanations] == [["difference", "true-class"]] * 2
    assert list(found.frame()["explained"]) == ["abnormal"] * 2
    parts = found.regions()
    assert len(repr(found)) < 1000
    assert parts[["logits", "inside_human_map", "margin_moves"]].dtypes.tolist() == [float] * 3
    assert set(parts["agrees"]) <= {True, False, None}
    sums = parts.groupby("image", sort=False)["logits"].sum()
    assert sums.tolist() == pytest.approx(found.frame()["margin"].tolist(), abs=1e-4)


def test_every_file_that_is_written_is_named(run: Run, files: Path, tmp_path: Path) -> None:
    found = explaining.explain(run.path, [files / "images"], out=tmp_path / "out", csv=True, keep=False)
    assert sorted(found.written) == sorted((tmp_path / "out").iterdir())
    assert found.explanations == ()
    assert {path.suffix for path in found.written} == {".png", ".json", ".csv"}
    stored = json.loads(next(path for path in found.written if path.suffix == ".json").read_text(encoding="utf-8"))
    assert stored["margin"]["logits"] == pytest.approx(found.frame()["margin"][0], rel=1e-6)
    with pytest.raises(UserError, match="exists; choose another folder"):
        explaining.explain(run.path, [files / "images"], out=tmp_path / "out", csv=True)


def test_a_data_set_without_and_with_files(run: Run, tmp_path: Path) -> None:
    found = explaining.explain_set(run.path, "validation", limit=40)
    assert found.written == ()
    assert len(found.frame()) == 40
    again = explaining.explain_set(run.path, "validation", limit=40, out=tmp_path)
    report, samples = again.written
    assert report.read_text(encoding="utf-8") == again.page == found.page
    assert pd.read_csv(samples)["score"].to_numpy() == pytest.approx(found.frame()["score"].to_numpy())


def test_a_run_and_its_network_are_models_like_the_folder(run: Run, files: Path) -> None:
    network = load_pretrained(run)
    assert load_pretrained(network) is network
    frames = [explaining.explain(model, files / "images").frame() for model in (run.path, run, network)]
    scores = [predict(model, files / "images").frame() for model in (run.path, run, network)]
    sets = [explaining.explain_set(model, limit=40).frame() for model in (run.path, run, network)]
    for first, *others in (frames, scores, sets):
        for other in others:
            pd.testing.assert_frame_equal(first, other)
    with pytest.raises(UserError, match="model takes a folder, a Hub id, a Run or a Pretrained, not int"):
        predict(5, files / "images")  # type: ignore[arg-type]
