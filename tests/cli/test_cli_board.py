"""``board`` and ``submit`` as commands: options, messages and exit codes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from divsal_bench import cli
from divsal_bench.errors import UserError
from divsal_bench.runs.reading import Run
from divsal_bench.runs.records import DataFacts, Record, Spec
from divsal_bench.scores.schema import ConditionScore, Scores
from divsal_bench.workflows.boards import results_folder
from divsal_bench.workflows.selection import runs_named


def a_run(method: str = "cyborg", seed: int = 0, task: str = "cxr", label: str = "") -> Run:
    """A run that was never written."""
    spec = Spec(
        task=task, task_version=1, data="standin", data_fingerprint="f" * 64, method=method, method_version=1,
        fields={}, backbone="resnet10t", weights="scratch", head="two-logit", protocol="quick-v1",
        protocol_settings={}, seed=seed,
    )  # fmt: skip
    record = Record(
        run_id=spec.run_id, status="failed", method_label=label or method, method_kind="one-cam", spec=spec,
        data=DataFacts(kind="standin", revision="", pixel_hash="", train=1, validation=1, test=1, train_maps=0),
    )  # fmt: skip
    return Run(Path(f"runs/{task}/{method}/seed{seed}-{spec.run_id}"), record)


def test_runs_are_chosen_by_task_and_method() -> None:
    runs = [a_run(), a_run("difference"), a_run(task="iris-pad"), a_run(label="cyborg:alpha=0.3", seed=1)]
    assert runs_named(runs, None, None) == runs
    assert runs_named(runs, "cxr", "cyborg") == [runs[0]]
    assert runs_named(runs, "cxr", "cyborg:alpha=0.30") == [runs[3]]
    assert runs_named(runs, None, "difference,cyborg") == runs[:3]
    assert runs_named(runs, None, "cyborg:alpha=0.3,difference") == [runs[1], runs[3]]
    with pytest.raises(UserError, match=r"there are cxr cyborg, cxr cyborg:alpha=0\.3"):
        runs_named(runs, "face-pad", None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["submit", "nowhere", "--by", "Ann"], "there is no folder nowhere"),
        (["submit", "--by", "Ann"], "there is no folder runs"),
        (["submit", "."], "--by"),
        (["submit", ".", "--by", "Ann"], "holds no finished run"),
        (["board"], "there is no folder runs"),
        (["board", "."], "holds no finished run"),
        (["board", "x", "--accepted"], "either run directories, or"),
        (["board", "--accepted", "--results", "nowhere"], "make it with `divsal-bench board --recompute`"),
        (["board", "--recompute", "--results", "nowhere"], "no results folder nowhere"),
        (["board", "--check", "--results", "nowhere"], "no results folder nowhere"),
        (["board", "--format", "excel"], "unknown format 'excel'"),
        (["verify", "--accepted", "nothing.json", "--runs", ".", "--by", "Ann"], "there is no accepted result"),
        (["submit", ".", "--by", "Ann", "--weights", "/x"], "holds no finished run"),
    ],
)
def test_bad_input_is_one_line_and_two(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.count("\n") == 1
    assert message in found.err
    assert not list(tmp_path.iterdir()), "something was written"


def test_the_results_folder_is_the_checkouts_or_the_shipped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert results_folder(Path("mine")) == Path("mine")
    assert results_folder(None).name == "results"
    assert results_folder(None).is_absolute()
    Path("leaderboard/results").mkdir(parents=True)
    assert results_folder(None) == Path("leaderboard/results")


def test_an_empty_board_is_checked_computed_and_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("results").mkdir()
    assert cli.main(["board", "--recompute", "--results", "results"]) == 0
    first = Path("results/board.json").read_bytes()
    assert cli.main(["board", "--recompute", "--results", "results"]) == 0
    assert Path("results/board.json").read_bytes() == first
    capsys.readouterr()
    assert cli.main(["board", "--accepted", "--results", "results", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert cli.main(["board", "--check", "--results", "results", "--diff", "nowhere"]) == 0
    found = capsys.readouterr()
    assert found.out == "## Board\n\nNo row changes.\n"
    assert "checked: 0 results" in found.err
    Path("results/board.json").write_text("{")
    assert cli.main(["board", "--check", "--results", "results", "--diff", "nowhere"]) == 2
    found = capsys.readouterr()
    assert found.out == "## Board\n\nNo row changes.\n", "a reviewer needs the difference all the same"
    assert "mend it with `divsal-bench board --recompute`" in found.err


def test_an_installed_method_is_of_its_own_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from divsal_bench.registry import plugins
    from divsal_bench.workflows.boards import check_method_kinds

    found = plugins.methods().found
    known = SimpleNamespace(found={**found, "mine": found["cyborg"]})
    monkeypatch.setattr(plugins, "methods", lambda: known)

    def sheets(method: str, kind: str, label: str = "", version: int = 1, **fields: Any) -> Any:
        entry = SimpleNamespace(
            method=method, kind=kind, origins=("x.json",), label=label or method, version=version,
            fields={"alpha": 0.5, "cam_class": "true", **fields},
        )  # fmt: skip
        return [SimpleNamespace(entries=[entry])]

    check_method_kinds(sheets("mine", "one-cam", "mine:alpha=0.93", alpha=0.93))
    check_method_kinds(sheets("mine", "one-cam", "mine:alpha=0.93 (mine.alpha-0.93.0123)", alpha=0.93))
    check_method_kinds(sheets("mine", "one-cam", version=2, alpha=0.93))  # of which this installation knows nothing
    wrong: list[tuple[str, dict[str, Any]]] = [("mine", {"alpha": 0.93}), ("mine:alpha=0.5", {}), ("mine", {"gain": 1})]
    for label, fields in wrong:
        with pytest.raises(UserError, match=r"x\.json is called 'mine.*'; its fields .* make it "):
            check_method_kinds(sheets("mine", "one-cam", label, **fields))

    check_method_kinds(sheets("cyborg", "one-cam"))
    check_method_kinds(sheets("not-here", "control"))
    with pytest.raises(UserError, match=r"x\.json says cyborg is control, the method is one-cam"):
        check_method_kinds(sheets("cyborg", "control"))


def test_a_run_that_moved_is_still_itself(tmp_path: Path) -> None:
    from divsal_bench.runs import store
    from divsal_bench.runs.reading import collect_runs

    run = a_run()
    path = store.save_run(tmp_path / "runs", run.record)
    assert [one.record for one in collect_runs([tmp_path / "runs", path], Path())] == [run.record]
    shutil.copytree(path, tmp_path / "copy")
    assert [one.record for one in collect_runs([tmp_path / "copy"], Path())] == [run.record]


def test_scores_have_no_field_that_rescoring_misses() -> None:
    """A new number in the records must be re-scored or named as carried: this list is what the tests have seen."""
    assert set(Scores.model_fields) == {
        "primary", "validation", "in_domain", "open_set", "worst", "conditions", "field_metrics", "thresholds",
        "true_cam", "difference_map",
    }  # fmt: skip
    assert set(ConditionScore.model_fields) == {
        "name", "axis", "kind", "reason", "auroc", "positives", "negatives", "false_positive_rate",
    }  # fmt: skip


WORKFLOW = Path(__file__).parents[2] / ".github/workflows/submission.yml"


def steps() -> list[dict[str, Any]]:
    """Every step of the pull request's workflow."""
    content = yaml.safe_load(WORKFLOW.read_text())
    assert content["permissions"] == {"contents": "read"}
    # YAML reads the key `on` as true.
    assert list(content[True]) == ["pull_request"]
    return [step for job in content["jobs"].values() for step in job["steps"]]


def test_the_workflow_trusts_nothing_of_a_pull_request() -> None:
    assert "secrets" not in WORKFLOW.read_text().replace("no secrets", "")
    for step in steps():
        assert "${{" not in step.get("run", ""), "text of a pull request could become part of a command"
        if "uses" in step:
            assert len(step["uses"].partition("@")[2]) == 40, "an action is pinned to its commit"
        if "checkout" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.skipif(sys.platform == "win32", reason="the workflow's shell")
def test_the_workflows_step_shows_results_and_what_is_wrong_with_them(tmp_path: Path) -> None:
    (step,) = [step for step in steps() if step.get("name") == "Re-score and compare"]
    results = tmp_path / "work/merged/leaderboard/results"
    results.mkdir(parents=True)
    (tmp_path / "work/base").mkdir()
    programs = str(Path(sys.executable).parent)
    environment = {
        **os.environ,
        "GITHUB_WORKSPACE": str(tmp_path / "work"),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
        "PATH": os.pathsep.join([programs, os.environ["PATH"]]),
    }

    def conduct() -> tuple[int, str]:
        (tmp_path / "summary.md").write_text("")
        command = ["bash", "-eo", "pipefail", "-c", step["run"]]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert not done.stdout, "what a stranger wrote must not reach the log, where GitHub looks for commands"
        return done.returncode, (tmp_path / "summary.md").read_text()

    code, text = conduct()
    assert code == 0, text
    assert "No row changes." in text
    results.rmdir()
    code, text = conduct()
    assert code == 0, text
    assert "No row changes." in text, "deleted results are compared too"
    results.mkdir()
    (results / "::error::`<b>hello.txt").write_text("")
    code, text = conduct()
    assert code == 2
    (line,) = [line for line in text.splitlines() if "hello" in line]
    assert line.startswith("    divsal-bench: ")


def test_the_board_of_accepted_results_needs_no_torch(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom divsal_bench import cli\n"
        "options = '--recompute', '--accepted', '--check'\n"
        "code = [cli.main(['board', option, '--results', '.']) for option in options]\n"
        "print('exit', *code, 'loaded', *sorted({'torch', 'timm', 'datasets'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "exit 0 0 0 loaded", done.stderr
