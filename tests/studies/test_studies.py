"""The three studies: what is measured is what is said, on real, tiny runs."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from divsal_bench import cli
from divsal_bench.data.arrays import load_arrays
from divsal_bench.data.catalogue import resolve
from divsal_bench.errors import UserError
from divsal_bench.grid import planning, work
from divsal_bench.maps.evidence import gather
from divsal_bench.maps.regions import Region
from divsal_bench.networks import backbones
from divsal_bench.networks.trained import load_model, protocol_of
from divsal_bench.registry import method_choice, plugins, protocols
from divsal_bench.runs.reading import Run, read_runs
from divsal_bench.studies import case, difference, imbalance, own_networks
from divsal_bench.studies.inputs import Inputs, split_inputs
from divsal_bench.tasks.adapters.standin import thinned
from divsal_bench.workflows.run_data import RunData

TINY = dataclasses.replace(
    protocols.find_protocol("quick-v1"),
    epochs=1,
    input_size=32,
    backbone_args={"channels": [4, 4, 8, 8], "stem_width": 4},
)


def train(task: str, methods: str, out: Path, head: str = "two-logit", data: str = "standin") -> list[Run]:
    chosen = tuple(method_choice.choose_methods(methods))
    grid = planning.Grid((task,), chosen, (0,), out, TINY, data=data, head=head)  # type: ignore[arg-type]
    for job in planning.plan(grid)[0].jobs:
        work.execute(job)
    return read_runs(out)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("studies") / "runs"
    train("iris-pad", "cross-entropy,cyborg", out)
    return out


def opened(run: Run, data: str | None = None) -> tuple[backbones.CamNet, object, Inputs]:
    arrays = RunData(data).arrays(run)
    return load_model(run), arrays, split_inputs(arrays, protocol_of(run), "test")


def test_agreement_in_the_study_is_that_of_the_run(runs: Path) -> None:
    for run in read_runs(runs):
        model, arrays, _ = opened(run)
        found = difference.difference_numbers(run, model, arrays, images=10)  # type: ignore[arg-type]
        assert run.record.scores is not None
        for kind, own in (("true-class", run.record.scores.true_cam), ("difference", run.record.scores.difference_map)):
            assert own is not None
            assert found[kind]["lift"] == pytest.approx(own.lift, rel=1e-4)
            assert found[kind]["pe"] == pytest.approx(own.pe, rel=1e-4)
            assert 0 <= found[kind]["right way"] <= 1


def test_covering_lowers_the_margin_of_a_network_that_adds_up_its_pixels() -> None:
    """Class 1 for every bright pixel: covering what the map marks must lower its margin, elsewhere must not."""

    class Sum(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = torch.nn.Linear(1, 2)
            with torch.no_grad():
                self.fc.weight.copy_(torch.tensor([[0.0], [1.0]]))
                self.fc.bias.zero_()

        def forward_features(self, images: torch.Tensor) -> torch.Tensor:
            return images

        def forward_head(self, features: torch.Tensor) -> torch.Tensor:
            return self.fc(features.mean((-2, -1)))

        def get_classifier(self) -> torch.nn.Linear:
            return self.fc

    images = torch.zeros(3, 1, 4, 4)
    images[:, :, 1:3, 1:3] = 8.0
    model = backbones.CamNet(Sum(), "two-logit")
    values = np.asarray(gather(model, images).cams[:, 1].numpy())
    test = Inputs(
        images, np.ones(3, np.int64), ["a", "b", "c"], np.array([""] * 3), np.array([""] * 3),
        np.zeros((3, 4, 4), np.uint8), np.zeros(3, bool),
    )  # fmt: skip
    found = difference.covering_moves(model, test, values, np.arange(3), "0" * 64)
    assert found["right way"] == 1.0
    assert found["moved"] == pytest.approx(-2.0)
    assert found["moved elsewhere"] > -2.0


def test_a_shape_is_moved_whole() -> None:
    cells = np.zeros((5, 7), bool)
    cells[0, :3] = cells[1, 2] = True
    region = Region(1.0, cells, math.nan, math.nan)
    moved = [difference.elsewhere(region, "0" * 64, str(sample)).cells for sample in range(40)]
    assert all(one.sum() == cells.sum() for one in moved)
    assert not any((one == cells).all() for one in moved)
    assert len({one.tobytes() for one in moved}) > 10


@pytest.mark.parametrize(("ratio", "minority"), [("9:1", 1), ("1:9", 0)])
def test_a_ratio_thins_training_alone(ratio: str, minority: int) -> None:
    whole = plugins.tasks().get("iris-pad").draw_standin("standin", 0)
    found = thinned(whole, ratio, 0)
    train_rows = found.rows[found.rows["split"] == "train"]
    counts = train_rows["label"].value_counts()
    assert counts[1 - minority] / counts[minority] == pytest.approx(9, rel=0.05)
    for split in ("validation", "test"):
        for rows in (whole.rows, found.rows):
            assert len(rows[rows["split"] == split]) == len(whole.rows[whole.rows["split"] == split])
    place = {sample: row for row, sample in enumerate(whole.rows["sample_id"])}
    origin = [place[sample] for sample in found.rows["sample_id"]]
    assert (found.images == whole.images[origin]).all()
    assert (found.maps == whole.maps[origin]).all()
    assert thinned(whole, "", 0) is whole
    for wrong in ("9", "9:0", "a:b", "1:100000"):
        with pytest.raises(UserError, match="ratio"):
            thinned(whole, wrong, 0)


def test_the_imbalance_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "data"
    prepare = ["data", "prepare", "iris-pad", "--from", "standin", "--option", "ratio=9:1", "--out", str(folder)]
    assert cli.main(prepare) == 0
    (run,) = train("iris-pad", "cross-entropy", tmp_path / "runs", "one-logit", str(folder))
    model, arrays, _ = opened(run, str(folder))
    found = imbalance.imbalance_numbers(run, model, arrays)  # type: ignore[arg-type]
    assert found["minority"]["bias for"] + found["majority"]["bias for"] == 1
    for group in found.values():
        assert 0 <= group["error"] <= 1
        assert math.isnan(group["bias share"]) or 0 <= group["bias share"] <= 1
    balanced = load_arrays(plugins.tasks().get("iris-pad"), resolve(plugins.tasks().get("iris-pad"), "standin"), 32)
    even = balanced.rows[balanced.rows["split"] == "train"].groupby("label").head(20)
    same = dataclasses.replace(
        balanced,
        rows=balanced.rows.loc[[*even.index, *balanced.rows.index[balanced.rows["split"] == "test"]]],
        images=balanced.images[[*even.index, *balanced.rows.index[balanced.rows["split"] == "test"]]],
        maps=balanced.maps[[*even.index, *balanced.rows.index[balanced.rows["split"] == "test"]]],
    )
    with pytest.raises(UserError, match="is balanced"):
        imbalance.imbalance_numbers(run, model, same)


def test_many_classes_are_trained_and_tested(runs: Path) -> None:
    run = read_runs(runs)[0]
    _, arrays, test = opened(run)
    classes, names = own_networks.category_classes(arrays)  # type: ignore[arg-type]
    assert names == ["", "lens-dots", "print"]
    assert set(np.unique(classes)) == {-1, 0, 1, 2}
    model = own_networks.train_network(arrays, classes, TINY, "iris-pad", seed=0)  # type: ignore[arg-type]
    own = classes[(arrays.rows["split"] == "test").to_numpy()]  # type: ignore[attr-defined]
    chosen = own >= 0
    found = case.class_map_numbers(model, test.part(chosen), own[chosen], "0" * 64, images=12, k=5.0, tau=50.0)
    assert set(found) == {*case.KINDS, "random", "centre"}
    assert gather(model, test.images[:4]).classes == 3
    assert {"agreement", "drop", "deletion", "insertion"} <= set(found["case"])


def test_training_for_a_study_is_training_for_a_run(runs: Path) -> None:
    """Two classes, the engine's seeds: the same network as the run's."""
    run = next(run for run in read_runs(runs) if run.spec.method == "cross-entropy")
    model, arrays, _ = opened(run)
    labels = arrays.rows["label"].to_numpy(np.int64, copy=True)  # type: ignore[attr-defined]
    watched = []
    again = own_networks.train_network(
        arrays, labels, TINY, "iris-pad", 0, lambda epoch, net: watched.append(epoch)  # type: ignore[arg-type]
    )  # fmt: skip
    assert watched == [1]
    for name, value in model.net.state_dict().items():
        assert torch.equal(value, again.net.state_dict()[name]), name


def test_case_keeps_the_evidence_where_the_rows_are_square_and_loses_it_where_they_are_opposite(runs: Path) -> None:
    run = read_runs(runs)[0]
    model, _, test = opened(run)
    with torch.no_grad():
        for cosine in (0.0, -1.0):
            first = torch.zeros_like(model.net.fc.weight[0])
            first[0] = 1.0
            second = cosine * first
            if cosine == 0:
                second[1] = 1.0
            model.net.fc.weight.copy_(torch.stack([first, second]))
            found = case.case_at_angle(model, test)
            assert found["cosine"] == pytest.approx(cosine, abs=1e-6)
            assert found["undefined case"] == (0.0 if cosine == 0 else 1.0)
            assert found["pe case-clamped"] == pytest.approx(found["pe true-class"])


def test_a_head_that_trains_on_turns_its_rows_apart(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(case, "STEPS", (0, 20, 2000))
    run = read_runs(runs)[0]
    model, arrays, test = opened(run)
    train = split_inputs(arrays, protocol_of(run), "train")  # type: ignore[arg-type]
    before = {name: value.clone() for name, value in model.net.state_dict().items()}
    found = case.train_new_head(model, train, test, seed=0)
    cosines = [found[step]["cosine"] for step in (0, 20, 2000)]
    assert cosines[2] < cosines[0]
    assert found == case.train_new_head(model, train, test, seed=0)
    for name, value in model.net.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("form", ["terminal", "markdown", "csv", "json"])
def test_the_command(runs: Path, capsys: pytest.CaptureFixture[str], form: str) -> None:
    assert cli.main(["study", "difference", str(runs), "--images", "4", "--format", form]) == 0
    printed = capsys.readouterr().out
    assert "cyborg" in printed
    if form == "json":
        (table,) = json.loads(printed)
        assert {row["map"] for row in table["rows"]} == {"true-class", "difference"}


def test_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["nonsense"], ["difference", str(tmp_path)], ["case", "--task", "nothing"]):
        assert cli.main(["study", *arguments]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
