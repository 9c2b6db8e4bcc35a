"""The command line as a user meets it: bad input in one line, exit code 2, nothing half-written."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from divsal_bench.cli import main
from divsal_bench.registry import method_source, plugins, protocols

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    """Run the command in this process, in an empty folder: (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """quick-v1 with one epoch, for tests whose subject is not training."""
    import dataclasses

    one = dataclasses.replace(protocols.PROTOCOLS["quick-v1"], epochs=1)
    monkeypatch.setitem(protocols.PROTOCOLS, "quick-v1", one)


CXR = ("run", "--task", "cxr", "--data", "standin")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "--task", "cxrr"), "unknown task 'cxrr'. Did you mean 'cxr'?"),
        (("run", "--task", ","), "--task is empty"),
        ((*CXR, "--method", "cybrog"), "unknown method 'cybrog'. Did you mean 'cyborg'?"),
        ((*CXR, "--method", "cyborg:alhpa=1"), "Did you mean 'alpha'?"),
        ((*CXR, "--method", "cyborg:alpha=7"), "alpha must lie between 0 and 1, not 7"),
        ((*CXR, "--backbone", "resnet5O"), "unknown backbone 'resnet5O'. Did you mean 'resnet50'?"),
        ((*CXR, "--backbone", "convnext_atto"), "Closed form works for ResNet"),
        ((*CXR, "--protocol", "quick-v2"), "unknown protocol 'quick-v2'. Did you mean 'quick-v1'?"),
        ((*CXR, "--seeds", "0"), "--seeds 0 names no seeds"),
        ((*CXR, "--seeds", "-3"), "--seeds takes a number or a range"),
        ((*CXR, "--seeds", "9" * 20), "names no seeds or too many"),
        ((*CXR, "--seeds", "five"), "not 'five'"),
        ((*CXR, "--seeds", "9-5"), "names no seeds"),
        ((*CXR, "--workers", "-1"), "--workers must be 0 or more"),
        ((*CXR, "--workers", "two"), "invalid int value: 'two'"),
        ((*CXR, "--device", "tpu"), "unknown device 'tpu'"),
        ((*CXR, "--format", "xml"), "unknown format 'xml'"),
        (("run", "--task", "cxr", "--data", "standin:orcale"), "Did you mean 'standin:oracle'?"),
        (("run", "--task", "cxr", "--data", "./nowhere"), "there is no data './nowhere'"),
        (("runn", "--task", "cxr"), "unknown command 'runn'. Did you mean 'run'?"),
        (("run",), "--task"),
        (("list", "method"), "Did you mean 'methods'?"),
        (("info", "cyborgg"), "Did you mean 'cyborg'?"),
        (("show", "runs/none"), "neither a run directory nor"),
        (("show", "abcd1234"), "no run there begins so"),
        (("status", "--out", "nowhere"), "there is no output folder nowhere"),
        (("data", "prepare", "cxr"), "needs --source"),
        (("data", "prepare", "cxr", "--source", "nowhere.csv"), "there is no file or folder nowhere.csv"),
        (("data", "prepare", "cxr", "--from", "manifest"), "Did you mean 'manifest-csv'?"),
        (("data", "prepare", "cxr", "--from", "standin", "--option", "variant"), "has no value"),
        (("data", "check", "nowhere"), "nowhere"),
    ],
)
def test_bad_input_is_one_line_with_the_fix_and_exit_code_2(
    cli: Cli, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    code, out, err = cli(*arguments)
    assert code == 2
    assert message in err
    assert err.startswith("divsal-bench: ")
    assert err.count("\n") == 1
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_an_output_folder_that_cannot_be_written_is_refused_before_any_work(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    code, out, err = cli(*CXR, "--seeds", "1", "--method", "cross-entropy", "--out", "file/runs")
    assert (code, out) == (2, "")
    assert "output folder file/runs cannot be written" in err
    assert "--out" in err
    assert err.count("\n") == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused_too(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    code, _, err = cli(*CXR, "--seeds", "1", "--method", "cross-entropy", "--out", "locked/runs")
    assert code == 2
    assert "no permission to write in" in err


def test_a_path_that_the_system_refuses_is_one_line(cli: Cli) -> None:
    for arguments in (("run", "--task", "cxr", "--data", "x" * 300), ("show", "x" * 300), ("data", "check", "x" * 300)):
        code, out, err = cli(*arguments)
        assert (code, out) == (2, "")
        assert err.count("\n") == 1


def test_a_device_that_is_not_there_is_refused_before_any_run_is_stored(cli: Cli, tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is one here")
    code, _, err = cli(*CXR, "--seeds", "1", "--method", "cross-entropy", "--device", "cuda")
    assert code == 2
    assert "device 'cuda' is not available here" in err
    assert not (tmp_path / "runs").exists()


def test_the_way_out_that_standins_check_names_is_open() -> None:
    from divsal_bench.cli.parser import parse

    assert parse(["standins", "check", "--retry-failed"]).retry_failed


MANIFEST = "image,label,split,source,subject,saliency,saliency_kind\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.replace("label,", "lable,", 1), "label"),
        (lambda t: t.replace("abnormal,train", "sick,train", 1), "sick"),
        (lambda t: t.replace("a0.png", "../../a0.png", 1), "../../a0.png"),
        (lambda t: t.replace("a0.png", "gone.png", 1), "gone.png"),
        (lambda t: t.replace("a0.png", "manifest.csv", 1), "manifest.csv"),
        (lambda t: t.replace("p8", "p0"), "p0"),
        (lambda t: t.replace("train", "test"), "train"),
        (lambda t: "\n".join(line for line in t.split("\n") if "abnormal,validation" not in line), "validation"),
        (lambda t: t + t.split("\n")[1] + "\n", "a0.png"),
    ],
)
def test_a_bad_manifest_is_one_line_and_writes_nothing(
    cli: Cli, tmp_path: Path, change: Callable[[str], str], message: str
) -> None:
    import numpy as np
    from PIL import Image

    delivered = tmp_path / "delivered"
    delivered.mkdir()
    text = MANIFEST
    for i in range(12):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (8, 8), np.uint8)).save(delivered / f"a{i}.png")
        text += f"a{i}.png,{'abnormal' if i % 2 else 'normal'},{('train', 'validation', 'test')[i // 4]},s,p{i},,none\n"
    (delivered / "manifest.csv").write_text(change(text))
    code, out, err = cli("data", "prepare", "cxr", "--source", str(delivered / "manifest.csv"), "--out", "prepared")
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
    assert out == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["delivered"]
    (delivered / "manifest.csv").write_text(text)
    assert cli("data", "prepare", "cxr", "--source", str(delivered / "manifest.csv"), "--out", "prepared")[0] == 0


def test_prepared_data_is_run_checked_listed_and_named(
    cli: Cli, short: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """From delivery to table: the default place is used without --data, with a notice that says so."""
    monkeypatch.setenv("DIVSAL_BENCH_HOME", str(tmp_path / "own-home"))
    assert cli("data", "list")[1] == ""
    code, out, _ = cli("data", "prepare", "cxr", "--from", "standin")
    assert code == 0
    assert "next: divsal-bench run --task cxr --method all" in out
    assert "valid" in cli("data", "list")[1]
    code, out, _ = cli("data", "check", "cxr")
    assert code == 0
    assert "in-domain (scored)" in out
    code, out, err = cli(
        "run", "--task", "cxr", "--method", "cyborg", "--seeds", "1", "--workers", "0", "--format", "json"
    )
    assert code == 0
    assert "using a prepared copy of the stand-in" in err
    assert "--data standin" in err
    (table,) = json.loads(out)
    assert (table["task"], table["data"]) == ("cxr", "cxr")
    assert table["unnamed"] is True, "drawn images were trained on, and nobody asked for them"
    assert table["rows"][0]["open_set"]["seeds"]["n"] == 1


def test_run_again_does_nothing_and_every_format_holds_the_same_table(cli: Cli, short: None) -> None:
    command = (*CXR, "--method", "cross-entropy,cyborg", "--seeds", "2", "--workers", "0")
    code, out, err = cli(*command)
    assert code == 0
    assert "4 runs = 1 task × 2 methods × 2 seeds; 0 already done, 4 to do" in err
    assert err.count("seed 0: done") == 2
    assert "plan" not in out
    assert "data standin (drawn; " in out
    assert "no data was named" not in out
    again = cli(*command)
    assert "4 already done, 0 to do" in again[2]
    assert again[1] == out
    rows = list(csv.DictReader(io.StringIO(cli(*command, "--format", "csv")[1])))
    tables = json.loads(cli(*command, "--format", "json")[1])
    markdown = cli(*command, "--format", "markdown")[1]
    assert [row["method"] for row in rows] == ["cross-entropy", "cyborg"]
    for row, one in zip(rows, tables[0]["rows"], strict=True):
        assert float(row["open_set"]) == one["open_set"]["seeds"]["mean"]
        assert f"{float(row['open_set']):.3f} ±" in out
        assert f"| {row['method']} " in markdown
    code, out, _ = cli("status", "--format", "json")
    assert code == 0
    assert [row["done"] for row in json.loads(out)] == [2, 2]
    run_id = next(Path("runs/cxr/cyborg").glob("seed0-*")).name.split("-")[1]
    code, shown, _ = cli("show", run_id[:6])
    assert code == 0
    assert "cyborg" in shown
    assert "sensitivity@specificity=95%" in shown
    record = json.loads(cli("show", run_id, "--format", "json")[1])
    assert record["status"] == "done"
    for name in ("task", "method", "backbone", "protocol", "seed", "data_fingerprint", "fields"):
        assert name in record["spec"]


def test_a_plan_alone_writes_nothing(cli: Cli, tmp_path: Path) -> None:
    code, out, err = cli(*CXR, "--plan")
    assert (code, out) == (0, "")
    assert "data standin" in err
    assert list(tmp_path.iterdir()) == []


BROKEN = """
    from dataclasses import dataclass
    from typing import ClassVar
    from divsal_bench.contracts.method import Method

    @dataclass
    class Mine(Method):
        '''Fails as its field says.'''
        name: ClassVar[str] = "mine"
        kind: ClassVar[str] = "one-cam"
        how: str = "raise"

        def loss(self, batch, out):
            if self.how == "raise":
                print("fails now")
                raise ZeroDivisionError("in the plugin")
            return {"loss": out.cross_entropy * float("nan")}
"""


@pytest.mark.slow
def test_failed_and_diverged_runs_are_kept_shown_and_end_with_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A plugin that raises and a loss that is NaN, beside a method that works, in real worker processes."""
    (tmp_path / "outside_plugin.py").write_text(textwrap.dedent(BROKEN))
    info = tmp_path / "outside_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[divsal_bench.methods]\nmine = outside_plugin:Mine\n")
    import os

    done = subprocess.run(
        [sys.executable, "-m", "divsal_bench", *CXR, "--method", "cross-entropy,mine,mine:how=nan", "--seeds", "1",
         "--out", str(tmp_path / "runs"), "--workers", "1"],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 2
    assert "1 failed" in done.stdout
    assert "1 diverged" in done.stdout
    assert "ZeroDivisionError: in the plugin" in done.stderr
    assert "loss is not finite in epoch 1" in done.stderr
    assert "--retry-failed" in done.stderr
    assert "Traceback" not in done.stderr
    records = [json.loads(path.read_text()) for path in tmp_path.glob("runs/*/*/*/run.json")]
    assert sorted(record["status"] for record in records) == ["diverged", "done", "failed"]
    (printed,) = tmp_path.glob("runs/*/*/*/stderr.txt")
    assert printed.read_text() == "fails now\n"
    assert main(["show", str(printed.parent)]) == 0
    assert f"standard error  {printed}" in " ".join(capsys.readouterr().out.split()).replace("error ", "error  ")
    printed.write_text("something else", encoding="utf-8")
    assert main(["show", str(printed.parent)]) == 0
    assert "(not what this run wrote)" in capsys.readouterr().out
    assert not list((tmp_path / "runs" / ".partial").iterdir())


@pytest.mark.parametrize("task", sorted(plugins.tasks().found))
@pytest.mark.slow
def test_every_method_runs_on_every_stand_in(cli: Cli, short: None, task: str) -> None:
    """Through the registries: a new plugin is tested with no new test."""
    code, out, err = cli("run", "--task", task, "--data", "standin", "--method", "all,controls", "--seeds", "1",
                         "--workers", "0", "--format", "json", "--device", "cpu")  # fmt: skip
    assert code == 0, err
    (table,) = json.loads(out)
    assert table["primary"] == "open-set"
    assert {row["label"] for row in table["rows"]} == set(plugins.methods().found)
    for row in table["rows"]:
        # Class weights are all one where the classes are equal.
        twin = row["identical_to"]
        assert (twin == "") or (row["label"], twin) == ("balanced-cross-entropy", "cross-entropy")
        assert row["in_domain"]["seeds"]["n"] == (not twin)
        assert twin or row["true_cam"]["lift"]["mean"] is not None
    # One epoch is enough for the methods to part: nobody's predictions are another's.
    assert len({row["in_domain"]["seeds"]["mean"] for row in table["rows"]}) > len(table["rows"]) / 2


def test_an_option_given_twice_is_joined() -> None:
    from divsal_bench.cli.parser import parse

    given = parse(["run", "--task", "cxr", "--task", "iris-pad", "--method", "cyborg", "--method", "margin"])
    assert (given.task, given.method) == ("cxr,iris-pad", "cyborg,margin")
    assert parse(["run", "--task", "cxr"]).method == "all"


def test_an_edited_method_is_noticed(cli: Cli, short: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    command = (*CXR, "--data", "standin", "--method", "cyborg", "--seeds", "1", "--workers", "0")
    assert cli(*command)[0] == 0
    assert "has changed" not in cli(*command)[2]
    monkeypatch.setattr(method_source, "source_hash", lambda method: "12345678")
    assert "the code of cyborg has changed since these runs were made; raise its `version`" in cli(*command)[2]


def test_a_manifest_given_as_data_says_what_to_do_first(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text(MANIFEST)
    code, _, err = cli("run", "--task", "cxr", "--data", "manifest.csv")
    assert code == 2
    assert "first divsal-bench data prepare cxr --source manifest.csv" in err


def test_a_backbone_that_cannot_have_the_protocols_stride_says_so(cli: Cli) -> None:
    code, _, err = cli(*CXR, "--data", "standin", "--backbone", "densenet121", "--plan")
    assert code == 2
    assert "has no output stride of 8, which protocol quick-v1 asks for" in err


@pytest.mark.parametrize(
    "command",
    [("list", "nothing", "--debug"), ("show", "abcd", "--debug"), ("--debug", "show", "abcd"), ("run", "--debug")],
)
def test_debug_shows_where_an_error_comes_from(cli: Cli, command: tuple[str, ...]) -> None:
    """Above the one line, of a wrong command line too; the exit code stays."""
    code, out, err = cli(*command)
    assert (code, out) == (2, "")
    lines = err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-2].startswith("divsal_bench.errors.UserError: ")
    assert lines[-1] == lines[-2].replace("divsal_bench.errors.UserError", "divsal-bench")
    plain = [one for one in command if one != "--debug"]
    assert cli(*plain)[2] == f"{lines[-1]}\n"


def test_an_argument_called_debug_is_an_argument(cli: Cli) -> None:
    assert "Traceback" not in cli("board", "--", "--debug")[2]


@pytest.mark.parametrize("command", ["run", "audit", "data check", "standins check", "show"])
def test_every_command_takes_debug(cli: Cli, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*command.split(), "--help"])
    assert "--debug" in capsys.readouterr().out
