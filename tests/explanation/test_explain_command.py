"""``divsal-bench explain`` of image files, from end to end on tiny runs: numbers, figures, and what goes wrong."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
from PIL import Image
from safetensors.torch import save_file

from divsal_bench import cli
from divsal_bench.data import catalogue, colormaps
from divsal_bench.explanation import examples, image_figure
from divsal_bench.explanation import image as single
from divsal_bench.grid import planning, work
from divsal_bench.networks.inference import as_input
from divsal_bench.pictures import figure
from divsal_bench.prediction import decoding, loading, pretrained
from divsal_bench.prediction.inputs import Input
from divsal_bench.prediction.preprocessing import Preprocessing
from divsal_bench.registry import method_choice, protocols
from divsal_bench.registry.plugins import tasks
from divsal_bench.runs.reading import Run, read_run
from divsal_bench.scores.agreement import COLUMNS

TINY = dataclasses.replace(
    protocols.find_protocol("quick-v1"),
    epochs=1,
    input_size=32,
    backbone_args={"channels": [4, 4, 8, 8], "stem_width": 4},
)


def trained(folder: Path, task: str, head: str = "two-logit") -> Run:
    methods = tuple(method_choice.choose_methods("cross-entropy"))
    grid = planning.Grid((task,), methods, (0,), folder, TINY, data="standin", head=head)  # type: ignore[arg-type]
    for job in planning.plan(grid)[0].jobs:
        work.execute(job)
    return read_run(next((folder / task / "cross-entropy").iterdir()))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Grey images, two logits."""
    return trained(tmp_path_factory.mktemp("runs"), "cxr")


@pytest.fixture(scope="module")
def one_logit(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(tmp_path_factory.mktemp("one"), "cxr", "one-logit")


@pytest.fixture(scope="module")
def colour(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(tmp_path_factory.mktemp("colour"), "face-pad")


def repository(folder: Path, architecture: str = "resnet10t", **arguments: Any) -> Path:
    """A folder as timm writes it, without run.json: three channels, two classes, its own cropping."""
    folder.mkdir(parents=True)
    net = timm.create_model(architecture, num_classes=2, **arguments)
    save_file(net.state_dict(), folder / "model.safetensors")
    stated = {"input_size": [3, 64, 64], "crop_pct": 0.9, "crop_mode": "center", "interpolation": "bicubic"}
    stated |= {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.2]}
    content = {"architecture": architecture, "num_classes": 2, "model_args": arguments, "pretrained_cfg": stated}
    (folder / "config.json").write_text(json.dumps({**content, "label_names": ["live", "spoof"]}))
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six mapped test images of the chest X-ray data, ``images/ID.png``, and their maps, ``maps/ID.png``."""
    folder = tmp_path_factory.mktemp("files")
    drawn = tasks().get("cxr").draw_standin("standin", catalogue.STANDIN_SEED)
    mapped = drawn.rows.index[(drawn.rows["split"] == "test") & (drawn.rows["saliency_kind"] != "none")][:6]
    for kind, pixels in (("images", drawn.images), ("maps", drawn.maps)):
        (folder / kind).mkdir()
        for row in mapped:
            Image.fromarray(pixels[row]).save(folder / kind / f"{drawn.rows['sample_id'][row]}.png")
    return folder


@pytest.fixture
def image(files: Path) -> Path:
    return sorted((files / "images").iterdir())[0]


def explain(*arguments: object) -> int:
    return cli.main(["explain", *map(str, arguments)])


def content(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """What an error says: one line, nothing on standard output."""
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1, said.err
    assert said.err.startswith("divsal-bench: ")
    return said.err


# -- the numbers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["run", "one_logit", "colour", "repository"])
def test_regions_rest_and_bias_are_the_margin_that_predict_gives(
    which: str, request: pytest.FixtureRequest, files: Path, tmp_path: Path
) -> None:
    model = repository(tmp_path / "timm") if which == "repository" else request.getfixturevalue(which).path
    out, names = tmp_path / "out", sorted(path.stem for path in (files / "images").iterdir())
    assert explain(model, files / "images", "--out", out, "--csv") == 0
    network = loading.pretrained_in(model, "")
    scores = network.predict([files / "images" / f"{name}.png" for name in names])
    for name, score, decision in zip(names, scores["score"], scores["decision"], strict=True):
        found = content(out / f"{name}.json")
        parts = found["regions"]
        assert found["score"] == pytest.approx(score, rel=1e-5, abs=1e-5)
        assert found["decision"] == found["explained"]["class"] == decision
        assert found["explained"]["because"] == "predicted class"
        summed = sum(one["logits"] for one in parts["named"]) + parts["rest"]["logits"] + parts["bias"]
        assert summed == pytest.approx(found["margin"]["logits"], rel=1e-4, abs=1e-4)
        assert parts["sum"] == pytest.approx(summed, rel=1e-6, abs=1e-6)
        assert len(parts["named"]) <= single.NAMED
        towards = score if decision == network.class_names[1] else -score
        assert found["margin"]["logits"] == pytest.approx(towards, rel=1e-5, abs=1e-5)
        sign = {found["explained"]["class"]: 1, found["explained"]["other"]: -1}
        assert all(one["logits"] * sign[one["speaks_for"]] > 0 for one in parts["named"])
        difference = np.array(found["maps"]["difference"]["values"])
        for one in parts["named"]:
            cells = tuple(np.array(one["cells"]).T)
            assert difference[cells].sum() / difference.size == pytest.approx(one["logits"], rel=1e-6, abs=1e-9)
            assert one["covered"]["expected"] == -one["logits"]
            assert one["covered"]["that_way"] == (one["covered"]["margin_moves"] * one["logits"] < 0)
            assert one["inside_human_map"] is None
        assert found["maps"]["difference"]["agreement"] is None
    summary, regions = rows_of(out / "images.csv"), rows_of(out / "regions.csv")
    assert [row["image"] for row in summary] == [str(files / "images" / f"{name}.png") for name in names]
    for row in summary:
        own = [one for one in regions if one["image"] == row["image"]]
        assert own[-1]["part"] == "sum = margin"
        assert float(own[-1]["logits"]) == pytest.approx(sum(float(one["logits"]) for one in own[:-1]), abs=1e-9)
        assert float(row["margin"]) == pytest.approx(float(own[-1]["logits"]), rel=1e-4, abs=1e-4)


def test_agreement_with_people_is_that_of_the_run(run: Run, files: Path, tmp_path: Path) -> None:
    """The same definitions and the same geometry as when the run was evaluated."""
    stored = run.predictions().set_index("sample_id")
    labels = {path.stem: ("normal", "abnormal")[stored["label"][path.stem]] for path in (files / "images").iterdir()}
    with (tmp_path / "list.csv").open("w", newline="") as file:
        rows = [[files / "images" / f"{name}.png", label] for name, label in labels.items()]
        csv.writer(file).writerows([["image", "label"], *rows])
    assert explain(run.path, tmp_path / "list.csv", "--human", files / "maps", "--out", tmp_path / "out", "--csv") == 0
    for row in rows_of(tmp_path / "out/images.csv"):
        name = Path(row["image"]).stem
        assert (row["explained"], row["because"]) == (labels[name], "true class")
        for kind, stem in (("true", "true-class"), ("difference", "difference")):
            for column in COLUMNS:
                wanted = stored[f"{kind}_{column}"][name]
                found = float(row[f"{stem}_{column}"] or "nan")
                assert found == pytest.approx(wanted, rel=1e-4, abs=1e-4, nan_ok=True), (name, column)


def test_covering_a_region_is_what_it_says(run: Run, image: Path, tmp_path: Path) -> None:
    """Done again by hand: the region's pixels take the mean colour, and the network is asked again."""
    assert explain(run.path, image, "--out", tmp_path, "--label", "normal") == 0
    found = content(next(tmp_path.glob("*.json")))
    network = loading.pretrained_in(run.path, "")
    pixels, _ = decoding.looked_at(network, image)
    assert isinstance(pixels, np.ndarray)
    side = pixels.shape[1] // len(found["maps"]["difference"]["values"])
    import torch

    floats = as_input(torch.from_numpy(pixels.copy())[None], network.input_form)
    for one in found["regions"]["named"]:
        covered = floats.clone()
        for y, x in one["cells"]:
            covered[..., y * side : (y + 1) * side, x * side : (x + 1) * side] = 0
        with torch.inference_mode():
            before, after = (network.model.forward(batch)[0][0].double() for batch in (floats, covered))
        moved = float((after[0] - after[1]) - (before[0] - before[1]))
        assert one["covered"]["margin_moves"] == pytest.approx(moved, abs=1e-4)


def test_scores_in_half_precision_are_those_of_predict(run: Run, image: Path) -> None:
    """A network trained under autocast is explained under it."""
    network = dataclasses.replace(loading.pretrained_in(run.path, ""), precision="bf16")
    read = examples.open_example(network, examples.Example(Input("x", image, ("x",))))
    assert isinstance(read, examples.Opened)
    found = single.explain_image(network, "x", read, 1, single.DEFAULT)
    (score,) = network.predict([image])["score"]
    assert found.score == pytest.approx(score, abs=1e-4)
    assert found.regions is not None
    assert found.regions.margin == pytest.approx(score, abs=1e-3)
    plain = single.explain_image(dataclasses.replace(network, precision="fp32"), "x", read, 1, single.DEFAULT)
    assert plain.score != found.score


# -- what is printed and drawn -------------------------------------------------------------------------------


def test_the_table_of_one_image(run: Run, files: Path, image: Path, tmp_path: Path, capsys: Any) -> None:
    human = files / "maps" / image.name
    asked = ["--human", human, "--label", "abnormal", "--out", tmp_path]
    assert explain(run.path, image, *asked) == 0
    said = capsys.readouterr()
    found = content(next(tmp_path.glob("*.json")))
    lines = said.out.splitlines()
    assert lines[0].startswith(
        f"{image}: abnormal (true class), margin abnormal − normal {found['margin']['logits']:+.4f}"
    )
    heads = ("region", "speaks for", "logits", "inside human map", "covered: margin moves", "as its logits say")
    assert all(head in lines[1] for head in heads)
    assert "%" not in said.out
    shown = [line.split() for line in lines[3 : 3 + len(found["regions"]["named"])]]
    for words, one in zip(shown, found["regions"]["named"], strict=True):
        assert words[1] == one["speaks_for"]
        assert words[2] == f"{one['logits']:+.4f}"
        assert words[3] == f"{one['inside_human_map']:.3f}"
        assert words[5] == ("yes" if one["covered"]["that_way"] else "no")
    ends = [line.split("  ")[0] for line in lines[3 + len(shown) :][:3]]
    assert ends[0].startswith("rest (")
    assert ends[1:] == ["bias", "sum = margin"]
    assert "That is a sum, not a cause" in said.err
    assert f"model: {run.path}" in said.err

    files_before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(files_before) == 2
    assert explain(run.path, image, *asked) == 2
    assert "exists; choose another folder, or replace it with --force" in one_line(capsys)
    assert explain(run.path, image, *asked, "--force") == 0
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == files_before, "deterministic"


def test_many_images_get_a_row_each(run: Run, files: Path, tmp_path: Path, capsys: Any) -> None:
    assert explain(run.path, files / "images", "--human", files / "maps", "--out", tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + 6
    assert lines[0].split("  ")[0] == "image"
    assert "lift" in lines[0]
    assert "error" not in lines[0]


def opened(found: single.Explanation) -> Image.Image:
    import io

    return Image.open(io.BytesIO(image_figure.explanation_png(found)))


def explained(model: Path, image: Path, names: tuple[str, ...] = single.DEFAULT, **given: Any) -> single.Explanation:
    network = loading.pretrained_in(model, "")
    example = examples.Example(Input(image.name, image, (image.name,)), human=given.get("human"))
    read = examples.open_example(network, example)
    assert isinstance(read, examples.Opened)
    return single.explain_image(network, image.name, read, given.get("label"), names)


def test_the_figure_has_all_panels_on_one_scale(run: Run, files: Path, image: Path) -> None:
    found = explained(run.path, image, human=files / "maps" / image.name, label=1)
    across = figure.GAP + image_figure.COLUMNS * (figure.SIDE + figure.GAP)
    assert opened(found).width == across
    extent = figure.extent_of(*[one.values for one in found.maps if one.values is not None])
    panels = [image_figure.map_panel(found, one, extent) for one in found.maps]
    assert [panel.title for panel in panels] == [
        "CAM of abnormal (true class)", "CAM of normal", "difference: abnormal − normal", "CASE of abnormal",
        "CASE of abnormal, clamped",
    ]  # fmt: skip
    assert {panel.extent for panel in panels if panel.values is not None and not panel.note} == {extent}
    assert [panel.signed for panel in panels[:3]] == [True] * 3
    assert len(panels[2].outlines) == len(found.regions.shown)  # type: ignore[union-attr]
    assert not panels[0].outlines


def test_an_undefined_map_is_its_reason(one_logit: Run, image: Path) -> None:
    found = explained(one_logit.path, image)
    case = found.map("case")
    assert case is not None
    assert case.values is None
    panel = image_figure.map_panel(found, case, 1.0)
    assert panel.text.startswith("Undefined: for a one-logit head: its two classes share one row")
    assert opened(found).height > 2 * figure.SIDE


def test_outlines_follow_the_cells_and_numbers_stand_in_their_region() -> None:
    values = np.zeros((4, 4))
    values[0, :2], values[3, 3] = 2.0, -1.0
    cells = [values > 0, values < 0]
    plain = figure.Panel("", values, 2.0, True)
    base = figure.square(np.full((8, 8), 128, np.uint8))
    before = np.asarray(figure.with_map(base, plain)).astype(int)
    after = np.asarray(figure.with_map(base, dataclasses.replace(plain, outlines=cells))).astype(int)
    changed = np.argwhere(np.abs(after - before).sum(2) > 0)
    quarter = figure.SIDE // 4
    first, second = changed[changed[:, 0] < 2 * quarter], changed[changed[:, 0] >= 2 * quarter]
    assert first.max(0) == pytest.approx([quarter, 2 * quarter], abs=3)
    assert second.min(0) == pytest.approx([3 * quarter, 3 * quarter], abs=3)
    sides = list(figure.borders(cells[0], (figure.SIDE, figure.SIDE)))
    assert len(sides) == 6, "no line between two cells of one region"


@pytest.mark.parametrize("head", ["run", "one_logit"])
def test_every_map_of_the_table_can_be_asked_for(
    head: str, request: pytest.FixtureRequest, files: Path, image: Path, tmp_path: Path
) -> None:
    from divsal_bench.maps.closed_form import MAPS

    names = [name for name in (*MAPS, "gradcam") if not (head == "one_logit" and name == "case")]
    model = request.getfixturevalue(head).path
    human = files / "maps" / image.name
    assert explain(model, image, "--maps", ",".join(names), "--human", human, "--out", tmp_path) == 0
    found = content(next(tmp_path.glob("*.json")))
    assert list(found["maps"]) == names
    own = np.array(found["maps"]["true-class"]["values"])
    assert np.array(found["maps"]["gradcam"]["values"]) == pytest.approx(own, rel=1e-3, abs=1e-4)


def test_public_maps_come_with_the_extra(
    run: Run, image: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [run.path, image, "--maps", "difference,hirescam,score-cam,fullgrad", "--out"]
    if pytest.importorskip("pytorch_grad_cam"):
        assert explain(*asked, tmp_path / "with") == 0
        found = content(next((tmp_path / "with").glob("*.json")))["maps"]
        own, public = (np.array(found[name]["values"]) for name in ("difference", "hirescam"))
        assert public == pytest.approx(own, rel=1e-3, abs=1e-4)
    capsys.readouterr()
    monkeypatch.setitem(sys.modules, "pytorch_grad_cam", None)
    assert explain(*asked, tmp_path / "without") == 2
    assert "pip install 'divsal-bench[explain]'" in one_line(capsys)


# -- human maps and labels -----------------------------------------------------------------------------------


def test_maps_are_found_by_name_in_the_images_folders_or_without_them(tmp_path: Path) -> None:
    for place in ("images/a/x.png", "images/b/x.png", "images/b/y.jpg", "maps/a/x.tif", "maps/x.png", "maps/y.png"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8)).save(tmp_path / place)
    found = examples.collect_examples([str(tmp_path / "images")], ("real", "fake"), "fake", tmp_path / "maps")
    maps = [one.human and str(one.human.relative_to(tmp_path)) for one in found]
    assert maps == ["maps/a/x.tif", "maps/x.png", "maps/y.png"]
    assert [one.label for one in found] == [1, 1, 1]


def test_a_map_follows_its_image_through_a_networks_own_cropping(tmp_path: Path) -> None:
    """The marked square is where the bright square is, whatever the geometry."""
    pixels = np.zeros((90, 60), np.uint8)
    pixels[20:50, 25:45] = 255
    for name in ("image", "map"):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    for crop, share, interpolation in (("center", 0.9, "bicubic"), ("border", 1.0, "bilinear"), ("squash", 1.0, "box")):
        asked = Preprocessing(64, "L", 1, (0.5,), (0.5,), interpolation, crop, share)
        network = pretrained.Pretrained(None, asked, ("a", "b"), 0.0, "", "fp32", "", None)  # type: ignore[arg-type]
        given = examples.Example(Input("x", tmp_path / "image.png", ("x",)), human=tmp_path / "map.png")
        read = examples.open_example(network, given)
        assert isinstance(read, examples.Opened)
        assert read.human is not None
        inside = read.pixels[0] > 200
        assert ((read.human > 127) == inside).mean() > 0.97, crop


def test_labels_are_names_or_numbers(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d"):
        Image.new("L", (8, 8)).save(tmp_path / f"{name}.png")
    (tmp_path / "list.csv").write_text("image,label\na.png,fake\nb.png,real\nc.png,1\nd.png,\n")
    (tmp_path / "bare.csv").write_text("a.png,label\nb.png,fake\n")

    def labels_of(name: str, label: str | None) -> list[int | None]:
        found = examples.collect_examples([str(tmp_path / name)], ("real", "fake"), label, None)
        return [one.label for one in found]

    assert labels_of("list.csv", None) == [
        1,
        0,
        1,
        None,
    ]
    assert labels_of("list.csv", "real") == [0] * 4
    assert labels_of("bare.csv", None) == [None] * 2


# -- bad input -----------------------------------------------------------------------------------------------


def test_bad_input_is_named_in_one_line(
    run: Run, one_logit: Run, files: Path, image: Path, tmp_path: Path, capsys: Any
) -> None:
    model, out = run.path, tmp_path / "out"
    (tmp_path / "empty").mkdir()
    (tmp_path / "there").write_text("mine")
    Image.new("L", (9, 9), 255).save(tmp_path / "other-size.png")
    with Image.open(image) as one:
        Image.new("L", one.size, 0).save(tmp_path / "nothing.png")
        Image.new("L", one.size, 200).save(tmp_path / "all.png")
        jet = colormaps.colours_of_map("jet")[np.tile(np.arange(one.width) * 255 // one.width, (one.height, 1))]
        Image.fromarray(jet).save(tmp_path / "jet.png")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "classes.csv").write_text(f"image,label\n{image},healthy\n")
    shutil.copytree(files / "maps", tmp_path / "twice")
    shutil.copy(tmp_path / "twice" / image.name, tmp_path / "twice" / f"{image.stem}.bmp")
    (tmp_path / "others").mkdir()
    shutil.copy(files / "maps" / image.name, tmp_path / "others/other.png")
    vit = repository(tmp_path / "vit", "vit_tiny_patch16_224", img_size=64)
    for arguments, message in (
        ([model, "--out", out], "give images to explain"),
        ([model, image, "--set", "test", "--out", out], "give images or --set, not both"),
        ([model, image, "--limit", 5, "--out", out], "--limit goes with --set only"),
        ([model, image, "--data", "standin", "--out", out], "--data goes with --set only"),
        ([model, "--set", "test", "--label", "normal", "--out", out], "--label goes with images only"),
        ([model, image, "--device", "tpu", "--out", out], "unknown device 'tpu'"),
        ([model, tmp_path / "empty", "--out", out], "holds no image"),
        ([model, tmp_path / "nobody.png", "--out", out], "there is no file or folder"),
        ([tmp_path / "nobody", image, "--out", out], "there is no folder"),
        ([model, image, "--out", tmp_path / "there"], "is not a folder"),
        ([model, image], "--out"),
        ([model, image, "--label", "healthy", "--out", out], "'healthy' is no class of this network; give 'normal' or"),
        ([model, tmp_path / "classes.csv", "--out", out], "classes.csv, row 2, column label: 'healthy' is no class"),
        ([model, image, "--maps", "diference", "--out", out], "unknown map 'diference'. Did you mean 'difference'?"),
        ([model, image, "--maps", " , ", "--out", out], "--maps names no map"),
        (
            [one_logit.path, image, "--maps", "case", "--out", out],
            "undefined for a one-logit head: its two classes share",
        ),
        ([vit, image, "--out", out], "has no closed-form CAM"),
        ([vit, image, "--out", out], "--maps gradcam,hirescam explains it"),
        ([model, image, "--human", tmp_path / "nobody", "--out", out], "--human: there is no file or folder"),
        ([model, files / "images", "--human", files / "maps" / image.name, "--out", out], "is one map for 6 images"),
        ([model, image, "--human", tmp_path / "empty", "--out", out], "holds no image"),
        ([model, image, "--human", tmp_path / "others", "--out", out], "has no map for the 1 image;"),
        ([model, image, "--human", tmp_path / "twice", "--out", out], "has 2 maps for"),
        ([model, image, "--human", tmp_path / "other-size.png", "--out", out], "is 9 x 9 pixels, but its image is"),
        ([model, image, "--human", tmp_path / "nothing.png", "--out", out], "is empty: all its pixels are alike"),
        ([model, image, "--human", tmp_path / "all.png", "--out", out], "is empty: all its pixels are alike"),
        ([model, image, "--human", tmp_path / "text.png", "--out", out], "is not an image"),
        ([model, image, "--human", tmp_path / "pipe", "--out", out], "is not a file"),
        ([model, image, "--human", tmp_path / "jet.png", "--out", out], "is a colour picture: its channels differ"),
        ([model, image, "--window", "12", "--out", out], "--window '12': write 12bit"),
        ([model, "--set", "test", "--window", "12bit", "--out", out], "--window goes with images only"),
        ([model, tmp_path / "text.png", "--out", out], "is not an image"),
        ([model, image, "--out", image.parent, "--force"], "--out"),
    ):
        assert explain(*arguments) == 2, arguments
        assert message in one_line(capsys), arguments
    assert (tmp_path / "there").read_text() == "mine"


def test_what_is_written_over_neither_images_nor_maps(
    run: Run, files: Path, image: Path, tmp_path: Path, capsys: Any
) -> None:
    shutil.copy(image, tmp_path / "x.png")
    (tmp_path / "maps").mkdir()
    shutil.copy(files / "maps" / image.name, tmp_path / "maps/x.png")
    for out in (tmp_path, tmp_path / "maps"):
        asked = [tmp_path / "x.png", "--human", tmp_path / "maps/x.png", "--out", out, "--force"]
        assert explain(run.path, *asked) == 2
        assert "would write over the" in one_line(capsys)


def test_one_bad_image_among_others_is_a_row(run: Run, files: Path, tmp_path: Path, capsys: Any) -> None:
    images, maps = tmp_path / "images", tmp_path / "maps"
    shutil.copytree(files / "images", images)
    shutil.copytree(files / "maps", maps)
    names = sorted(path.name for path in images.iterdir())
    (images / names[0]).write_bytes(b"")
    Image.new("L", (9, 9), 255).save(maps / names[1])
    (maps / names[2]).unlink()
    assert explain(run.path, images, "--human", maps, "--out", tmp_path / "out", "--csv") == 2
    found = {Path(row["image"]).name: row for row in rows_of(tmp_path / "out/images.csv")}
    assert "is empty" in found[names[0]]["error"]
    assert "is 9 x 9 pixels" in found[names[1]]["error"]
    assert all(found[name]["error"] == "" for name in names[2:])
    assert found[names[2]]["difference_lift"] == "", "no map, no agreement, and the rest is there"
    assert float(found[names[3]]["difference_pe"]) >= 0
    said = capsys.readouterr()
    assert "error" in said.out
    assert said.err.splitlines()[-1].startswith("divsal-bench: 2 of 6 images could not be explained; the first: ")
    assert len(list((tmp_path / "out").glob("*.png"))) == 4


def test_a_network_without_closed_form_has_gradcam_and_no_regions(
    files: Path, image: Path, tmp_path: Path, capsys: Any
) -> None:
    model = repository(tmp_path / "timm", "mobilenetv3_small_050")
    assert explain(model, image, "--out", tmp_path / "no") == 2
    assert "has no closed-form CAM" in one_line(capsys)
    human = files / "maps" / image.name
    assert explain(model, image, "--maps", "gradcam", "--human", human, "--out", tmp_path / "out") == 0
    found = content(next((tmp_path / "out").glob("*.json")))
    assert found["regions"] is None
    assert set(found["maps"]) == {"gradcam"}
    assert found["maps"]["gradcam"]["agreement"]["pe"] >= 0


def test_hostile_names_stay_inside_and_on_their_line(run: Run, image: Path, tmp_path: Path, capsys: Any) -> None:
    folder = tmp_path / "<b onclick=alert(1)>"
    folder.mkdir()
    hostile = folder / "a\nb\x1b[31m'\"&<img src=x onerror=alert(1)>.png"  # no / in a name
    shutil.copy(image, hostile)
    out = tmp_path / "out"
    assert explain(run.path, folder, "--out", out, "--csv") == 0
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err
    assert {path.parent for path in out.rglob("*")} == {out}
    assert all(path.name.isprintable() for path in out.iterdir())
    found = content(next(out.glob("*.json")))
    assert "\n" not in found["image"]
