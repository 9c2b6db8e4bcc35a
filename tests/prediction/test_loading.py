"""Networks from run directories and repositories: the same numbers from each, and nothing a stranger's files can do."""

from __future__ import annotations

import dataclasses
import io
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from divsal_bench.data import catalogue
from divsal_bench.errors import UserError
from divsal_bench.grid import planning, work
from divsal_bench.prediction import loading
from divsal_bench.prediction.preprocessing import Preprocessing
from divsal_bench.registry import method_choice, plugins, protocols
from divsal_bench.registry.plugins import tasks
from divsal_bench.runs.reading import Run, read_run
from divsal_bench.runs.records import Spec
from divsal_bench.scores import scoring
from divsal_bench.words import Head

TINY = dataclasses.replace(
    protocols.find_protocol("quick-v1"),
    epochs=1,
    input_size=32,
    backbone_args={"channels": [4, 4, 8, 8], "stem_width": 4},
)
HEADS: tuple[Head, ...] = ("two-logit", "one-logit")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Two real, tiny runs on chest X-rays, one of each head."""
    out = tmp_path_factory.mktemp("runs")
    found: dict[str, Run] = {}
    methods = tuple(method_choice.choose_methods("cross-entropy"))
    for head in HEADS:
        asked = planning.Grid(("cxr",), methods, (0,), out, TINY, data="standin", head=head)
        (job,) = planning.plan(asked)[0].jobs
        found[head] = read_run(work.execute(job))
    return found


@pytest.fixture
def run(runs: dict[str, Run], tmp_path: Path) -> Path:
    """A copy of one's own of the run with two logits."""
    return Path(shutil.copytree(runs["two-logit"].path, tmp_path / "run"))


@pytest.fixture
def repository(run: Path, tmp_path: Path) -> Path:
    """The same network as a repository that has no run.json."""
    folder = tmp_path / "repository"
    folder.mkdir()
    shutil.copy(run / "model.safetensors", folder)
    (folder / "config.json").write_text(json.dumps(config_of(read_run(run))))
    return folder


def config_of(run: Run) -> dict[str, Any]:
    """config.json as a push writes it."""
    point = run.record.scores.thresholds[0] if run.record.scores else None
    assert point is not None
    return {
        "architecture": run.spec.backbone,
        "num_classes": run.record.model_args["num_classes"],
        "num_features": 8,
        "global_pool": "avg",
        "model_args": run.record.model_args,
        "label_names": ["normal", "abnormal"],
        "pretrained_cfg": {**Preprocessing.of_protocol(TINY, 1).as_config(), "classifier": "fc"},
        "divsal_bench": {
            "run_id": run.record.run_id,
            "image_mode": "L",
            "class_names": ["normal", "abnormal"],
            "threshold": point.value,
            "threshold_rule": point.rule,
        },
    }


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a JSON file."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def drawn() -> dict[str, bytes]:
    """Some test images as files, by sample id."""
    return files_of("test", 20)


def files_of(split: str, step: int = 1) -> dict[str, bytes]:
    """Images of the built-in data as files, by sample id, in the data's order."""
    found = tasks().get("cxr").draw_standin("standin", catalogue.STANDIN_SEED)
    rows = found.rows.index[found.rows["split"].str.contains(split)][::step]
    return {found.rows["sample_id"][row]: png(found.images[row]) for row in rows}


@pytest.mark.parametrize("head", HEADS)
def test_run_repository_and_both_give_the_runs_own_numbers(head: Head, runs: dict[str, Run], tmp_path: Path) -> None:
    """Exactly, where images are taken together as the run took them: matrix products round by their size."""
    run, files = runs[head], files_of("validation|test")
    predictions = run.predictions()
    assert predictions["sample_id"].tolist() == list(files)
    expected = scoring.margins(predictions)
    assert len(set(expected)) > 100
    (tmp_path / "config.json").write_text(json.dumps(config_of(run)))
    shutil.copy(run.path / "model.safetensors", tmp_path)
    both = Path(shutil.copytree(run.path, tmp_path / "both"))
    shutil.copy(tmp_path / "config.json", both)
    for folder in (run.path, tmp_path, both):
        found = loading.pretrained_in(folder, "somewhere")
        table = found.predict(list(files.values()), batch_size=128)
        assert table["score"].tolist() == expected.tolist()
        assert (table["error"] == "").all()
        few = found.predict(list(files.values())[:10], batch_size=3)
        assert np.abs(few["score"] - expected[:10]).max() < 1e-6
        assert found.class_names == ("normal", "abnormal")
        assert found.preprocessing == Preprocessing.of_protocol(TINY, 1)
        assert found.model.head == head
        assert found.origin == "somewhere"
        assert (found.record is None) == (folder == tmp_path)
        point = run.record.scores.thresholds[0] if run.record.scores else None
        assert point is not None
        assert (found.threshold, found.threshold_rule) == (point.value, point.rule)


def test_timm_reads_the_same_repository(repository: Path, drawn: dict[str, bytes], tmp_path: Path) -> None:
    net = timm.create_model(f"local-dir:{repository}", pretrained=True).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(net), is_training=False)
    found = loading.pretrained_in(repository, "").predict(list(drawn.values()))
    for data, score in zip(drawn.values(), found["score"], strict=True):
        with torch.inference_mode():
            logits = net(transform(Image.open(io.BytesIO(data)).convert("L")).unsqueeze(0))[0]
        assert float(logits[1] - logits[0]) == pytest.approx(score, abs=1e-4)


def test_paths_bytes_and_pil_images_score_alike(run: Path, drawn: dict[str, bytes], tmp_path: Path) -> None:
    found = loading.pretrained_in(run, "")
    data = next(iter(drawn.values()))
    (tmp_path / "a.png").write_bytes(data)
    turned = Image.open(io.BytesIO(data)).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    turned.save(buffer, "PNG", exif=exif)
    table = found.predict(
        [str(tmp_path / "a.png"), tmp_path / "a.png", data, Image.open(tmp_path / "a.png"), Image.open(buffer), b""]
    )
    assert table["score"][:5].nunique() == 1
    assert table["image"].tolist()[2:] == ["image 3", "image 4", "image 5", "image 6"]
    assert table["error"].tolist() == [""] * 5 + ["is empty"]
    assert list(table.columns) == ["image", "score", "probability", "decision", "error"]
    assert table["probability"][0] == pytest.approx(1 / (1 + np.exp(-table["score"][0])))
    assert len(found.predict([])) == 0
    for one in (str(tmp_path / "a.png"), data, tmp_path):
        with pytest.raises(UserError, match="a list of images"):
            found.predict(one)  # type: ignore[arg-type]


def test_the_decision_is_that_of_the_threshold(run: Path) -> None:
    found = dataclasses.replace(loading.pretrained_in(run, ""), threshold=1.5)
    assert [found.decision(score) for score in (1.4999, 1.5, 9.0)] == ["normal", "abnormal", "abnormal"]
    never = dataclasses.replace(found, threshold=None)
    assert never.decision(1e9) == "normal", "no threshold but infinity keeps the rule"


def test_no_threshold_but_infinity_is_kept(run: Path, repository: Path) -> None:
    edit(run / "run.json", lambda content: content["scores"]["thresholds"][0].update(value=None))
    assert loading.pretrained_in(run, "").threshold is None
    edit(repository / "config.json", lambda content: content["divsal_bench"].update(threshold=None))
    assert loading.pretrained_in(repository, "").threshold is None


def test_the_first_threshold_is_the_one_that_false_positive_rates_are_measured_at(run: Path) -> None:
    def add(content: dict[str, Any]) -> None:
        (first,) = content["scores"]["thresholds"]
        content["scores"]["thresholds"] = [{**first, "value": 0.25, "rule": "mine"}, first]

    edit(run / "run.json", add)
    assert loading.pretrained_in(run, "").threshold == 0.25
    assert loading.pretrained_in(run, "").threshold_rule == "mine"


def test_a_plain_timm_repository_decides_at_one_half(tmp_path: Path) -> None:
    net = timm.create_model("resnet18", pretrained=False, num_classes=2)
    save_file(net.state_dict(), tmp_path / "model.safetensors")
    stated = {"architecture": "resnet18", "num_classes": 2, "pretrained_cfg": {"input_size": [3, 64, 64]}}
    (tmp_path / "config.json").write_text(json.dumps(stated))
    found = loading.pretrained_in(tmp_path, "")
    assert (found.threshold, found.class_names) == (0.0, ("negative", "positive"))
    assert "states none" in found.threshold_rule
    assert (found.preprocessing.crop_mode, found.preprocessing.interpolation) == ("center", "bicubic")
    found.require_maps()
    for names, shown in ((["cat", "dog"], ("cat", "dog")), (["cat", "\x1b[2J"], ("negative", "positive"))):
        (tmp_path / "config.json").write_text(json.dumps({**stated, "label_names": names}))
        assert loading.pretrained_in(tmp_path, "").class_names == shown


def test_a_network_whose_maps_explain_nothing_scores_but_draws_no_maps(tmp_path: Path) -> None:
    net = timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=2, img_size=32)
    save_file(net.state_dict(), tmp_path / "model.safetensors")
    stated = {
        "architecture": "vit_tiny_patch16_224",
        "num_classes": 2,
        "pretrained_cfg": {"input_size": [3, 32, 32], "fixed_input_size": True},
    }
    (tmp_path / "config.json").write_text(json.dumps(stated))
    found = loading.pretrained_in(tmp_path, "")
    assert found.predict([png(np.zeros((9, 9), np.uint8))])["error"].tolist() == [""]
    with pytest.raises(UserError, match="no closed-form CAM"):
        found.require_maps()


@pytest.mark.parametrize(
    ("architecture", "size", "message"),
    [
        ("coatnet_pico_rw_224", 1024, r"network of 731,838,456 bytes, .* are allowed for its model.safetensors"),
        ("levit_128s", 224, "the classifier of levit_128s is tuple, not linear"),
    ],
)
def test_a_network_that_is_refused_is_never_built(
    architecture: str, size: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables of positions are not in the weights file, and grow with img_size to the fourth."""
    with torch.device("meta"):
        net = timm.create_model(architecture, pretrained=False, num_classes=2, img_size=size)
    # One byte a number, so that the file is small and of the right shapes.
    small = {name: torch.zeros(tensor.shape, dtype=torch.uint8) for name, tensor in net.state_dict().items()}
    save_file(small, tmp_path / "model.safetensors")
    stated = {
        "architecture": architecture,
        "num_classes": 2,
        "model_args": {"img_size": size},
        "pretrained_cfg": {"input_size": [3, size, size]},
    }
    (tmp_path / "config.json").write_text(json.dumps(stated))
    build = timm.create_model

    def only_outlines(*arguments: Any, **named: Any) -> torch.nn.Module:
        made: torch.nn.Module = build(*arguments, **named)
        assert {tensor.device.type for tensor in (*made.parameters(), *made.buffers())} == {"meta"}
        return made

    monkeypatch.setattr(timm, "create_model", only_outlines)
    with pytest.raises(UserError, match=message) as caught:
        loading.pretrained_in(tmp_path, "")
    assert str(tmp_path) in str(caught.value)


def test_a_task_that_is_not_installed(run: Path, drawn: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    expected = loading.pretrained_in(run, "").predict(list(drawn.values()))["score"].tolist()
    config = config_of(read_run(run))
    monkeypatch.delitem(plugins.tasks().found, "cxr")
    found = loading.pretrained_in(run, "")
    assert found.class_names == ("negative", "positive")
    assert found.preprocessing.in_chans == 1, "as the weights say"
    assert found.predict(list(drawn.values()))["score"].tolist() == expected
    (run / "config.json").write_text(json.dumps(config))
    assert loading.pretrained_in(run, "").class_names == ("normal", "abnormal")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(architecture="resnet18"), "architecture is resnet18 in the one and resnet10t"),
        (lambda c: c["model_args"].update(output_stride=16), "output_stride is 16 in the one and 8 by"),
        (lambda c: c["model_args"].pop("output_stride"), "output_stride is None"),
        (lambda c: c["model_args"].update(stem_width=8), "stem_width is 8"),
        (lambda c: c["model_args"].update(channels=[4, 4, 8, 16]), "channels is"),
        (lambda c: (c["model_args"].update(num_classes=1), c.update(label_names=[])), "num_classes is 1 in the one"),
        (lambda c: c["model_args"].update(in_chans=3), "in_chans is 3 in the one and 1 by"),
        (lambda c: c["pretrained_cfg"].update(mean=[0.4]), "preprocessing is"),
        (lambda c: c["divsal_bench"].update(image_mode="RGB"), "RGB images for a network"),
        (lambda c: c["divsal_bench"].update(class_names=["abnormal", "normal"]), "class_names is"),
        (lambda c: c["divsal_bench"].update(threshold=0.5), "threshold is 0.5 in the one"),
        (lambda c: c["divsal_bench"].update(run_id="0" * 16), "run_id is 0000"),
    ],
)
def test_config_and_run_must_agree(run: Path, change: Callable[[dict[str, Any]], object], message: str) -> None:
    (run / "config.json").write_text(json.dumps(config_of(read_run(run))))
    loading.pretrained_in(run, "")
    edit(run / "config.json", change)
    with pytest.raises(UserError, match=message):
        loading.pretrained_in(run, "")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(num_classes=1000, model_args={}), r"has 1000 classes, .* has 2 \(or one logit\)"),
        (lambda c: c.update(num_classes=True, model_args={}), "has True classes"),
        (lambda c: (c.pop("num_classes"), c["model_args"].pop("num_classes")), "does not say how many classes"),
        (lambda c: c["model_args"].update(in_chans=4), "takes 4 channels"),
        (lambda c: c.pop("architecture"), "names no architecture"),
        (lambda c: c.update(architecture="local-dir:/etc"), "is none that timm has"),
        (lambda c: c.update(architecture="hf-hub:a/b"), "is none that timm has"),
        (lambda c: c.update(architecture="resnet18.a1_in1k"), "is none that timm has"),
        (lambda c: c.update(architecture=["resnet18"]), "is none that timm has"),
        (lambda c: c["model_args"].update(pretrained=True), "give 'pretrained', which is not allowed"),
        (lambda c: c["model_args"].update(pretrained_cfg={"file": "x"}), "give 'pretrained_cfg', which is not"),
        (lambda c: c["model_args"].update(checkpoint_path="x.pt"), "give 'checkpoint_path', which is not"),
        (lambda c: c["model_args"].update(cache_dir="/tmp"), "give 'cache_dir', which is not"),
        (lambda c: c["model_args"].update(act_layer="relu"), "give 'act_layer', which is not"),
        (lambda c: c["model_args"].update(global_pool="../x"), "global_pool a value that is not allowed"),
        (lambda c: c["model_args"].update(channels=[10**9] * 4), "channels a value that is not allowed"),
        (lambda c: c["model_args"].update(channels=[4] * 99), "channels a value that is not allowed"),
        (lambda c: c["model_args"].update(stem_width="8"), "stem_width a value that is not allowed"),
        (lambda c: c["model_args"].update(channels=[4, -4, 8, 8]), "cannot be built"),
        (lambda c: c["model_args"].update(channels=[4000] * 4), "does not fit the network"),
        (lambda c: c.update(model_args=[]) or c.update(model_args=[1]), "is no JSON object"),
        (lambda c: c.update(pretrained_cfg=3), "is no JSON object"),
        (lambda c: c["pretrained_cfg"].update(input_size=[1, 32, 40]), "squares are read"),
        (lambda c: c.update(divsal_bench=[]), "divsal_bench is no JSON object"),
        (lambda c: c["divsal_bench"].update(class_names=["x", "x"]), "are not two names"),
        (lambda c: c["divsal_bench"].update(class_names=["x"]), "are not two"),
        (lambda c: c["divsal_bench"].update(class_names=["x", "\x1b[2J"]), "not plain text"),
        (lambda c: c["divsal_bench"].update(threshold="0"), "is no number"),
        (lambda c: c["divsal_bench"].update(threshold=float("nan")), "is no number"),
        (lambda c: c["divsal_bench"].update(threshold_rule="a\nb"), "not plain text"),
        (lambda c: c.update(architecture="eva02_enormous_patch14_clip_224", model_args={"num_classes": 2}), "not fit"),
    ],
)
def test_a_strangers_config(repository: Path, change: Callable[[dict[str, Any]], object], message: str) -> None:
    edit(repository / "config.json", change)
    with pytest.raises(UserError, match=message) as caught:
        loading.pretrained_in(repository, "")
    assert str(repository) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, "\xff", '{"architecture": NaN}', " " * (2**20 + 1)])
def test_a_damaged_config(repository: Path, text: str) -> None:
    (repository / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"config\.json"):
        loading.pretrained_in(repository, "")


def test_a_strangers_run(run: Path) -> None:
    before = (run / "run.json").read_text()
    assert before.count('"input_size": 32') == 1
    (run / "run.json").write_text(before.replace('"input_size": 32', '"input_size": 100000'))
    with pytest.raises(UserError, match="was edited"):
        loading.pretrained_in(run, "")
    edit(run / "run.json", with_own_id)
    with pytest.raises(UserError, match=r"input.* 100000.*8 to 2048 are read"):
        loading.pretrained_in(run, "")
    (run / "run.json").write_text(before + " " * 2**20)
    with pytest.raises(UserError, match="has more than 1,048,576 bytes"):
        loading.pretrained_in(run, "")


def with_own_id(content: dict[str, Any]) -> None:
    """A forger can hash, too."""
    content["run_id"] = Spec(**content["spec"]).run_id


class Payload:
    """What a pickle does when it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("was-run"),))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "best.PTH", "last.ckpt", "net.pkl"])
def test_pickles_are_never_loaded(name: str, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (repository / "model.safetensors").unlink()
    (repository / name).write_bytes(pickle.dumps(Payload()))
    with pytest.raises(UserError, match=f"'{name}', a pickle"):
        loading.pretrained_in(repository, "")
    (repository / "config.json").unlink()
    with pytest.raises(UserError, match=f"'{name}', a pickle"):
        loading.pretrained_in(repository, "")
    assert not (tmp_path / "was-run").exists()


def test_weights_that_are_not_there_or_not_whole(repository: Path, run: Path) -> None:
    weights = repository / "model.safetensors"
    data = weights.read_bytes()
    for broken in (b"", b"x" * 100, data[:200], data[:-4], pickle.dumps(Payload()), b"\xff" * 8 + data[8:]):
        weights.write_bytes(broken)
        with pytest.raises(UserError, match="is not a whole safetensors file"):
            loading.pretrained_in(repository, "")
    weights.write_bytes(data)
    tensors = load_file(weights)
    for change, message in (
        ({"fc.weight": torch.zeros(3, 8)}, "fc.weight is 3×8 there and 2×8 in the network"),
        ({"fc.extra": torch.zeros(1)}, "'fc.extra' is in the file"),
        ({"fc.bias": None}, "fc.bias is missing there"),
    ):
        changed = {name: tensor for name, tensor in {**tensors, **change}.items() if tensor is not None}
        for folder in (repository, run):
            save_file(changed, folder / "model.safetensors")
            with pytest.raises(UserError, match=message):
                loading.pretrained_in(folder, "")
    for folder in (repository, run):
        (folder / "model.safetensors").unlink()
        with pytest.raises(UserError, match=r"has no model\.safetensors"):
            loading.pretrained_in(folder, "")


def test_other_folders(tmp_path: Path, run: Path) -> None:
    with pytest.raises(UserError, match="is neither a divsal-bench nor a timm repository"):
        loading.pretrained_in(tmp_path, "")
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(UserError, match="is neither a divsal-bench nor a timm repository"):
        loading.pretrained_in(tmp_path, "")
    with pytest.raises(UserError, match="there is no folder"):
        loading.pretrained_in(tmp_path / "nobody", "")
    edit(run / "run.json", lambda content: content.update(status="diverged", error="NaN in epoch 3", scores=None))
    with pytest.raises(UserError, match=r"its run diverged \('NaN in epoch 3'\)"):
        loading.pretrained_in(run, "")
