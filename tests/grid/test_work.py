"""The unit of work: what a run may read and when, and what it leaves behind."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from divsal_bench.errors import UserError
from divsal_bench.grid import planning, work
from divsal_bench.grid.jobs import Job
from divsal_bench.networks import backbones
from divsal_bench.registry import method_choice, method_source, plugins, protocols
from divsal_bench.registry.protocols import Protocol
from divsal_bench.runs.reading import Run, read_run
from divsal_bench.words import HEADS

QUICK = dataclasses.replace(protocols.find_protocol("quick-v1"), epochs=1)


def jobs(tmp_path: Path, method: str = "cyborg", protocol: Protocol = QUICK, **grid: Any) -> tuple[Job, ...]:
    """The jobs of a small grid on the cxr stand-in."""
    asked = planning.Grid(
        ("cxr",), tuple(method_choice.choose_methods(method)), (0,), tmp_path, protocol, data="standin", **grid
    )
    return planning.plan(asked)[0].jobs


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One finished run."""
    (job,) = jobs(tmp_path_factory.mktemp("runs"))
    return read_run(work.execute(job))


def test_a_run_leaves_four_files_and_a_record_that_explains_itself(run: Run) -> None:
    assert sorted(path.name for path in run.path.iterdir()) == [
        "history.csv", "model.safetensors", "predictions.parquet", "run.json"
    ]  # fmt: skip
    content = json.loads((run.path / "run.json").read_text())
    assert content["status"] == "done"
    spec = content["spec"]
    assert (spec["task"], spec["method"], spec["protocol"], spec["seed"]) == ("cxr", "cyborg", "quick-v1", 0)
    assert spec["backbone"] == "resnet10t"
    assert len(spec["data_fingerprint"]) == 64
    assert spec["fields"] == {"alpha": 0.5, "cam_class": "true"}
    assert content["versions"]["torch"] == torch.__version__.split("+")[0]
    assert content["peak_mb"] > 0
    (epoch,) = csv.DictReader((run.path / "history.csv").open())
    assert float(epoch["loss"]) != float(epoch["cross_entropy"])


def test_the_saved_weights_rebuild_the_network_and_its_predictions(run: Run) -> None:
    """With timm alone and the arguments in the record, as a stranger would."""
    import timm
    from safetensors.torch import load_file

    from divsal_bench.data.arrays import open_cached

    net = timm.create_model(run.spec.backbone, **run.record.model_args)
    net.load_state_dict(load_file(run.path / "model.safetensors"))
    net.eval().to(memory_format=torch.channels_last)
    (job,) = jobs(run.path.parent)
    data = open_cached(Path(job.cache))
    table = run.predictions()
    rows = data.rows.reset_index().set_index("sample_id").loc[table["sample_id"], "index"].to_numpy()[:128]
    images = torch.from_numpy(np.array(data.images[rows])).float()
    images = ((images - 127.5) / 63.75).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        logits = net(images).double().numpy()
    np.testing.assert_allclose(logits, table[["logit0", "logit1"]].to_numpy()[:128], atol=1e-5)


def test_predictions_hold_every_validation_and_test_row_once(run: Run) -> None:
    table = run.predictions()
    assert table["sample_id"].is_unique
    assert set(table["split"]) == {"validation", "test"}
    assert len(table) == run.record.data.validation + run.record.data.test
    test = table[table["split"] == "test"]
    assert (test["condition"] != "").all()
    assert (table.loc[table["split"] == "validation", "condition"] == "").all()
    assert table[["logit0", "logit1"]].dtypes.eq("float64").all()


def test_the_test_split_is_not_read_before_training_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[bool] = []

    class Guarded:
        """Refuses test rows until training has ended."""

        def __init__(self, array: np.ndarray, is_test: np.ndarray) -> None:
            self.array, self.is_test, self.shape = array, is_test, array.shape

        def __getitem__(self, rows: np.ndarray) -> np.ndarray:
            assert trained or not self.is_test[rows].any(), "a test row was read before training ended"
            return self.array[rows]

    open_cached, fit = work.open_cached, work.fit

    def guarded(path: Path) -> Any:
        data = open_cached(path)
        is_test = (data.rows["split"] == "test").to_numpy()
        return dataclasses.replace(
            data, images=Guarded(data.images, is_test), maps=Guarded(data.maps, is_test)  # type: ignore[arg-type]
        )  # fmt: skip

    def fitted(*arguments: Any) -> Any:
        history = fit(*arguments)
        trained.append(True)
        return history

    monkeypatch.setattr(work, "open_cached", guarded)
    monkeypatch.setattr(work, "fit", fitted)
    (job,) = jobs(tmp_path)
    assert read_run(work.execute(job)).record.error == ""
    assert trained


@pytest.mark.parametrize("name", sorted(protocols.PROTOCOLS))
def test_every_protocol_trains(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own optimiser, schedule, precision, channels and selection; from scratch, on a small network."""
    protocol = protocols.find_protocol(name)
    small = dataclasses.replace(
        protocol, pretrained=False, backbone="resnet10t", backbone_args={"channels": [4, 4, 8, 8], "stem_width": 4},
        input_size=32, output_stride=8, epochs=2, threads=1,
    )  # fmt: skip
    (job,) = jobs(tmp_path, protocol=small)
    run = read_run(work.execute(job))
    assert run.record.status == "done", run.record.error
    assert run.record.model_args["in_chans"] == (3 if protocol.channels == 3 else 1)
    if protocol.selection != "last":
        history = pd.read_csv(run.path / "history.csv")
        column = protocol.selection.replace("-", "_")
        best = history.loc[history[column] == history[column].max(), "epoch"].max()
        assert run.record.selected_epoch == best


def test_a_one_logit_run_stores_zero_and_z(tmp_path: Path) -> None:
    (job,) = jobs(tmp_path, head="one-logit")
    run = read_run(work.execute(job))
    table = run.predictions()
    assert (table["logit0"] == 0).all()
    assert run.record.model_args["num_classes"] == 1
    assert run.record.scores is not None
    true, difference = run.record.scores.true_cam, run.record.scores.difference_map
    assert true is not None
    assert difference is not None
    # M_t − M_f = 2·M_t for a one-logit head: the same energy, so the same lift.
    assert true.lift == pytest.approx(difference.lift)


def test_the_run_id_depends_on_everything_but_the_data_sets_name(run: Run) -> None:
    spec = run.spec
    assert spec.model_copy(update={"data": "another name"}).run_id == spec.run_id
    changes = {
        "task": "x", "task_version": 2, "data_fingerprint": "0", "method": "y", "method_version": 2,
        "fields": {"alpha": 1},
        "backbone": "z", "weights": "w", "head": "one-logit", "protocol": "p", "protocol_settings": {}, "seed": 1,
        "engine_version": 99,
    }  # fmt: skip
    assert set(changes) | {"data"} == set(type(spec).model_fields)
    ids = {spec.model_copy(update={name: value}).run_id for name, value in changes.items()}
    assert len(ids | {spec.run_id}) == len(changes) + 1


def test_stored_settings_hash_as_the_living_protocol_does(run: Run, tmp_path: Path) -> None:
    assert read_run(run.path).record.run_id == jobs(tmp_path)[0].spec.run_id
    assert Protocol(**run.spec.protocol_settings).epochs == 1
    assert HEADS[0] == run.spec.head


def test_what_the_user_must_mend_is_not_stored_as_a_failed_run(tmp_path: Path) -> None:
    """A device or a cache that is not there is no fault of the run: the next command must try it again."""
    (job,) = jobs(tmp_path)
    for wrong in (dataclasses.replace(job, cache=str(tmp_path / "gone")), dataclasses.replace(job, device="cuda:99")):
        if wrong.device != job.device and torch.cuda.is_available():
            continue
        with pytest.raises(UserError):
            work.execute(wrong)
    assert not list(tmp_path.glob("*/*/*/run.json"))


def test_a_term_that_is_logged_from_some_epoch_on_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (job,) = jobs(tmp_path, protocol=dataclasses.replace(QUICK, epochs=2))
    fit = work.fit

    def fit_with_late_term(*arguments: Any) -> Any:
        history = fit(*arguments)
        history.epochs[-1]["late"] = 1.0
        return history

    monkeypatch.setattr(work, "fit", fit_with_late_term)
    run = read_run(work.execute(job))
    assert [row["late"] for row in csv.DictReader((run.path / "history.csv").open())] == ["", "1.0"]


def test_a_record_that_could_not_be_read_back_becomes_a_failed_run_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores of more conditions than a record may hold, say: the grid goes on, and nothing is damaged."""
    (job,) = jobs(tmp_path)
    score = work.score

    def scored(*arguments: Any) -> Any:
        found = score(*arguments)
        odd = found.conditions[0].model_copy(update={"name": "x" * 401})
        return found.model_copy(update={"conditions": [*found.conditions, odd]})

    monkeypatch.setattr(work, "score", scored)
    run = read_run(work.execute(job))
    assert run.record.status == "failed"
    assert "could not be read back: run.json is damaged: field 'scores' has a text of 401 char" in run.record.error
    assert [path.name for path in run.path.iterdir()] == ["run.json"]


def test_a_run_says_with_which_instructions_its_processor_worked(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run.record.processor == torch.backends.cpu.get_cpu_capability()
    (job,) = jobs(tmp_path)
    monkeypatch.setenv("DNNL_MAX_CPU_ISA", "SSE41")
    limited = read_run(work.execute(job)).record
    assert limited.processor == f"{run.record.processor}, DNNL_MAX_CPU_ISA=SSE41"


def test_the_method_is_hashed_before_it_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be edited while it runs."""
    (job,) = jobs(tmp_path)
    fit, source = work.fit, method_source.source_hash(plugins.methods().get("cyborg"))

    def edited(*arguments: Any) -> Any:
        monkeypatch.setattr(method_source, "source_hash", lambda method: "another")
        return fit(*arguments)

    monkeypatch.setattr(work, "fit", edited)
    assert read_run(work.execute(job)).record.method_source == source


def test_scores_keep_float32_under_autocast() -> None:
    """In bfloat16 a thousand scores would share a few hundred values."""
    net = backbones.build("resnet10t", protocols.find_protocol("quick-v1"), 1, "two-logit", seed=0)
    net.net.eval()
    images = torch.randn(64, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        logits, features = net.forward(images)
        weight, bias = net.classifier()
    assert features.dtype == torch.bfloat16
    expected = features.float().mean((2, 3)) @ weight.T + bias
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-6)
    assert not torch.equal(logits, logits.bfloat16().float())
