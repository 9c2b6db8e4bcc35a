"""CONTRIBUTING.md, followed to the letter: its examples are saved, checked and run, and stand in the table."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import divsal_bench.baselines
import divsal_bench.tasks
from divsal_bench.cli import main
from divsal_bench.cli.parser import parse
from divsal_bench.registry import plugins, protocols

TEXT = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")


def block(marker: str, language: str) -> str:
    """The fenced block that follows a marker."""
    found = re.search(rf"<!-- {marker} -->\n```{language}\n(.*?)```", TEXT, re.DOTALL)
    assert found, marker
    return found.group(1)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which files saved below ``baselines/`` and ``tasks/`` are found, with a short quick-v1."""
    one_epoch = dataclasses.replace(protocols.find_protocol("quick-v1"), epochs=1)
    monkeypatch.setitem(protocols.PROTOCOLS, "quick-v1", one_epoch)
    monkeypatch.chdir(tmp_path)
    known = set(sys.modules)
    for package, folder in ((divsal_bench.baselines, "baselines"), (divsal_bench.tasks, "tasks")):
        (tmp_path / folder).mkdir()
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path / folder)])
    yield tmp_path
    monkeypatch.undo()
    for registry in (plugins.methods, plugins.tasks):
        registry.cache_clear()
    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def follow(marker: str, capsys: pytest.CaptureFixture[str]) -> tuple[list[str], list[dict[str, str]]]:
    """Give the two commands of a block: the report of ``check``, and the rows of the table, of one seed."""
    for registry in (plugins.methods, plugins.tasks):
        registry.cache_clear()
    check, run = (shlex.split(line)[1:] for line in block(marker, "bash").splitlines())
    capsys.readouterr()
    assert main(check) == 0, capsys.readouterr().out
    report = capsys.readouterr().out.splitlines()
    assert main([*run, "--seeds", "1", "--workers", "0", "--data", "standin", "--format", "csv"]) == 0
    return report, list(csv.DictReader(io.StringIO(capsys.readouterr().out)))


@pytest.mark.slow
def test_the_example_method_passes_its_check_and_is_a_row_of_the_table(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkout / "baselines" / "absolute_difference.py").write_text(block("method-example", "python"), encoding="utf-8")
    report, rows = follow("method-commands", capsys)
    assert all(line.startswith("ok: ") for line in report[:-1])
    assert "ok: kind (two-cam: the maps and both CAMs decide the loss)" in report
    for task in ("cxr", "face-forgery", "face-pad", "iris-pad"):
        assert any(line.startswith(f"ok: short run on the {task} stand-in (after one epoch") for line in report)
    assert [row["method"] for row in rows] == ["cross-entropy", "absolute-difference"]


def test_the_example_task_passes_its_check_and_is_a_table(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (checkout / "tasks" / "dots.py").write_text(block("task-example", "python"), encoding="utf-8")
    report, rows = follow("task-commands", capsys)
    assert all(line.startswith("ok: ") for line in report[:-1])
    assert any(line.startswith("ok: short run of cross-entropy (after one epoch") for line in report)
    assert [row["method"] for row in rows] == ["cross-entropy", "cyborg", "difference"]
    assert {row["task"] for row in rows} == {"dots"}


def test_every_command_exists() -> None:
    commands = "".join(re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL))
    lines = re.findall(r"^divsal-bench ([^#\n]+)", commands, re.MULTILINE)
    assert lines
    for line in lines:
        assert parse(shlex.split(line)).handler


def test_every_file_it_points_to_exists() -> None:
    links = re.findall(r"\]\(((?!https?:)[^)#]+)\)", TEXT)
    assert links
    for link in links:
        assert (Path(__file__).parents[2] / link).exists(), link
