"""The README's code works as written."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import divsal_bench
from divsal_bench.registry import plugins, protocols

SHIPPED = {
    "cross-entropy", "balanced-cross-entropy", "cyborg", "difference", "contrast", "margin",
    "cyborg-shuffled", "cyborg-inverted", "cyborg-center",
}  # fmt: skip
ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
#: Every page for people, by its path.
PAGES = {
    file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8")
    for file in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
}


def block(marker: str, language: str, page: str = "README.md") -> str:
    """The fenced block that follows a marker."""
    found = re.search(rf"<!-- {marker} -->\n```{language}\n(.*?)```", PAGES[page], re.DOTALL)
    assert found, marker
    return found.group(1)


@pytest.mark.slow
def test_the_example_method_is_within_twenty_lines_and_runs(tmp_path: Path) -> None:
    code = block("method-example", "python")
    body = [line for line in code[code.index("@dataclass") :].splitlines() if line.strip()]
    assert len(body) <= 20
    (tmp_path / "energy.py").write_text(code)
    info = tmp_path / "energy-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: energy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[divsal_bench.methods]\nenergy = energy:Energy\n")
    script = (
        "import dataclasses, divsal_bench\n"
        "from divsal_bench.registry import protocols\n"
        "protocols.PROTOCOLS['quick-v1'] = dataclasses.replace(protocols.find_protocol('quick-v1'), epochs=1)\n"
        "(run,) = divsal_bench.run('cxr', 'energy:alpha=0.3', seeds=1, data='standin', out='runs')\n"
        "print(run.record.status, run.record.error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["done"], done.stderr


@pytest.mark.parametrize(("page", "marker"), [("README.md", "python-example"), ("docs/python.md", "python-session")])
def test_what_a_page_shows_of_python_works(
    page: str, marker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = dataclasses.replace(
        protocols.find_protocol("quick-v1"),
        epochs=1,
        input_size=32,
        backbone_args={"channels": [4, 4, 8, 8], "stem_width": 4},
    )
    monkeypatch.setitem(protocols.PROTOCOLS, "quick-v1", tiny)
    monkeypatch.chdir(tmp_path)
    exec(compile(block(marker, "python", page), page, "exec"), {"__name__": "session"})
    said = capsys.readouterr()
    assert said.err == ""
    assert "cyborg" in said.out


def test_the_page_on_python_names_every_function_and_what_its_result_has() -> None:
    rows = re.findall(r"^\| (`.*) \| .* \| (.*) \|$", PAGES["docs/python.md"], re.MULTILINE)
    named = {name for left, _ in rows for name in re.findall(r"`(\w+)\(", left)}
    assert named == set(divsal_bench.__all__) - {"__version__"}
    for left, right in rows:
        for call in re.findall(r"`(\w+\(.*?\))`", left):
            name, given = call.rstrip(")").split("(")
            taken = inspect.signature(getattr(divsal_bench, name)).parameters
            assert all(one.partition("=")[0].strip() in taken for one in given.split(",") if one), call
        returned = re.search(r"`([A-Z]\w+)`: (.*)", right)
        if returned is None:
            continue
        function = getattr(divsal_bench, re.findall(r"`(\w+)\(", left)[0])
        assert returned[1] in inspect.signature(function).return_annotation
        result = class_named(returned[1])
        has = {*dir(result), *getattr(result, "__dataclass_fields__", ())}
        assert set(re.findall(r"`\.(\w+)", returned[2])) <= has, returned[0]


def class_named(name: str) -> type:
    """A class of this package, wherever it is defined."""
    files = (ROOT / "benchmark").rglob("*.py")
    (file,) = (one for one in files if re.search(rf"^class {name}\b", one.read_text(encoding="utf-8"), re.MULTILINE))
    module = ".".join(file.relative_to(ROOT / "benchmark").with_suffix("").parts)
    found: type = getattr(importlib.import_module(f"divsal_bench.{module}"), name)
    return found


def test_the_table_of_methods_names_every_built_in_method() -> None:
    found = re.findall(r"[a-z-]+", PAGES["docs/methods.md"])
    for name in SHIPPED:
        assert name in plugins.methods().found
        assert name in found or name.replace("cyborg", "", 1) in found


@pytest.mark.parametrize("page", PAGES)
def test_every_command_and_script_that_a_page_names_exists(page: str) -> None:
    from divsal_bench.cli.parser import parse

    commands = "".join(re.findall(r"```bash\n(.*?)```", PAGES[page], re.DOTALL))
    for line in re.findall(r"^divsal-bench (.+)$", commands, re.MULTILINE):
        assert parse(shlex.split(line, comments=True)).handler
    for script in re.findall(r"tests/benchmarks/(\w+)\.py", PAGES[page]):
        assert (ROOT / "tests" / "benchmarks" / f"{script}.py").exists()


def anchor(heading: str) -> str:
    """The address that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    prose = re.sub(r"```.*?```", "", PAGES[page], flags=re.DOTALL)
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", prose):
        path, _, part = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), link
        if part:
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert part in {anchor(heading) for heading in headings}, link


@pytest.mark.parametrize("page", PAGES)
def test_every_path_that_a_page_names_exists(page: str) -> None:
    named = re.findall(
        r"`((?:benchmark|leaderboard|tasks|baselines|tests|docs|\.ci|\.github)/[\w./-]*\w[/\w]*)`", PAGES[page]
    )
    to_save = re.findall(r"Save this as `([^`]+)`", PAGES[page])
    missing = [path for path in named if not (ROOT / path).exists() and "NAME" not in path and path not in to_save]
    assert not missing, missing


def test_what_the_readme_says_of_the_accepted_results_is_what_they_say() -> None:
    from divsal_bench.leaderboard.accepted.board_file import read_board

    better = {}
    for table in (one.table for one in read_board(ROOT / "leaderboard" / "results").tables):
        tests = [test for test in table.tests if test.family == "baseline" and test.p_holm <= 0.05]
        assert all(test.comparison.difference > 0 for test in tests)
        better[table.task, table.data] = {test.first for test in tests}
    guided = {"cyborg", "contrast", "difference", "margin"}
    said = re.search(
        r"On two of the four drawn data sets, (\S+) and (\S+), cyborg, contrast, difference and\s+margin", README
    )
    assert said
    assert "On real radiographs" in README
    assert better.pop(("cxr", "cxr")) == set()
    assert {task for (task, _), found in better.items() if found} == set(said.groups())
    assert [found for found in better.values() if found] == [guided, guided]


def test_the_table_shown_is_of_the_command_that_stands_above_it() -> None:
    from divsal_bench.leaderboard.statistics.families import BASELINE

    found = re.search(r"<!-- table -->\n```\n(.*?)```", PAGES["docs/table.md"], re.DOTALL)
    rows = re.search(r"<!-- rows -->\n```\n(.*?)\n```", README, re.DOTALL)
    assert found
    assert rows
    for name, method in plugins.methods().found.items():
        if name in SHIPPED:
            assert (f"\n{name} " in found.group(1)) == (method.kind != "control")
    assert "quick-v1" in found.group(1)
    assert "Stand-in data" in found.group(1)
    assert f"\n{BASELINE} " in found.group(1)
    assert found.group(1).startswith(rows.group(1))
