"""From weights to the row, with real runs and the command line: verify, submit, reproduce, and the page's galleries."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from divsal_bench import cli, method_choice, protocols, runner, verify, work
from divsal_bench.data.arrays import open_cached
from divsal_bench.errors import UserError
from divsal_bench.leaderboard import accepted
from divsal_bench.plugins import tasks
from divsal_bench.records import Run, Scores, read_run
from divsal_bench.trained import load_model

TINY = dataclasses.replace(
    protocols.get("quick-v1"), epochs=1, input_size=32, backbone_args={"channels": [4, 4, 8, 8], "stem_width": 4}
)


def grid(out: Path, methods: str, seeds: tuple[int, ...]) -> list[work.Job]:
    asked = runner.Grid(("cxr",), tuple(method_choice.choose(methods)), seeds, out, TINY, data="standin")
    return list(runner.plan(asked)[0].jobs)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output folders of real, tiny runs: ``ann`` with two methods and two seeds, ``bob`` with five other seeds."""
    folder = tmp_path_factory.mktemp("trained")
    for name, methods, seeds in (
        ("ann", "cross-entropy,cyborg", (0, 1)),
        ("bob", "cross-entropy", (2, 3, 4, 5, 6)),
    ):
        for job in grid(folder / name, methods, seeds):
            work.execute(job)
    return folder


@pytest.fixture
def out(trained: Path, tmp_path: Path) -> Path:
    """A copy of one's own."""
    return Path(shutil.copytree(trained, tmp_path / "trained"))


def first_run(out: Path) -> Run:
    return read_run(next((out / "ann/cxr/cyborg").iterdir()))


def numbers(run: Run) -> Scores:
    assert run.record.scores is not None
    return run.record.scores


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
    found = verify.verify(run, load_model(run), data, tasks().get("cxr").field_metrics, numbers(run))
    assert found.first_difference is None
    assert found.largest < 1e-6
    assert [line.name for line in found.lines[:3]] == ["in-domain", "open-set", "worst"]
    assert len(found.lines) == 3 + len(numbers(run).conditions)


def test_the_first_difference_is_named(out: Path) -> None:
    claimed = numbers(first_run(out))
    assert claimed.open_set is not None
    for change, name in (
        ({"open_set": claimed.open_set + 0.002}, "open-set"),
        ({"worst": None}, "worst"),
        ({"conditions": claimed.conditions[:-1]}, f"condition {claimed.conditions[-1].name}"),
    ):
        line = verify.compare(claimed.model_copy(update=change), claimed).first_difference
        assert line is not None
        assert line.name == name
    assert verify.compare(claimed.model_copy(update={"open_set": claimed.open_set + 0.0009}), claimed).largest < 1e-3


def test_other_data_is_refused(out: Path) -> None:
    run = first_run(out)
    data = dataclasses.replace(open_cached(Path(grid(out / "new", "cyborg", (0,))[0].cache)), fingerprint="0" * 64)
    with pytest.raises(UserError, match="has fingerprint 00000000"):
        verify.verify(run, load_model(run), data, (), numbers(run))


def test_the_command_verifies_and_says_what_differs(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = first_run(out)
    assert cli.main(["verify", str(run.path), str(out / "ann")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4, "each run once"
    assert all(line.startswith("verified: cxr ") for line in lines)
    edit_scores(run, in_domain=0.123)
    assert cli.main(["verify", str(run.path)]) == 1
    text = capsys.readouterr().out
    assert text.startswith("not verified: cxr cyborg seed")
    assert "in-domain is claimed as 0.1230" in text
    assert cli.main(["verify"]) == 2
    assert cli.main(["verify", str(run.path), "--data", "standin:null"]) == 2
    assert "give the run's own with --data" in capsys.readouterr().err


def test_from_submission_to_reproduction(
    out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole life of a result, by the commands that CONTRIBUTING names."""
    monkeypatch.chdir(out)
    assert cli.main(["submit", "ann", "--by", "Ann", "--results", "results"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said] == ["new:", "new:"]
    path = Path(said[0].split()[1])
    assert cli.main(["submit", "ann", "--by", "Ann", "--results", "results"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["unchanged:", "unchanged:"]

    claim = accepted.open_result(path).claim
    assert claim.description.startswith("Cross-entropy") or claim.description
    assert claim.seeds[0].weights.where.startswith("cxr/cross-entropy/seed0-")
    assert len(claim.cams) == 4
    gallery = accepted.read_data_set(path.parents[2]).gallery
    assert gallery is not None
    assert {picture.key for picture in gallery.pictures} == set(claim.cams)
    assert gallery.class_names == ("normal", "abnormal")

    arguments = ["verify", "--accepted", str(path), "--runs", "ann", "--by", "Cem", "--date", "2026-05-01"]
    assert cli.main(arguments) == 0
    stamped = path.read_bytes()
    assert cli.main(arguments) == 0
    assert path.read_bytes() == stamped
    assert accepted.open_result(path).claim.state == "verified"

    again = ["submit", "bob", "--reproduces", str(path), "--results", "results"]
    assert cli.main([*again, "--by", "ann"]) == 2
    assert "cannot reproduce their own" in capsys.readouterr().err
    code = cli.main([*again, "--by", "Bob"])
    text = capsys.readouterr().out
    claim = accepted.open_result(path).claim
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


def test_verifying_needs_the_claimed_weights(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = out / "results"
    assert cli.main(["submit", str(out / "ann"), "--by", "Ann", "--results", str(results), "--method", "cyborg"]) == 0
    (path,) = results.rglob("cyborg.json")
    before = path.read_bytes()
    asked = ["verify", "--accepted", str(path), "--by", "Cem", "--runs"]
    assert cli.main([*asked, str(out / "bob")]) == 2
    assert "holds no run" in capsys.readouterr().err
    for run in (out / "ann/cxr/cyborg").iterdir():
        shutil.copy(next((out / "ann/cxr/cross-entropy").iterdir()) / "model.safetensors", run)
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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the usual place by itself, elsewhere with --data; and their images are shown as their terms allow."""
    monkeypatch.setenv("DIVSAL_BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert cli.main(["data", "prepare", "cxr", "--from", "standin", "--out", "elsewhere"]) == 0
    choice = tuple(method_choice.choose("cross-entropy"))
    for job in runner.plan(runner.Grid(("cxr",), choice, (0,), Path("runs"), TINY, data="elsewhere"))[0].jobs:
        work.execute(job)
    assert cli.main(["verify", "runs"]) == 2
    assert "give the run's own with --data" in capsys.readouterr().err
    assert cli.main(["verify", "runs", "--data", "elsewhere"]) == 0
    Path("home/data").mkdir()
    Path("elsewhere").rename("home/data/cxr")
    assert cli.main(["verify", "runs"]) == 0
    assert cli.main(["submit", "runs", "--by", "Ann", "--results", "results"]) == 0
    (path,) = Path("results").rglob("cross-entropy.json")
    assert len(accepted.open_result(path).claim.cams) == 4
