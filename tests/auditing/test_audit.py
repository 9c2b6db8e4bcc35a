"""The audit of a run: against a slow, plain recomputation from its weights, kept beside it, and by the command."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit

from divsal_bench import cli
from divsal_bench.auditing import many_runs
from divsal_bench.auditing.many_runs import keep_audit
from divsal_bench.auditing.one_run import audit_run
from divsal_bench.data.arrays import DataArrays, open_cached
from divsal_bench.errors import UserError
from divsal_bench.evaluation import predictions
from divsal_bench.grid import planning, work
from divsal_bench.grid.jobs import Job
from divsal_bench.maps.fidelity import choose_images
from divsal_bench.networks.backbones import CamNet
from divsal_bench.networks.trained import load_model, protocol_of
from divsal_bench.registry import method_choice, protocols
from divsal_bench.runs.audit_record import Audit, AuditSettings, Quantity, audit_file, find_audit, find_audits
from divsal_bench.runs.reading import Run, read_run
from divsal_bench.runs.store import weights_sha256
from divsal_bench.scores import scoring
from divsal_bench.workflows import auditing
from divsal_bench.workflows.auditing import NewAudit

#: 32 px, 4 × 4 CAMs.
TINY = dataclasses.replace(
    protocols.find_protocol("quick-v1"),
    epochs=1,
    input_size=32,
    backbone_args={"channels": [4, 4, 8, 8], "stem_width": 4},
)
SETTINGS = AuditSettings(images=12, steps=4)


def make(out: Path, methods: str, seeds: tuple[int, ...], head: str = "two-logit") -> list[Job]:
    asked = planning.Grid(
        ("cxr",), tuple(method_choice.choose_methods(methods)), seeds, out, TINY, data="standin", head=head,  # type: ignore[arg-type]
    )  # fmt: skip
    jobs = list(planning.plan(asked)[0].jobs)
    for job in jobs:
        work.execute(job)
    return jobs


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Output folders ``two`` and ``one`` of tiny runs with heads of two logits and one; and their decoded data."""
    folder = tmp_path_factory.mktemp("audited")
    jobs = make(folder / "two", "cross-entropy,cyborg", (0, 1))
    make(folder / "one", "cross-entropy", (0,), head="one-logit")
    return folder, Path(jobs[0].cache)


@pytest.fixture
def out(made: tuple[Path, Path], tmp_path: Path) -> Path:
    """A copy of one's own."""
    return Path(shutil.copytree(made[0], tmp_path / "runs"))


@pytest.fixture
def data(made: tuple[Path, Path]) -> DataArrays:
    return open_cached(made[1])


def a_run(out: Path, method: str = "cyborg", folder: str = "two") -> Run:
    return read_run(sorted((out / folder / "cxr" / method).iterdir())[0])


def value(found: Audit, block: str, of: str, metric: str, images: str = "all") -> float | None:
    wanted = Quantity(block=block, of=of, images=images, metric=metric)  # type: ignore[arg-type]
    return next(one.value for one in found.numbers if one.quantity == wanted)


def with_rows(data: DataArrays, keep: np.ndarray | None = None, **columns: object) -> DataArrays:
    """The data with some rows left out, or columns replaced."""
    rows = data.rows.assign(**columns)  # type: ignore[arg-type]
    chosen = np.arange(len(rows)) if keep is None else np.flatnonzero(keep)
    return dataclasses.replace(
        data, rows=rows.iloc[chosen].reset_index(drop=True), images=data.images[chosen], maps=data.maps[chosen]
    )


@dataclasses.dataclass
class Slow:
    """Everything about the test split, one image and one cell at a time."""

    margins: list[float]
    true: list[np.ndarray]
    difference: list[np.ndarray]
    human: list[np.ndarray | None]
    labels: list[int]
    images: torch.Tensor


def slow(run: Run, data: DataArrays) -> Slow:
    model = load_model(run)
    model.net.eval()
    weight, bias = (part.detach().numpy().astype(np.float64) for part in model.classifier())
    found = Slow([], [], [], [], [], torch.zeros(0))
    pictures = []
    for row in np.flatnonzero((data.rows["split"] == "test").to_numpy()):
        pixels = (torch.from_numpy(np.array(data.images[row]))[None].float() / 255 - 0.5) / 0.25
        pictures.append(pixels)
        with torch.no_grad():
            features = model.net.forward_features(pixels)[0].numpy().astype(np.float64)  # type: ignore[operator]
        label = int(data.rows["label"].iloc[row])
        cams = [sum(weight[k, c] * features[c] for c in range(len(features))) for k in (0, 1)]
        logits = [cams[k].mean() + bias[k] for k in (0, 1)]
        found.margins.append(logits[1] - logits[0])
        found.true.append(np.array(cams[label]))
        found.difference.append(np.array(cams[label] - cams[1 - label]))
        cells = np.array(data.maps[row], np.float64).reshape(4, 8, 4, 8).mean((1, 3)) / 255
        found.human.append(cells if data.rows["has_map"].iloc[row] else None)
        found.labels.append(label)
    found.images = torch.cat(pictures)
    return found


def test_every_number_against_a_slow_recomputation(made: tuple[Path, Path], data: DataArrays) -> None:
    run = a_run(made[0])
    found = audit_run(run, load_model(run), data, SETTINGS)
    plain = slow(run, data)
    labels, margins = np.array(plain.labels), np.array(plain.margins)
    scores = run.record.scores
    assert scores is not None
    assert scores.true_cam is not None
    assert scores.difference_map is not None

    for of, maps, own in (
        ("true-class", plain.true, scores.true_cam),
        ("difference", plain.difference, scores.difference_map),
    ):
        shares = []
        for values, human in zip(maps, plain.human, strict=True):
            if human is not None:
                positive = np.maximum(values, 0)
                inside = (positive * human).sum() / positive.sum() if positive.max() > 0 else 0.0
                shares.append((inside, inside * (1 - human.mean()), inside / human.mean(), positive.max() > 0))
        for position, metric in enumerate(("pe", "pe_corrected", "lift")):
            expected = np.mean([one[position] for one in shares])
            assert value(found, "energy", of, metric) == pytest.approx(expected, rel=1e-4)
            if metric != "pe_corrected":
                held = np.mean([one[position] for one in shares if one[3]])
                assert value(found, "energy", of, f"{metric}_nonempty") == pytest.approx(held, rel=1e-4)
        assert value(found, "energy", of, "empty") == pytest.approx(1 - np.mean([one[3] for one in shares]))
        assert value(found, "energy", of, "lift") == pytest.approx(own.lift, rel=1e-5), "as the run itself says"
        assert value(found, "energy", of, "pe") == pytest.approx(own.pe, rel=1e-5)

    _, bias = load_model(run).classifier()
    b = float(bias.detach()[1] - bias.detach()[0])
    assert value(found, "decision", "decision", "bias_share") == pytest.approx(
        np.mean([abs(b) / (abs(b) + abs(margin - b)) for margin in margins]), rel=1e-4
    )
    wrong = (margins >= 0) != (labels == 1)
    assert value(found, "decision", "decision", "error") == pytest.approx(wrong.mean())
    assert value(found, "decision", "decision", "error", "negatives") == pytest.approx(wrong[labels == 0].mean())
    assert value(found, "decision", "decision", "error", "positives") == pytest.approx(wrong[labels == 1].mean())
    rows = load_model(run).classifier()[0].detach().double()
    assert value(found, "decision", "head", "common_share") == pytest.approx(
        float((rows[0] + rows[1]).norm() / 2 / (rows[1] - rows[0]).norm()), rel=1e-5
    )
    assert found.test == (int((labels == 0).sum()), int((labels == 1).sum()))
    assert found.correct == int((~wrong).sum())


def test_the_confidence_drop_against_covering_cell_by_cell(made: tuple[Path, Path], data: DataArrays) -> None:
    run = a_run(made[0])
    found = audit_run(run, load_model(run), data, SETTINGS)
    plain, model = slow(run, data), load_model(run)
    model.net.eval()
    ids = data.rows.loc[data.rows["split"] == "test", "sample_id"].astype(str).tolist()
    correct = (np.array(plain.margins) >= 0) == (np.array(plain.labels) == 1)
    rows = choose_images(ids, correct, SETTINGS.images, data.fingerprint)
    assert found.covered == len(rows) == 12
    drops = []
    for row in rows:
        picture = plain.images[row].clone()
        for cell in np.argsort(-plain.difference[row].ravel(), kind="stable")[:8]:
            y, x = divmod(int(cell), 4)
            picture[:, 8 * y : 8 * y + 8, 8 * x : 8 * x + 8] = 0
        with torch.no_grad():
            logits = model.forward(torch.stack([plain.images[row], picture]))[0].double()
        sign = 1 if plain.labels[row] else -1
        before, after = expit((sign * (logits[:, 1] - logits[:, 0])).numpy())
        drops.append(max(before - after, 0) / before)
    assert value(found, "fidelity", "difference", "drop") == pytest.approx(np.mean(drops), rel=1e-4)
    for control in ("random", "centre"):
        assert value(found, "fidelity", control, "drop") is not None


def test_the_attack_moves_the_cam_and_neither_decisions_nor_the_difference_map(
    made: tuple[Path, Path], data: DataArrays
) -> None:
    for method in ("cross-entropy", "cyborg"):
        run = a_run(made[0], method)
        found = audit_run(run, load_model(run), data, SETTINGS)
        assert value(found, "fooling", "decision", "decisions_changed") == 0
        assert value(found, "fooling", "decision", "margin_error") == pytest.approx(0, abs=1e-3)
        assert value(found, "fooling", "difference", "shift") == pytest.approx(0, abs=1e-3)
        assert value(found, "fooling", "difference", "likeness") == pytest.approx(1, abs=1e-4)
        likeness = value(found, "fooling", "true-class", "likeness")
        assert likeness is not None
        assert likeness < 0.9


def test_settings_reach_their_test_and_the_reference_stands_apart(made: tuple[Path, Path], data: DataArrays) -> None:
    run = a_run(made[0])
    plain = audit_run(run, load_model(run), data, SETTINGS)
    asked = audit_run(
        run, load_model(run), data, SETTINGS.model_copy(update={"reference": True, "k": 50.0, "tau": 0.0})
    )
    names = {one.quantity.metric for one in asked.numbers} - {one.quantity.metric for one in plain.numbers}
    assert names >= {"agreement_reference"}
    assert plain.sensitivity_cells == (157, (56, 56))
    assert asked.sensitivity_cells == (8, (4, 4))
    assert value(asked, "sensitivity", "true-class", "passes") in (0.0, None), "nothing lies below 0 %"
    assert [one.of for one in plain.undefined if one.block == "sensitivity"][:1] == ["difference"]
    few = audit_run(run, load_model(run), data, AuditSettings(images=5, steps=2, fidelity_k=25))
    assert (few.sampled, few.covered, few.fidelity_cells) == (5, 5, 4)


def test_one_logit_has_the_rest_and_the_reasons(made: tuple[Path, Path], data: DataArrays) -> None:
    run = a_run(made[0], "cross-entropy", "one")
    found = audit_run(run, load_model(run), data, SETTINGS)
    assert {one.quantity.block for one in found.numbers} == {"energy", "decision", "fidelity"}
    assert {(one.block, one.of) for one in found.undefined} == {
        ("decision", "head"),
        ("sensitivity", ""),
        ("fooling", ""),
    }
    assert all("undefined for a one-logit head" in one.why for one in found.undefined)


def test_without_human_maps_only_agreement_is_missing(made: tuple[Path, Path], data: DataArrays) -> None:
    run = a_run(made[0])
    found = audit_run(run, load_model(run), with_rows(data, has_map=False), SETTINGS)
    assert {one.quantity.block for one in found.numbers} == {"decision", "sensitivity", "fidelity", "fooling"}
    assert found.maps == (0, 0)
    assert [one.why for one in found.undefined if one.block == "energy"] == [
        "the test split has no human maps: there is no agreement with people to measure"
    ]


def test_one_class_in_the_test_split_is_refused(made: tuple[Path, Path], data: DataArrays) -> None:
    run = a_run(made[0])
    keep = ((data.rows["split"] != "test") | (data.rows["label"] == 1)).to_numpy()
    with pytest.raises(UserError, match=r"the test split of standin holds 0 negatives and \d+ positives"):
        audit_run(run, load_model(run), with_rows(data, keep), SETTINGS)
    with pytest.raises(UserError, match="was run on"):
        audit_run(run, load_model(run), dataclasses.replace(data, fingerprint="0" * 64), SETTINGS)


def test_a_network_without_a_closed_form_is_refused(made: tuple[Path, Path], data: DataArrays) -> None:
    run = a_run(made[0])
    net = load_model(run).net
    net.reset_classifier(2, "max")  # type: ignore[operator]
    with pytest.raises(UserError, match=r"cannot be audited: this network has no closed-form CAM"):
        audit_run(run, CamNet(net, "two-logit"), data, SETTINGS)


def test_empty_maps_are_counted(made: tuple[Path, Path], data: DataArrays) -> None:
    """Both rows below 0 on features that are never below it: no CAM has a positive part."""
    run = a_run(made[0])
    model = load_model(run)
    with torch.no_grad():
        model.classifier()[0].copy_(-model.classifier()[0].abs() - 0.1)
    found = audit_run(run, model, data, SETTINGS)
    assert value(found, "energy", "true-class", "empty") == 1
    assert value(found, "energy", "true-class", "pe") == 0
    assert value(found, "energy", "true-class", "pe_nonempty") is None
    assert value(found, "decision", "true-class", "empty") == 1
    assert value(found, "sensitivity", "true-class", "empty") == 1
    assert value(found, "sensitivity", "true-class", "agreement") is None


def test_an_audit_is_kept_and_read_back_only_for_its_weights_and_settings(out: Path, data: DataArrays) -> None:
    run = a_run(out)
    found = audit_run(run, load_model(run), data, SETTINGS)
    digest = weights_sha256(run.path)
    assert find_audit(run, SETTINGS, digest) is None
    assert keep_audit(run, found) == ""
    assert find_audit(run, SETTINGS, digest) == found
    assert list(find_audits(run, digest)) == [found]
    assert find_audit(run, AuditSettings(images=13, steps=4), digest) is None
    assert find_audit(run, SETTINGS, "0" * 64) is None
    assert not [path.name for path in run.path.iterdir() if "partial" in path.name]
    audit_file(run, SETTINGS).write_text("{")
    assert find_audit(run, SETTINGS, digest) is None


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing(made: tuple[Path, Path]) -> None:
    folder, cache = made
    paths = sorted((folder / "two/cxr").glob("*/*"))[:3]
    jobs = [many_runs.AuditJob(path, cache, SETTINGS, keep=False) for path in paths]
    told: list[int] = []
    here = many_runs.audit_jobs(jobs, 0, lambda position, audit, lost: told.append(position))
    there = many_runs.audit_jobs(jobs, 2)
    assert told == [0, 1, 2]
    assert [one.run_id for one in here] == [read_run(path).record.run_id for path in paths]
    for a, b in zip(here, there, strict=True):
        assert a.numbers == b.numbers
        assert a.undefined == b.undefined


SMALL = ["--images", "12", "--workers", "0"]


@pytest.mark.slow
def test_the_command_does_only_what_is_missing(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["audit", str(out / "two"), *SMALL]
    assert cli.main(arguments) == 0
    first = capsys.readouterr()
    assert "4 runs, 0 already audited, 4 to do" in first.err
    assert "[4/4] cxr cyborg seed 1: audited" in first.err
    for title in (
        "Energy of the true-class CAM", "Energy of the difference map", "Energy by predicted class", "Decision",
        "Class sensitivity", "Fidelity", "Passive fooling", "n = 2 seeds", "none is tested",
    ):  # fmt: skip
        assert title in first.out

    assert cli.main(arguments) == 0
    again = capsys.readouterr()
    assert again.out == first.out
    assert again.err == ""

    for path in a_run(out).path.glob("audit-*.json"):
        path.unlink()
    assert cli.main(arguments) == 0
    assert "4 runs, 3 already audited, 1 to do" in capsys.readouterr().err
    assert cli.main([*arguments, "--force", "--method", "cyborg"]) == 0
    assert "2 runs, 0 already audited, 2 to do" in capsys.readouterr().err
    assert cli.main([*arguments, "--tau", "70"]) == 0
    assert "τ = 70 %" in capsys.readouterr().out


def test_the_command_is_a_function(out: Path) -> None:
    """By run, folder or method; what is kept is not computed again."""
    said: list[str] = []
    new: list[NewAudit] = []
    run = a_run(out)
    first = auditing.audit([run], images=12, say=said.append, on_audited=new.append)
    assert [(one.run, one.done, one.total) for one in new] == [(run, 1, 1)]
    assert said == ["audit: 1 run, 0 already audited, 1 to do, 0 workers"]
    assert first.audits == {run.path: new[0].audit}
    assert first.lost == ()
    everything = auditing.audit([out / "two"], method="cyborg", images=12, on_audited=new.append)
    assert len(everything.runs) == len(everything.audits) == len(new) == 2
    assert everything.audits[run.path].numbers == first.audits[run.path].numbers
    (found,) = everything.tables
    assert len(found.audits) == 2


def test_a_directory_that_cannot_be_written_is_not_kept(out: Path, data: DataArrays) -> None:
    run = a_run(out)
    found = audit_run(run, load_model(run), data, SETTINGS)
    gone = dataclasses.replace(run, path=out / "nowhere")
    assert "No such file or directory" in keep_audit(gone, found)


@pytest.mark.slow
def test_formats(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["audit", str(out / "two"), *SMALL, "--reference", "--format"]
    assert cli.main([*arguments, "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    wanted = {"block": "energy", "of": "difference", "group": "all", "metric": "lift", "method": "cyborg"}
    (row,) = [one for one in rows if wanted.items() <= one.items()]
    lifts = [run.record.scores.difference_map.lift for run in (read_run(p) for p in (out / "two/cxr/cyborg").iterdir())
             if run.record.scores and run.record.scores.difference_map]  # fmt: skip
    assert float(row["mean"]) == pytest.approx(np.mean(np.array(lifts, float)), rel=1e-5)
    assert float(row["sd"]) == pytest.approx(np.std(np.array(lifts, float), ddof=1), rel=1e-3)
    assert row["n"] == "2"
    assert {one["metric"] for one in rows if one["block"] == "accuracy"} == {"in_domain", "open_set"}
    assert any(one["undefined"] for one in rows)

    assert cli.main([*arguments, "json"]) == 0
    (table,) = json.loads(capsys.readouterr().out)
    assert table["settings"]["reference"] is True
    assert len(table["numbers"]) == len([one for one in rows if not one["undefined"]])
    assert any("Its defect" in note for note in table["notes"])

    assert cli.main([*arguments, "markdown"]) == 0
    text = capsys.readouterr().out
    assert "| method" in text
    assert "reference %" in text
    assert "- reference: the published code's version" in text


def test_one_logit_by_the_command(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["audit", str(out / "one"), *SMALL]) == 0
    text = capsys.readouterr().out
    assert "undefined for a one-logit head: its two classes share one row" in text
    assert "undefined for a one-logit head: its rows are ±½w, and no vector can be added to both" in text
    capsys.readouterr()
    assert cli.main(["audit", str(out / "two"), str(out / "one"), *SMALL, "--reference"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("divsal-bench: --reference asks for the class-sensitivity test, and ")
    assert "has one logit: the test is undefined for a one-logit head" in said


def test_the_board_shows_what_was_audited(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = str(out / "two")
    assert cli.main(["board", runs, "--audit"]) == 0
    assert "Runs without an audit: cross-entropy, cyborg; `divsal-bench audit RUNS`" in capsys.readouterr().out
    assert cli.main(["audit", runs, *SMALL, "--method", "cyborg"]) == 0
    capsys.readouterr()
    assert cli.main(["board", runs, "--audit", "--format", "json"]) == 0
    (table,) = json.loads(capsys.readouterr().out)
    shifts = {row["label"]: row["audit"]["audit_shift_n"] for row in table["rows"]}
    assert shifts == {"cross-entropy": 0, "cyborg": 2}
    assert cli.main(["board", runs, "--audit", "--html", str(out / "page.html")]) == 0
    assert ">Audit</h3>" in (out / "page.html").read_text()

    (a_run(out).path / "model.safetensors").write_bytes(b"other weights")
    capsys.readouterr()
    assert cli.main(["board", runs, "--audit", "--format", "json"]) == 0
    (table,) = json.loads(capsys.readouterr().out)
    assert table["rows"][1]["audit"]["audit_shift_n"] == 1, "an audit of other weights is none"
    assert cli.main(["board", "--accepted", "--audit"]) == 2
    assert "--audit needs run directories" in capsys.readouterr().err


def test_a_run_in_bfloat16_is_audited_as_it_was_scored(made: tuple[Path, Path], data: DataArrays) -> None:
    run = a_run(made[0])
    spec = run.spec.model_copy(update={"protocol_settings": {**run.spec.protocol_settings, "precision": "bf16"}})
    rounded = Run(run.path, run.record.model_copy(update={"spec": spec}))
    found = audit_run(rounded, load_model(rounded), data, SETTINGS)
    own = scoring.score(predictions.predictions(load_model(rounded), data, protocol_of(rounded)), ())
    assert own.difference_map is not None
    assert value(found, "energy", "difference", "lift") == pytest.approx(own.difference_map.lift, rel=1e-5)
    assert value(found, "energy", "difference", "lift") != value(
        audit_run(run, load_model(run), data, SETTINGS), "energy", "difference", "lift"
    )


@pytest.mark.parametrize(
    ("option", "given", "message"),
    [
        ("--k", "0", "--k must be above 0"),
        ("--k", "nan", "--k must be above 0"),
        ("--tau", "101", "--tau must lie between 0 and 100"),
        ("--fidelity-k", "-1", "--fidelity-k must be above 0"),
        ("--images", "1", "--images must be 2 or more"),
        ("--workers", "-2", "--workers must be 0 or more"),
        ("--method", "nobody", "no run is of that task and method"),
        ("--data", "standin:null", "give the run's own with --data"),
    ],
)
def test_bad_input_is_one_line(
    made: tuple[Path, Path], option: str, given: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["audit", str(made[0] / "two"), "--images", "12", option, given]
    assert cli.main(arguments) == 2
    (line,) = [one for one in capsys.readouterr().err.splitlines() if one.startswith("divsal-bench")]
    assert message in line


def test_runs_without_a_result_are_said(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = a_run(out)
    content = json.loads((run.path / "run.json").read_text())
    content |= {"status": "failed", "error": "it broke", "scores": None}
    (run.path / "run.json").write_text(json.dumps(content))
    assert cli.main(["audit", str(out / "two"), *SMALL]) == 0
    found = capsys.readouterr()
    assert "has nothing to audit: it failed (it broke)" in found.err
    assert "Runs without an audit: cyborg (1)." in found.out
    assert cli.main(["audit", str(run.path), *SMALL]) == 2
    assert "there is no result to audit in 1 run;" in capsys.readouterr().err


def test_the_sample_does_not_depend_on_the_network(made: tuple[Path, Path], data: DataArrays) -> None:
    assert isinstance(data.rows, pd.DataFrame)
    runs = [a_run(made[0], method) for method in ("cross-entropy", "cyborg")]
    first, second = (audit_run(run, load_model(run), data, SETTINGS) for run in runs)
    assert first.sampled == second.sampled == 12
    assert first.test == second.test


ENDLESS = """
import os, time
from pathlib import Path
from divsal_bench.processes.serving import serve

def endless(content, send):
    Path(os.environ["MARKS"], f"pid-{os.getpid()}").touch()
    time.sleep(600)

if __name__ == "__main__":
    serve((), lambda content: True, endless)
"""
AUDIT = """
from pathlib import Path
from divsal_bench.auditing import many_runs
from divsal_bench.runs.audit_record import AuditSettings

many_runs.WORKER = "endless_worker"
many_runs.audit_jobs([many_runs.AuditJob(Path(), Path(), AuditSettings(), keep=False)] * 2, 2)
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_a_command_that_is_killed(tmp_path: Path, end: signal.Signals) -> None:
    (tmp_path / "forever.py").write_text(AUDIT, encoding="utf-8")
    (tmp_path / "endless_worker.py").write_text(ENDLESS, encoding="utf-8")
    (tmp_path / "marks").mkdir()
    command = subprocess.Popen(
        [sys.executable, str(tmp_path / "forever.py")], env={**os.environ, "MARKS": str(tmp_path / "marks")}
    )
    deadline = time.monotonic() + 120
    while len(found := list((tmp_path / "marks").iterdir())) < 2:
        assert time.monotonic() < deadline
        assert command.poll() is None
        time.sleep(0.05)
    command.send_signal(end)
    command.wait()
    pids = [int(file.name.removeprefix("pid-")) for file in found]
    while running := [pid for pid in pids if is_running(pid)]:
        assert time.monotonic() < deadline, f"{running} go on"
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    """Whether a process goes on; one that nobody has collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
