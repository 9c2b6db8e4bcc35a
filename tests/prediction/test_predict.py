"""``divsal-bench predict`` from end to end, on a real, tiny run: scores, decisions, pictures, and what goes wrong."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import os
import shutil
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from delivered import Delivered
from depths import encoded, ramp
from PIL import Image

from divsal_bench import cli
from divsal_bench.data import catalogue
from divsal_bench.data.prepare import prepare_data_set
from divsal_bench.grid import planning, work
from divsal_bench.prediction import inputs, loading, outputs, overlay, prediction
from divsal_bench.prediction.inputs import Input
from divsal_bench.prediction.prediction import Prediction
from divsal_bench.prediction.preprocessing import Preprocessing
from divsal_bench.registry import method_choice, protocols
from divsal_bench.registry.plugins import tasks
from divsal_bench.runs.reading import Run, read_run
from divsal_bench.scores import scoring
from divsal_bench.tasks.adapters.manifest_csv import ADAPTER

TINY = dataclasses.replace(
    protocols.find_protocol("quick-v1"),
    epochs=1,
    input_size=32,
    backbone_args={"channels": [4, 4, 8, 8], "stem_width": 4},
)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder with two runs."""
    folder = tmp_path_factory.mktemp("runs")
    methods = tuple(method_choice.choose_methods("cross-entropy"))
    for job in planning.plan(planning.Grid(("cxr",), methods, (0, 1), folder, TINY, data="standin"))[0].jobs:
        work.execute(job)
    return folder


@pytest.fixture(scope="module")
def run(out: Path) -> Run:
    return read_run(sorted((out / "cxr/cross-entropy").iterdir())[0])


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of all images that the run was scored on, named by sample."""
    folder = tmp_path_factory.mktemp("everything")
    drawn = tasks().get("cxr").draw_standin("standin", catalogue.STANDIN_SEED)
    for row in drawn.rows.index[drawn.rows["split"] != "train"]:
        Image.fromarray(drawn.images[row]).save(folder / f"{drawn.rows['sample_id'][row]}.png")
    return folder


@pytest.fixture
def images(everything: Path, tmp_path: Path) -> Path:
    """Six images in two folders, and what is no image."""
    folder = tmp_path / "images"
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for number, file in enumerate(sorted(everything.iterdir())[:3]):
            shutil.copy(file, folder / name / f"{number}.png")
    (folder / "a/.hidden.png").write_bytes(b"x")
    (folder / ".hidden").mkdir()
    (folder / ".hidden/0.png").write_bytes(b"x")
    (folder / "notes.txt").write_text("no image")
    return folder


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """What an error says: one line, nothing on standard output."""
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.startswith("divsal-bench: ")
    return said.err


def repository(run: Run, folder: Path) -> Path:
    """The run's network as a push writes it, without run.json."""
    folder.mkdir()
    shutil.copy(run.path / "model.safetensors", folder)
    assert run.record.scores is not None
    point = run.record.scores.thresholds[0]
    content = {
        "architecture": run.spec.backbone,
        "num_classes": 2,
        "model_args": run.record.model_args,
        "pretrained_cfg": Preprocessing.of_protocol(TINY, 1).as_config(),
        "divsal_bench": {
            "run_id": run.record.run_id,
            "image_mode": "L",
            "class_names": ["normal", "abnormal"],
            "threshold": point.value,
            "threshold_rule": point.rule,
        },
    }
    (folder / "config.json").write_text(json.dumps(content))
    return folder


def test_run_and_repository_give_the_stored_predictions(
    run: Run, everything: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From files to decisions; exact, since the images are taken in the run's order and batches."""
    predictions = run.predictions()
    with (tmp_path / "list.csv").open("w", newline="") as file:
        names = [[f"{everything / sample}.png"] for sample in predictions["sample_id"]]
        csv.writer(file).writerows([["image"], *names])
    scores = scoring.margins(predictions)
    assert run.record.scores is not None
    threshold = run.record.scores.thresholds[0].value
    assert threshold is not None
    for model in (run.path, repository(run, tmp_path / "repository")):
        arguments = ["predict", str(model), str(tmp_path / "list.csv"), "--csv", str(tmp_path / "scores.csv")]
        assert cli.main([*arguments, "--batch-size", "128", "--force"]) == 0
        found = rows_of(tmp_path / "scores.csv")
        assert [float(row["score"]) for row in found] == scores.tolist()
        assert [row["decision"] for row in found] == ["abnormal" if s >= threshold else "normal" for s in scores]
        assert [float(row["probability"]) for row in found] == pytest.approx(1 / (1 + np.exp(-scores)))
        assert {row["error"] for row in found} == {""}
        said = capsys.readouterr()
        lines = said.out.splitlines()
        assert lines[0].split() == ["image", "score", "probability", "decision"]
        assert len(lines) == 2 + 50 + 1
        assert lines[-1] == f"… and {len(scores) - 50:,} more in {tmp_path / 'scores.csv'}"
        assert f"model: {model}\n" in said.err
        limit = f"{threshold:+.4f} on, a probability of {1 / (1 + math.exp(-threshold)):.3f}"
        assert f"abnormal from a score of {limit} (lowest threshold with a false-positive" in said.err
        assert f"{len(scores):,} images: " in said.err


def test_folders_files_and_lists(
    run: Run, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (images / "own.csv").write_text("path,label\n a/0.png ,1\n\nb/1.png,0\n")
    (images / "first.csv").write_text(f"file,label\n{images / 'b/2.png'},1\n")
    (images / "bare.CSV").write_text("a/0.png\na/0.png\n", encoding="utf-8-sig")
    given = ["./images/a/0.png", "images", "images/own.csv", "images/first.csv", "images/bare.CSV"]
    assert cli.main(["predict", str(run.path), *given, "--csv", "s.csv", "--batch-size", "2"]) == 0
    below = [f"images/{folder}/{number}.png" for folder in "ab" for number in range(3)]
    expected = ["./images/a/0.png", *below, "a/0.png", "b/1.png", str(images / "b/2.png"), "a/0.png", "a/0.png"]
    found = rows_of(tmp_path / "s.csv")
    assert [row["image"] for row in found] == expected
    scores = {row["image"]: float(row["score"]) for row in found}
    for image in expected:
        assert scores[image] == pytest.approx(scores[f"images/a/{Path(image).name}"], abs=1e-6)
    assert f"{len(expected)} images: " in capsys.readouterr().err


def bomb() -> bytes:
    """A small PNG that claims to be 30,000 pixels square."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")


def test_what_cannot_be_read_is_a_row_and_the_rest_is_scored(
    run: Run, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = (images / "a/0.png").read_bytes()
    bad = {
        "bomb.png": bomb(),
        "empty.png": b"",
        "text.png": b"no image\n",
        "zero.gif": b"GIF89a\0\0\0\0\0\0\0;",
        "cut.png": whole[: len(whole) // 2],
    }
    for name, data in bad.items():
        (images / name).write_bytes(data)
    Image.fromarray(np.ones((9, 9), np.float32)).save(images / "float.tif")
    (images / "list.csv").write_text("image\nnobody.png\na\na/0.png\n" + "x" * 300 + ".png\n\0.png\n")
    os.mkfifo(images / "pipe")
    monkeypatch.chdir(images)
    given = [*bad, "float.tif", "notes.txt", "list.csv", "pipe", "a/1.png"]
    arguments = [
        "predict",
        str(run.path),
        *given,
        "--csv",
        str(tmp_path / "s.csv"),
        "--overlay",
        str(tmp_path / "maps"),
    ]
    assert cli.main(arguments) == 2
    found = {row["image"]: row for row in rows_of(tmp_path / "s.csv")}
    assert len(found) == 14
    fine = {"a/0.png", "a/1.png"}
    for name, row in found.items():
        assert bool(row["error"]) == (name not in fine), name
        assert (row["score"] == "") == (name not in fine)
        assert (row["decision"] == "") == (name not in fine)
        assert "\n" not in row["error"]
    for name, message in (
        ("empty.png", "is empty"), ("text.png", "is not an image"), ("cut.png", "is truncated"), ("a", "is not a file"),
        ("float.tif", "floating point"), ("bomb.png", "is too large"), ("nobody.png", "is not there"),
        ("pipe", "is not a file"), ("notes.txt", "is not an image"),
    ):  # fmt: skip
        assert message in found[name]["error"]
    said = capsys.readouterr()
    assert "bomb.png" in said.out
    assert said.err.splitlines()[-1].startswith(
        "divsal-bench: 12 of 14 images could not be scored; the first: bomb.png is"
    )
    assert "Warning" not in said.err
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == ["a__0.png", "a__1.png"]


def test_other_modes_and_sizes(run: Run, tmp_path: Path) -> None:
    """Whatever a file's mode, the network sees the same picture; sizes and orientations are undone."""
    grey = np.add.outer(np.arange(48), np.arange(48)).astype(np.uint8) * 2
    image = Image.fromarray(grey)
    image.save(tmp_path / "grey.png")
    for mode in ("RGB", "RGBA", "P", "LA", "CMYK"):
        image.convert("RGB").convert(mode).save(tmp_path / f"{mode}.tif")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "16bit.png")
    Image.fromarray(grey.astype(np.int32) * 257).save(tmp_path / "32bit.tif")
    exif = Image.Exif()
    exif[0x0112] = 6
    image.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    image.resize((480, 200), Image.Resampling.BOX).save(tmp_path / "wide.png")
    image.resize((1, 1)).save(tmp_path / "dot.png")
    Image.fromarray(grey > 60).save(tmp_path / "bits.png")
    assert cli.main(["predict", str(run.path), str(tmp_path), "--csv", str(tmp_path / "s.csv")]) == 0
    scores = {Path(row["image"]).stem: float(row["score"]) for row in rows_of(tmp_path / "s.csv")}
    assert len(scores) == 12
    for name in ("RGB", "RGBA", "LA", "16bit", "32bit", "turned"):
        assert scores[name] == pytest.approx(scores["grey"], abs=1e-5), name
    for name in ("P", "CMYK", "wide"):
        assert scores[name] == pytest.approx(scores["grey"], abs=0.1), name
    assert scores["dot"] != scores["grey"]


def test_files_of_few_bits_in_many_are_told_of_once_and_read_by_a_window(
    run: Run, everything: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in sorted(everything.iterdir())[:5]:
        grey = np.asarray(Image.open(file).convert("L"))
        Image.fromarray(grey).save(tmp_path / file.name)
        Image.fromarray(grey.astype(np.uint16) * 16).save(tmp_path / f"twelve-{file.name}")
    asked = ["predict", str(run.path), str(tmp_path), "--force", "--csv", str(tmp_path.parent / "s.csv")]

    def scores() -> tuple[dict[str, float], list[str]]:
        capsys.readouterr()
        assert cli.main(asked) == 0
        said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("notice: ")]
        return {Path(row["image"]).name: float(row["score"]) for row in rows_of(tmp_path.parent / "s.csv")}, said

    found, (said,) = scores()
    assert said.startswith("notice: 5 of 5 16-bit files use only their lowest 12 bits (largest value ")
    assert "--window 12bit or LO:HI" in said
    plain = {name: score for name, score in found.items() if not name.startswith("twelve")}
    assert max(abs(found[f"twelve-{name}"] - score) for name, score in plain.items()) > 0.05
    asked += ["--window", "0:4080"]
    found, (said,) = scores()
    assert said == "notice: 5 16-bit files were read with 0 as black and 4080 as white"
    assert [found[f"twelve-{name}"] for name in plain] == pytest.approx([found[name] for name in plain], abs=1e-5)
    asked[-1] = "0:400"
    _, said_of_window = scores()
    assert "5 of 5 16-bit files have values above 400; they are cut off there" in said_of_window[1]
    for wrong in ("12", "4095:0", "minmax", "0:99999"):
        assert cli.main([*asked[:-1], wrong]) == 2
        assert f"--window {wrong!r}: write 12bit, or LO:HI" in capsys.readouterr().err


def test_the_window_of_the_training_data_is_that_of_the_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = tasks().get("cxr")
    delivered = Delivered(tmp_path / "delivered")
    for number, row in enumerate(delivered.rows):
        delivered.file(row["image"]).write_bytes(encoded(ramp(0, 4095, number)))
    folder = prepare_data_set(task, ADAPTER, delivered.save(), tmp_path / "p", {"window": "12bit"}).path
    methods = tuple(method_choice.choose_methods("cross-entropy"))
    (job,) = planning.plan(planning.Grid(("cxr",), methods, (0,), tmp_path / "runs", TINY, data=str(folder)))[0].jobs
    work.execute(job)
    run = read_run(next((tmp_path / "runs").glob("cxr/cross-entropy/*")))
    assert run.record.data.windows == {"a": "0:4095", "b": "0:4095"}
    network = loading.pretrained_in(run.path, "")
    assert network.window == (0, 4095)
    file = delivered.file("img/test-a-0.png")
    stored = pd.read_parquet(run.path / "predictions.parquet").set_index("sample_id").loc["img/test-a-0.png"]
    found = network.predict([file])["score"][0]
    assert found == pytest.approx(stored["logit1"] - stored["logit0"], abs=1e-5)
    assert cli.main(["predict", str(run.path), str(file)]) == 0
    assert "1 16-bit files were read with 0 as black and 4095 as white" in capsys.readouterr().err


def test_a_pil_image_with_a_transparent_colour_is_its_file(run: Run, tmp_path: Path) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 4, (40, 40), np.uint8), "P")
    image.putpalette([250, 250, 250, 90, 90, 90, 160, 160, 160, 30, 30, 30])
    image.save(tmp_path / "clear.png", transparency=0)
    found = loading.pretrained_in(run.path, "").predict([tmp_path / "clear.png", Image.open(tmp_path / "clear.png")])
    assert found["score"][0] == pytest.approx(found["score"][1], abs=1e-6)


def test_pictures(run: Run, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    maps = tmp_path / "new/maps"
    asked = ["predict", str(run.path), str(images), str(images / "a/0.png"), "--overlay", str(maps)]
    assert cli.main(asked) == 0
    assert f"maps: {maps}" in capsys.readouterr().err
    names = sorted(path.name for path in maps.iterdir())
    assert names == ["0.png", *(f"{folder}__{number}.png" for folder in "ab" for number in range(3))]
    with Image.open(maps / "a__0.png") as picture:
        assert picture.size[0] >= 2 * 224
        shown = np.asarray(picture.convert("RGB"))
    left, right = shown[12:236, 12:236].astype(int), shown[12:236, 248:472].astype(int)
    assert np.ptp(left, axis=2).max() == 0, "the image is grey"
    assert np.ptp(right, axis=2).max() > 40, "the map is coloured"

    before = (maps / "0.png").read_bytes()
    (maps / "0.png").write_bytes(b"mine")
    assert cli.main(asked) == 2
    assert "and 6 more there exists; choose another folder, or replace it with --force" in one_line(capsys)
    assert (maps / "0.png").read_bytes() == b"mine"
    assert cli.main([*asked, "--force"]) == 0
    assert (maps / "0.png").read_bytes() == before


def test_names_of_pictures_never_lead_out_or_collide() -> None:
    parts = [
        ("a", "x.png"),
        ("b", "x.png"),
        ("a", "X.jpg"),
        ("..", "..", "etc", "x.png"),
        ("..",),
        (),
        ("a\n\x00b.c",),
        ("胸", "é:x.png"),
    ]
    assert outputs.picture_names(parts) == [
        "a__x.png", "b__x.png", "a__X-2.png", "etc__x.png", "image.png", "image-2.png", "a_b.png", "胸__é_x.png"
    ]  # fmt: skip
    assert inputs.relative_parts("a/b/x.png") == ("a", "b", "x.png")
    assert inputs.relative_parts("/data/b/x.png") == inputs.relative_parts("../../x.png") == ("x.png",)
    for long in ("x", "é", "胸"):
        (name,) = outputs.picture_names([("d" * 500, long * 500 + ".png")])
        assert 100 < len(name.encode()) < 200


def test_a_pictures_colours_are_the_maps_signs() -> None:
    pixels = np.full((1, 64, 64), 128, np.uint8)
    difference = np.zeros((8, 8), np.float32)
    difference[:, :2], difference[:, -2:] = -2.0, 4.0
    one = Prediction("x.png", 0.5, 0.6, "fake", "", pixels, difference)
    shown = np.asarray(overlay.overlay_picture(one, ("real", "fake"), 0.25)).astype(int)
    row = shown[12 + 128]
    blue, middle, red = row[280 + 20], row[280 + 128], row[280 + 256 - 20]
    assert blue[2] > blue[0] + 30
    assert red[0] > red[2] + 60
    assert middle.tolist() == [128, 128, 128], "transparent at 0"
    assert abs(red - 128).max() > abs(blue - 128).max(), "one scale for both signs"
    for names in (("real", "fake"), ("a class name that is as long as " + "it may be" * 3, "another " + "long" * 12)):
        draw = overlay.overlay_picture(dataclasses.replace(one, image="folder/" * 40 + "x.png"), names, None)
        assert (np.asarray(draw)[:, -6:] == 255).all(), "nothing is cut off"
        assert (np.asarray(draw)[-6:] == 255).all()


def test_bad_input_is_named_before_any_work(
    run: Run,
    out: Path,
    images: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/a.txt").write_text("x")
    (tmp_path / "there.csv").write_text("mine")
    lists = {
        "none.csv": b"", "heading.csv": b"image,label\n", "gap.csv": b"image,label\na.png,1\n,0\n",
        "short.csv": b"label,image\n1\n", "binary.csv": b"\xff\xfe\x00\x01",
    }  # fmt: skip
    for name, data in lists.items():
        (tmp_path / name).write_bytes(data)
    model, image = str(run.path), str(images)
    there = tmp_path / "there.csv"
    for arguments, message in (
        ([str(tmp_path / "nobody"), image], "there is no folder"),
        (["ann/nobody", image], "ann/nobody"),
        (["a/b/c/d", image], "there is no folder a/b/c/d, and it is no Hub id"),
        ([str(run.path / "run.json"), image], "is a file; give the folder of a run"),
        ([str(tmp_path / "empty"), image], "is neither a divsal-bench nor a timm repository"),
        ([str(out), image], f"holds 2 runs; name one of them: {out}"),
        ([model, str(tmp_path / "empty")], "holds no image"),
        ([model, str(tmp_path / "texts")], "holds no image"),
        ([model, str(tmp_path / "nobody.png")], "there is no file or folder"),
        ([model, str(tmp_path / "none.csv")], "is empty"),
        ([model, str(tmp_path / "heading.csv")], "lists no image below its heading"),
        ([model, str(tmp_path / "gap.csv")], "row 3: no image is named"),
        ([model, str(tmp_path / "short.csv")], "row 2: no image is named in column 2"),
        ([model, str(tmp_path / "binary.csv")], "cannot be read as a CSV file"),
        ([model, image, "--csv", str(there)], "exists; choose another file, or replace it with --force"),
        ([model, image, "--csv", str(tmp_path / "no/s.csv")], "there is no folder"),
        ([model, image, "--csv", str(tmp_path)], "is a folder; name a file"),
        ([model, image, "--csv", str(images / "a/0.png"), "--force"], "would write over the image"),
        ([model, image, "--overlay", str(there)], "is not a folder"),
        ([model, image, "--overlay", str(there / "deeper")], "is not a folder"),
        ([model, str(images / "a"), "--overlay", str(images / "a"), "--force"], "would write over the image"),
        ([model, image, "--device", "tpu"], "unknown device 'tpu'"),
        ([model, image, "--batch-size", "0"], "--batch-size 0"),
    ):
        assert cli.main(["predict", *arguments]) == 2, arguments
        assert message in one_line(capsys), arguments
    assert there.read_text() == "mine"
    assert cli.main(["predict", model, image, "--csv", str(there), "--force"]) == 0
    assert len(rows_of(there)) == 6


def test_networks_that_make_no_decision(
    run: Run, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, (change, message) in enumerate(
        (
            ({"num_classes": 1000, "model_args": {}}, "has 1000 classes"),
            ({"model_args": {**run.record.model_args, "in_chans": 4}}, "takes 4 channels"),
            ({"model_args": {**run.record.model_args, "checkpoint_path": "x"}}, "is not allowed"),
        )
    ):
        folder = repository(run, tmp_path / str(number))
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
        assert cli.main(["predict", str(folder), str(images)]) == 2
        assert message in one_line(capsys)
    folder = repository(run, tmp_path / "pickle")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert cli.main(["predict", str(folder), str(images)]) == 2
    assert "a pickle" in one_line(capsys)
    folder = repository(run, tmp_path / "both")
    shutil.copy(run.path / "run.json", folder)
    assert cli.main(["predict", str(folder), str(images)]) == 0
    capsys.readouterr()
    path = folder / "config.json"
    path.write_text(path.read_text().replace('"output_stride": 8', '"output_stride": 16'))
    assert cli.main(["predict", str(folder), str(images)]) == 2
    assert "config.json and run.json do not agree: output_stride" in one_line(capsys)


def test_an_output_folder_with_one_run_is_that_run(
    run: Run, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(run.path, tmp_path / "out/cxr/cross-entropy/seed0")
    shutil.copytree(run.path, tmp_path / "out/.partial/1-2-new")
    for name in ("out", "out/cxr", "out/cxr/cross-entropy"):
        assert cli.main(["predict", str(tmp_path / name), str(images)]) == 0
        assert "cxr/cross-entropy/seed0" in capsys.readouterr().err


def test_a_threshold_that_nothing_reaches_is_said(
    run: Run, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = repository(run, tmp_path / "never")
    path = folder / "config.json"
    content = json.loads(path.read_text())
    content["divsal_bench"]["threshold"] = None
    path.write_text(json.dumps(content))
    assert cli.main(["predict", str(folder), str(images)]) == 0
    said = capsys.readouterr().err
    assert "no threshold keeps its rule, so nothing is called abnormal" in said
    assert "6 normal, 0 abnormal" in said
    del content["divsal_bench"]["threshold"]
    path.write_text(json.dumps(content))
    assert cli.main(["predict", str(folder), str(images)]) == 0
    said = capsys.readouterr().err
    assert "abnormal from a score of +0.0000 on, a probability of 0.500 (it states none, so 0" in said


def test_images_are_decoded_ahead_but_never_all_at_once(run: Run) -> None:
    """A thousand inputs, and no more are asked for than two batches ahead of what was taken."""
    asked: list[int] = []
    buffer = io.BytesIO()
    Image.new("L", (32, 32)).save(buffer, "PNG")

    def endless() -> Iterator[Input]:
        for number in range(1000):
            asked.append(number)
            yield Input(str(number), buffer.getvalue() if number % 3 else b"", ("x",))

    threads = threading.active_count()
    found = prediction.score_stream(loading.pretrained_in(run.path, ""), endless(), batch_size=8)
    for number in range(100):
        one = next(found)
        assert one.image == str(number), "in order"
        assert math.isnan(one.score) == (number % 3 == 0) == bool(one.error)
        assert one.pixels is None
        assert len(asked) <= number + 1 + 3 * 8
    found.close()  # type: ignore[attr-defined]
    deadline = time.monotonic() + 10
    while threading.active_count() > threads and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == threads


def test_batches_of_large_inputs_are_smaller(run: Run) -> None:
    """So many inputs, as floats, never take more than a quarter of a gigabyte."""
    found = loading.pretrained_in(run.path, "")
    for size, in_chans, asked, expected in (
        (32, 1, 128, 128), (224, 3, 128, 128), (224, 3, 10**9, 445), (2048, 3, 128, 5), (2048, 1, 3, 3),
    ):  # fmt: skip
        large = dataclasses.replace(
            found, preprocessing=Preprocessing(size, "L", in_chans, (0.5,) * in_chans, (0.5,) * in_chans)
        )
        assert prediction.batch_that_fits(large, asked) == expected
        assert expected * 4 * in_chans * size**2 <= 2**28


def test_batches_are_made_smaller_without_a_word(run: Run, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, sizes = loading.pretrained_in(run.path, ""), []
    expected = [one.score for one in prediction.score_stream(found, inputs.collect_images([images]))]
    monkeypatch.setattr(prediction, "LARGEST_BATCH", 4 * 32 * 32 * 4)
    stacked = prediction.as_batch
    monkeypatch.setattr(prediction, "as_batch", lambda pixels: sizes.append(len(pixels)) or stacked(pixels))
    scores = [one.score for one in prediction.score_stream(found, inputs.collect_images([images]))]
    assert sizes == [4, 2]
    assert scores == pytest.approx(expected, abs=1e-6)


def test_a_sliver_is_a_row_with_its_error(run: Run, images: Path, tmp_path: Path) -> None:
    folder = repository(run, tmp_path / "plain")
    path = folder / "config.json"
    content = json.loads(path.read_text())
    content["pretrained_cfg"] |= {"crop_mode": "center", "crop_pct": 0.875}
    path.write_text(json.dumps(content))
    Image.new("L", (1, 20_000)).save(images / "sliver.png")
    assert cli.main(["predict", str(folder), str(images), "--csv", str(tmp_path / "s.csv")]) == 2
    found = {Path(row["image"]).name: row["error"] for row in rows_of(tmp_path / "s.csv")}
    assert "is too long and narrow (1 x 20000 pixels)" in found.pop("sliver.png")
    assert set(found.values()) == {""}


def test_file_names_may_hold_anything(
    run: Run, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "names"
    folder.mkdir()
    data = (images / "a/0.png").read_bytes()
    for name in ("胸部 X,1.png", "a\nb.png", "\x1b[2J.png", '"quoted".png', os.fsdecode(b"\xff.png")):
        (folder / name).write_bytes(data)
    arguments = ["predict", str(run.path), str(folder), "--csv", str(tmp_path / "s.csv")]
    assert cli.main([*arguments, "--overlay", str(tmp_path / "maps")]) == 0
    assert len(rows_of(tmp_path / "s.csv")) == 5
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 2 + 5
    assert "\x1b" not in said.out
    assert len(list((tmp_path / "maps").iterdir())) == 5


def test_scores_that_are_not_finite_are_errors(run: Run, images: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = repository(run, tmp_path / "nan")
    tensors = load_file(folder / "model.safetensors")
    tensors["fc.bias"][1] = math.nan
    save_file(tensors, folder / "model.safetensors")
    assert cli.main(["predict", str(folder), str(images), "--csv", str(tmp_path / "s.csv")]) == 2
    assert {row["error"] for row in rows_of(tmp_path / "s.csv")} == {"gives a score that is not finite"}


def test_maps_and_scores_add_up(run: Run, images: Path) -> None:
    found = loading.pretrained_in(run.path, "")
    bias = found.model.classifier()[1].detach()
    for one in prediction.score_stream(found, inputs.collect_images([images]), with_maps=True):
        assert one.difference is not None
        assert one.pixels is not None
        assert one.pixels.shape == (1, 32, 32)
        assert one.difference.shape == (4, 4)
        assert float(one.difference.mean() + (bias[1] - bias[0])) == pytest.approx(one.score, abs=1e-4)
