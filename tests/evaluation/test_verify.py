"""From weights to the row, with real runs and the command line: verify, submit, reproduce, and the page's galleries."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from divsal_bench import cli
from divsal_bench.data.arrays import open_cached
from divsal_bench.errors import UserError
from divsal_bench.evaluation import verify
from divsal_bench.grid import planning, work
from divsal_bench.grid.jobs import Job
from divsal_bench.leaderboard.accepted import reading
from divsal_bench.leaderboard.claims import files, keys
from divsal_bench.networks.trained import load_model
from divsal_bench.registry import method_choice, protocols
from divsal_bench.registry.plugins import tasks
from divsal_bench.runs.reading import Run, read_run, read_runs
from divsal_bench.scores import scoring
from divsal_bench.scores.layout import layout_of
from divsal_bench.scores.schema import Scores
from divsal_bench.workflows import submitting, verifying

FailSeeds = Callable[..., None]
TINY = dataclasses.replace(
    protocols.find_protocol("quick-v1"),
    epochs=1,
    input_size=32,
    backbone_args={"channels": [4, 4, 8, 8], "stem_width": 4},
)


def grid(out: Path, methods: str, seeds: tuple[int, ...]) -> list[Job]:
    asked = planning.Grid(("cxr",), tuple(method_choice.choose_methods(methods)), seeds, out, TINY, data="standin")
    return list(planning.plan(asked)[0].jobs)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output folders of real, tiny runs: ``ann`` with two methods and two seeds, ``bob`` with five other seeds."""
    folder = tmp_path_factory.mktemp("trained")
    for name, methods, seeds in (
        ("ann", "cross-entropy,cyborg", (0, 1)),
        ("bob", "cross-entropy", (5, 6, 7, 8, 9)),
    ):
        for job in grid(folder / name, methods, seeds):
            work.execute(job)
    return folder


def submit(out: Path, fail_seeds: FailSeeds, *arguments: str) -> int:
    """Submit ann's runs, of which seeds 2 to 4 failed: a result has all seeds from 0 on, at least 5."""
    for method in ("cross-entropy", "cyborg"):
        fail_seeds(out / "ann", method, 2, 3, 4)
    return cli.main(["submit", str(out / "ann"), "--by", "Ann", "--results", str(out / "results"), *arguments])


@pytest.fixture
def out(trained: Path, tmp_path: Path) -> Path:
    """A copy of one's own."""
    return Path(shutil.copytree(trained, tmp_path / "trained"))


def first_run(out: Path) -> Run:
    return read_run(next((out / "ann/cxr/cyborg").iterdir()))


def numbers(run: Run) -> Scores:
    assert run.record.scores is not None
    return run.record.scores


def margins_of(run: Run) -> dict[str, float]:
    table = run.predictions()
    return dict(zip(table["sample_id"], scoring.margins(table), strict=True))


def with_record(run: Run, **change: Any) -> Run:
    return dataclasses.replace(run, record=run.record.model_copy(update=change))


def with_spec(run: Run, **change: Any) -> Run:
    return with_record(run, spec=run.spec.model_copy(update=change))


def edit_scores(run: Run, **change: float) -> Run:
    """Change what run.json claims."""
    path = run.path / "run.json"
    content = json.loads(path.read_text())
    content["scores"] |= change
    path.write_text(json.dumps(content))
    return read_run(run.path)


def test_a_run_is_verified_from_its_weights(out: Path) -> None:
    run = first_run(out)
    data = open_cached(Path(grid(out / "new", "cyborg", (0,))[0].cache))
    names = tasks().get("cxr").field_metrics
    found = verify.compare_with_weights(run, load_model(run), data, names, numbers(run), margins_of(run))
    assert found.first_difference is None
    assert found.largest < 1e-6
    assert found.margin.difference < 1e-6
    assert [line.name for line in found.aurocs[:4]] == ["in-domain", "open-set", "worst", "validation"]
    assert len(found.aurocs) == 4 + len(numbers(run).conditions)
    assert len(found.agreement) == 2 * 11
    assert numbers(run).true_cam is not None

    claimed = margins_of(run)
    for split in ("validation", "test"):
        sample = data.rows.loc[data.rows["split"] == split, "sample_id"].iloc[3]
        for change, same in ((0.009, True), (-0.5, False)):
            edited = {**claimed, sample: claimed[sample] + change}
            line = verify.compare_with_weights(run, load_model(run), data, names, numbers(run), edited).first_difference
            assert (line is None) == same
            assert same or (line is not None and line.name == f"margin of {split} sample {sample!r}")
    with pytest.raises(UserError, match="other samples"):
        verify.compare_with_weights(run, load_model(run), data, names, numbers(run), {"nobody": 0.0})


@pytest.mark.parametrize(
    ("field", "change", "same"),
    [
        ("maps_negative", 1, False), ("maps_positive", 1, False), ("auc_maps", -1, False), ("cc_maps", -1, False),
        ("empty", 1, False), ("pe", 0.0009, True), ("pe", 0.0011, False), ("lift", 0.0009, True), ("lift", 0.1, False),
        ("auc", 0.0011, False), ("cc", 0.0011, False), ("pe_nonempty", 0.0011, False), ("lift_nonempty", 0.1, False),
    ],
)  # fmt: skip
def test_agreement_with_people_is_compared(trained: Path, field: str, change: float, same: bool) -> None:
    found = numbers(first_run(trained))
    for kind in ("true_cam", "difference_map"):
        one = getattr(found, kind)
        claimed = found.model_copy(update={kind: one.model_copy(update={field: getattr(one, field) + change})})
        lines = verify.compare_agreement(claimed, found)
        wrong = [line.name for line in lines if line.difference > line.allowed]
        assert wrong == ([] if same else [f"{kind} {field}"])
        lines = verify.compare_agreement(found.model_copy(update={kind: None}), found)
        assert any(line.difference > line.allowed for line in lines)


def test_nothing_in_a_record_chooses_a_file(trained: Path) -> None:
    """A stranger's run.json: its model_args are not read, and its specification is held to what protocols have."""
    run = first_run(trained)
    expected = load_model(run).net.state_dict()
    hostile = with_record(run, model_args={"checkpoint_path": "/etc/passwd", "pretrained_cfg_overlay": {"file": "x"}})
    for name, tensor in load_model(hostile).net.state_dict().items():
        assert bool((tensor == expected[name]).all())
    settings = run.spec.protocol_settings
    for name, value in (("checkpoint_path", "x.pt"), ("checkpoint_path", 3), ("pretrained", True), ("channels", "x")):
        edited = {**settings, "backbone_args": {**settings["backbone_args"], name: value}}
        with pytest.raises(UserError, match=f"gives the backbone '{name}'"):
            load_model(with_spec(run, protocol_settings=edited))
    for name in ("local-dir:/tmp", "hf-hub:a/b", "resnet18.nobody"):
        with pytest.raises(UserError, match="backbone"):
            load_model(with_spec(run, backbone=name))
    with pytest.raises(UserError, match="does not fit the network"):
        load_model(with_spec(run, head="one-logit"))


def test_the_first_difference_is_named(out: Path) -> None:
    claimed = numbers(first_run(out))
    assert claimed.open_set is not None
    for change, name in (
        ({"open_set": claimed.open_set + 0.002}, "open-set"),
        ({"worst": None}, "worst"),
        ({"validation": claimed.open_set + 9}, "validation"),
        ({"conditions": claimed.conditions[:-1]}, f"condition {claimed.conditions[-1].name}"),
    ):
        found = compared(claimed.model_copy(update=change), claimed)
        assert found.first_difference is not None
        assert found.first_difference.name == name
    found = compared(claimed.model_copy(update={"open_set": claimed.open_set + 0.0009}), claimed)
    assert found.first_difference is None
    assert found.largest < 1e-3


def compared(claimed: Scores, found: Scores) -> verify.Verification:
    """Two sets of scores with the same margins."""
    aurocs, agreement = verify.compare_aurocs(claimed, found), verify.compare_agreement(claimed, found)
    return verify.Verification(aurocs, agreement, verify.ComparedNumber("margin", 0.0, 0.0))


def test_other_data_is_refused(out: Path) -> None:
    run = first_run(out)
    data = dataclasses.replace(open_cached(Path(grid(out / "new", "cyborg", (0,))[0].cache)), fingerprint="0" * 64)
    with pytest.raises(UserError, match="has fingerprint 00000000"):
        verify.compare_with_weights(run, load_model(run), data, (), numbers(run), margins_of(run))


def test_the_command_verifies_and_says_what_differs(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = first_run(out)
    assert cli.main(["verify", str(run.path), str(out / "ann")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4, "each run once"
    assert all(line.startswith("verified: cxr ") for line in lines)
    assert all(" margins, largest |Δ| " in line for line in lines)
    edit_scores(run, in_domain=0.123)
    assert cli.main(["verify", str(run.path)]) == 1
    text = capsys.readouterr().out
    assert text.startswith("not verified: cxr cyborg seed")
    assert "in-domain is claimed as 0.1230" in text
    assert cli.main(["verify"]) == 2
    assert cli.main(["verify", str(run.path), "--data", "standin:null"]) == 2
    assert "give the run's own with --data" in capsys.readouterr().err


def test_python_verifies_without_a_word(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = first_run(out)
    heard: list[verifying.VerifiedRun] = []
    done = verifying.verify([out / "ann"], on_verified=heard.append)
    assert heard == done
    assert [one.origin for one in done] == [""] * 4
    assert all(one.holds and one.margins == len(margins_of(one.run)) for one in done)
    edit_scores(run, in_domain=0.123)
    (one,) = verifying.verify([str(run.path)], data="standin")
    assert not one.holds
    assert one.found.first_difference is not None
    assert one.found.first_difference.name == "in-domain"
    assert capsys.readouterr() == ("", "")


def test_from_submission_to_reproduction(
    out: Path, fail_seeds: FailSeeds, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole life of a result, by the commands that CONTRIBUTING names."""
    monkeypatch.chdir(out)
    assert cli.main(["submit", "ann", "--by", "Ann", "--results", "results"]) == 2
    assert "cross-entropy on cxr (" in (said_of_it := capsys.readouterr().err)
    assert "has seeds 0, 1; a result has all seeds from 0 on, at least 5" in said_of_it
    assert "seeds 2, 3, 4 are missing. Run with --seeds 5" in said_of_it
    assert not Path("results").exists()
    assert submit(Path(), fail_seeds) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said] == ["new:", "new:"]
    path = Path(said[0].split()[1])
    assert cli.main(["submit", "ann", "--by", "Ann", "--results", "results"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["unchanged:", "unchanged:"]

    claim = reading.open_result(path).claim
    assert claim.description.startswith("Cross-entropy") or claim.description
    assert claim.seeds[0].weights.where.startswith("cxr/cross-entropy/seed0-")
    assert len(claim.cams) == 4
    gallery = reading.read_data_set(path.parents[2]).gallery
    assert gallery is not None
    assert {picture.key for picture in gallery.pictures} == set(claim.cams)
    assert gallery.class_names == ("normal", "abnormal")

    arguments = ["verify", "--accepted", str(path), "--runs", "ann", "--by", "Cem", "--date", "2026-05-01"]
    for place, value, message in (
        (6, "", "--by NAME"), (6, "Cem\n", "is no name"), (8, "tomorrow", "is no day"), (8, "9999-01-01", "not come"),
    ):  # fmt: skip
        assert cli.main([*arguments[:place], value, *arguments[place + 1 :]]) == 2
        said_of_it = capsys.readouterr()
        assert message in said_of_it.err
        assert "verified" not in said_of_it.out, "before any inference"
    assert cli.main(arguments) == 0
    stamped = path.read_bytes()
    assert cli.main(arguments) == 0
    assert path.read_bytes() == stamped
    assert reading.open_result(path).claim.state == "verified"

    again = ["submit", "bob", "--reproduces", str(path), "--results", "results"]
    assert cli.main([*again, "--by", "ann"]) == 2
    assert "cannot reproduce their own" in capsys.readouterr().err
    assert cli.main([*again, "--by", "Bob\x1b[2J"]) == 2
    assert "is no name" in capsys.readouterr().err
    code = cli.main([*again, "--by", "Bob"])
    text = capsys.readouterr().out
    claim = reading.open_result(path).claim
    assert claim.reproduction is not None
    assert claim.state in ("reproduced", "not reproduced")
    assert code == int(claim.state == "not reproduced")
    assert f"claimed {claim.reproduction.claimed_mean:.4f} (2 seeds)" in text
    assert f"new {claim.reproduction.new_mean:.4f} (5 seeds)" in text
    assert f"tolerance {claim.reproduction.tolerance:.4f}" in text
    assert cli.main([*again, "--by", "Bob"]) == 2
    assert "holds a reproduction by Bob" in capsys.readouterr().err

    assert cli.main(["board", "--recompute", "--results", "results"]) == 0
    assert cli.main(["board", "--accepted", "--results", "results", "--html", "page.html"]) == 0
    page = Path("page.html").read_text()
    assert claim.state in page
    assert "data:image/png;base64" in page


def test_python_submits_reproduces_and_stamps_without_a_word(
    out: Path, fail_seeds: FailSeeds, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_seeds(out / "ann", "cyborg", 2, 3, 4)
    fail_seeds(out / "ann", "cross-entropy", 2, 3, 4)
    results, runs = out / "results", read_runs(out / "ann")
    done = submitting.submit(runs, by="Ann", results=results, pictures=False)
    assert [one.change for one in done.files] == ["new", "new"]
    assert not any(one.claim.cams for one in done.files)
    path = next(one.path for one in done.files if one.claim.method == "cross-entropy")
    verified = verifying.verify_accepted(path, by="Cem", date="2026-05-01", runs=out / "ann")
    assert verified.holds
    assert [one.run.spec.seed for one in verified.runs] == [0, 1]
    assert verified.claim == reading.read_claim(path)
    again = submitting.reproduce(path, read_runs(out / "bob"), by="Bob")
    assert again.claim == reading.read_claim(path)
    assert again.outcome.by == "Bob"
    key = path.parents[2] / "key.parquet"
    rows = keys.parse_keys(key, key.read_bytes())
    key.write_bytes(keys.key_bytes(rows.assign(subject=rows["subject"].iloc[::-1].tolist())))
    forge(path, lambda content: content.update(key_sha256=hashlib.sha256(key.read_bytes()).hexdigest()))
    wrong = verifying.verify_accepted(path, by="Cem", runs=out / "ann")
    assert (wrong.holds, wrong.runs) == (False, ())
    assert "says the subject of row" in wrong.problem
    assert capsys.readouterr() == ("", "")


def forge(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Edit an accepted result's JSON."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_an_accepted_result_that_its_weights_do_not_give_is_not_verified(
    out: Path, fail_seeds: FailSeeds, capsys: pytest.CaptureFixture[str]
) -> None:
    """Invented subjects, invented agreement with people, and margins moved without any AUROC's changing."""
    results = out / "results"
    assert submit(out, fail_seeds, "--method", "cyborg") == 0
    (path,) = results.rglob("cyborg.json")
    key, margins = path.parents[2] / "key.parquet", path.with_suffix(".parquet")
    before = {file: file.read_bytes() for file in (path, key, margins)}
    asked = ["verify", "--accepted", str(path), "--by", "Cem", "--runs", str(out / "ann")]

    rows = keys.parse_keys(key, before[key])
    invented = rows.assign(subject=[keys.hashed(str(i), "0" * 64, "subject") for i in range(len(rows))])
    key.write_bytes(keys.key_bytes(invented))
    forge(path, lambda content: content.update(key_sha256=hashlib.sha256(key.read_bytes()).hexdigest()))
    capsys.readouterr()
    assert cli.main(asked) == 1
    assert "says the subject of row" in capsys.readouterr().out
    files.write_all(before)

    forge(path, lambda content: content["seeds"][0]["scores"]["true_cam"].update(pe=0.9))
    assert cli.main(asked) == 1
    assert "true_cam pe is claimed as 0.9000" in capsys.readouterr().out
    files.write_all(before)

    claim = reading.open_result(path).claim
    names, seeds = rows["key"].tolist(), [one.seed for one in claim.seeds]
    moved = keys.parse_margins(margins, before[margins], seeds, names).astype(np.float64) * 4
    margins.write_bytes(keys.margin_bytes(names, seeds, moved.astype(np.float32)))
    rescale(path, margins, rows, moved.astype(np.float32))
    assert cli.main(asked) == 1
    assert "margin of " in capsys.readouterr().out
    files.write_all(before)
    assert cli.main(asked) == 0


def rescale(path: Path, margins: Path, rows: pd.DataFrame, values: keys.Margins) -> None:
    """Make a result's scores fit margins that were changed."""
    claim = reading.read_claim(path)
    seeds = []
    for one, own in zip(claim.seeds, values, strict=True):
        old = one.scores
        new = scoring.score_margins(
            own.astype(np.float64), layout_of(rows), claim.field_metrics, old.true_cam, old.difference_map
        )
        seeds.append(one.model_copy(update={"scores": new}))
    sha256 = hashlib.sha256(margins.read_bytes()).hexdigest()
    path.write_bytes(files.model_json(claim.model_copy(update={"seeds": seeds, "margins_sha256": sha256})))


def test_verifying_needs_the_claimed_weights(
    out: Path, fail_seeds: FailSeeds, capsys: pytest.CaptureFixture[str]
) -> None:
    results = out / "results"
    assert submit(out, fail_seeds, "--method", "cyborg") == 0
    (path,) = results.rglob("cyborg.json")
    before = path.read_bytes()
    asked = ["verify", "--accepted", str(path), "--by", "Cem", "--runs"]
    assert cli.main([*asked, str(out / "bob")]) == 2
    assert "holds no run" in capsys.readouterr().err
    for run in (out / "ann/cxr/cyborg").glob("seed[01]-*"):
        shutil.copy(next((out / "ann/cxr/cross-entropy").glob("seed0-*")) / "model.safetensors", run)
    assert cli.main([*asked, str(out / "ann")]) == 2
    assert "are not the claimed ones" in capsys.readouterr().err
    assert cli.main(["verify", "--accepted", str(path)]) == 2
    assert "--by NAME" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_the_page_of_ones_own_runs_has_their_maps(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = out / "page.html"
    assert cli.main(["board", str(out / "ann"), "--html", str(page)]) == 0
    assert "data:image/png;base64" in page.read_text()
    for path in (out / "ann").rglob("model.safetensors"):
        path.unlink()
    assert cli.main(["board", str(out / "ann"), "--html", str(page)]) == 0
    text = page.read_text()
    assert "has no model.safetensors" in text, "lost weights cost the pictures, not the numbers"
    assert "data:image/png;base64" not in text


def test_runs_on_prepared_data_are_found_again(
    tmp_path: Path, fail_seeds: FailSeeds, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the usual place by itself, elsewhere with --data; and their images are shown as their terms allow."""
    monkeypatch.setenv("DIVSAL_BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert cli.main(["data", "prepare", "cxr", "--from", "standin", "--out", "elsewhere"]) == 0
    choice = tuple(method_choice.choose_methods("cross-entropy"))
    for job in planning.plan(planning.Grid(("cxr",), choice, (0,), Path("runs"), TINY, data="elsewhere"))[0].jobs:
        work.execute(job)
    assert cli.main(["verify", "runs"]) == 2
    assert "give the run's own with --data" in capsys.readouterr().err
    assert cli.main(["verify", "runs", "--data", "elsewhere"]) == 0
    Path("home/data").mkdir()
    Path("elsewhere").rename("home/data/cxr")
    assert cli.main(["verify", "runs"]) == 0
    fail_seeds(Path("runs"), "cross-entropy", 1, 2, 3, 4)
    assert cli.main(["submit", "runs", "--by", "Ann", "--results", "results"]) == 0
    (path,) = Path("results").rglob("cross-entropy.json")
    assert len(reading.open_result(path).claim.cams) == 4
