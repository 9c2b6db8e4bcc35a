"""Imports run one way, by the contracts in pyproject.toml; and nothing that only lists or reads needs torch."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {
    "benchmark": "divsal_bench",
    "tasks": "divsal_bench.tasks",
    "baselines": "divsal_bench.baselines",
    "leaderboard": "divsal_bench.leaderboard",
}
#: Import name to file, of every module.
MODULES = {
    ".".join([package, *file.relative_to(ROOT / folder).with_suffix("").parts]).removesuffix(".__init__"): file
    for folder, package in FOLDERS.items()
    for file in sorted((ROOT / folder).rglob("*.py"))
}


def lint_imports(place: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the ``divsal_bench`` that lies in a folder, laid out as it is imported.

    An editable install maps four folders into one package, which no tool that reads files can see.
    """
    code = "from importlinter.cli import lint_imports_command as main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, "--no-cache", str(ROOT / "pyproject.toml")],
        cwd=place, env={**os.environ, "PYTHONPATH": str(place)},
        capture_output=True, text=True, encoding="utf-8", timeout=300, check=False,
    )  # fmt: skip


def test_every_import_keeps_the_contracts(tmp_path: Path) -> None:
    package = tmp_path / "divsal_bench"
    package.mkdir()
    for entry in [*(ROOT / "benchmark").iterdir(), *(ROOT / folder for folder in FOLDERS if folder != "benchmark")]:
        (package / entry.name).symlink_to(entry)
    done = lint_imports(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (analysed,) = re.findall(r"Analyzed (\d+) files", done.stdout)
    assert int(analysed) >= len(MODULES), "import-linter has not seen every module"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as it is imported, to plant into."""
    place = tmp_path_factory.mktemp("copy")
    for folder, package in FOLDERS.items():
        target = place / package.replace(".", "/")
        shutil.copytree(ROOT / folder, target, ignore=shutil.ignore_patterns("__pycache__", "results"))
    return place


LAZY = "def lazy():\n    "
TYPES = "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    "


@pytest.mark.parametrize(
    ("room", "planted", "refused"),
    [
        ("contracts", f"{LAZY}from divsal_bench.grid import planning", "contracts is not allowed to import {}.grid"),
        ("runs", f"{TYPES}from divsal_bench.data import arrays", "runs is not allowed to import {}.data"),
        ("studies", "from divsal_bench.auditing import one_run", "studies is not allowed to import {}.audit"),
        ("drawer", "", "{}.drawer (Since this contract is marked as 'exhaustive'"),
        (
            "leaderboard/statistics",
            f"{LAZY}from divsal_bench.leaderboard.tables import board",
            "leaderboard.statistics is not allowed to import {}.leaderboard.tables",
        ),
        (
            "leaderboard/tables",
            "from divsal_bench.contracts import method",
            "leaderboard is not allowed to import {}.contracts",
        ),
        ("publish", "from divsal_bench.leaderboard import statistics", "protected package {}.leaderboard"),
        ("workflows", "from divsal_bench import cli", "protected package {}.cli"),
        ("baselines", "from divsal_bench.scores import metrics", "baselines is not allowed to import {}.scores"),
        ("registry", "from divsal_bench.tasks import cxr", "protected package {}.tasks"),
        ("runs", f"{LAZY}import torch", "runs is not allowed to import torch"),
    ],
)
def test_a_planted_import_is_refused(copy: Path, room: str, planted: str, refused: str) -> None:
    folder = copy / "divsal_bench" / room
    new = not folder.exists()
    folder.mkdir(exist_ok=True)
    files = [folder / "planted.py", *[folder / "__init__.py"] * new]
    for file in files:
        file.write_text(f"{planted}\n", encoding="utf-8")
    try:
        done = lint_imports(copy)
    finally:
        for file in files:
            file.unlink()
        if new:
            folder.rmdir()
    assert done.returncode == 1, done.stdout + done.stderr
    assert refused.format("divsal_bench") in " ".join(done.stdout.split())


#: Room to floor, the lowest last, by the first contract.
FLOORS = {
    room.strip(): floor
    for floor, rooms in enumerate(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
                                  ["tool"]["importlinter"]["contracts"][0]["layers"])
    for room in rooms.split("|")
}  # fmt: skip
#: What discovery searches, by the room that does.
SEARCHED = {"registry": {"divsal_bench.tasks", "divsal_bench.tasks.adapters", "divsal_bench.baselines"}}
#: Names of groups of entry points, which are no modules.
GROUPS = {"divsal_bench.methods", "divsal_bench.adapters"}


def test_a_module_named_in_a_string_exists_and_is_of_a_lower_room() -> None:
    # What ``importlib`` and ``python -m`` are told is no import statement.
    wrong = []
    for module, file in MODULES.items():
        room = module.removeprefix("divsal_bench").strip(".").split(".")[0]
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), str(file))):
            name = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
            if not re.fullmatch(r"divsal_bench(\.\w+)+", name) or name in GROUPS | SEARCHED.get(room, set()):
                continue
            named = name.split(".")[1]
            if name not in MODULES or (named != room and FLOORS[named] <= FLOORS[room]):
                wrong.append(f"{file.relative_to(ROOT)} names {name}")
    assert not wrong, "\n".join(wrong)


def test_every_command_that_the_parser_names_exists() -> None:
    # ``lazy("module:function")`` is looked up when the command is used.
    texts = {module: file.read_text(encoding="utf-8") for module, file in MODULES.items() if ".cli." in module}
    named = {name for text in texts.values() for name in re.findall(r'lazy\("(\w+:\w+)"\)', text)}
    assert len(named) > 15
    lacking = [
        name
        for name in sorted(named)
        if f"\ndef {name.partition(':')[2]}(" not in texts["divsal_bench.cli." + name.partition(":")[0]]
    ]
    assert not lacking


@pytest.mark.parametrize("name", ["divsal_bench", "divsal_bench.cli", "divsal_bench.cli.parser"])
def test_what_every_command_loads_is_light(name: str, tmp_path: Path) -> None:
    code = f"import sys; before = set(sys.modules); import {name}; print(*set(sys.modules) - before)"
    done = python(code, home=tmp_path)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert {module.partition(".")[0] for module in loaded} - sys.stdlib_module_names == {"divsal_bench"}
    ours = {".".join(module.split(".")[:2]) for module in loaded if module.startswith("divsal_bench.")}
    assert ours <= {"divsal_bench.cli", "divsal_bench.errors", "divsal_bench.words"}


def python(code: str, *arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Run code in an interpreter of its own, outside the checkout."""
    environment = {**os.environ, "DIVSAL_BENCH_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=environment, cwd=home, capture_output=True, text=True, encoding="utf-8", timeout=300, check=False,
    )  # fmt: skip


# Between two imports everything of ours is forgotten, so that each module is the first of its package to be
# imported; other packages stay, which saves their time. `torch` names the module after which torch was there.
IMPORT_EACH = """
import importlib, json, sys, traceback
broken, torch = {}, []
for name in sys.argv[1:]:
    for known in [known for known in sys.modules if known.partition(".")[0] == "divsal_bench"]:
        del sys.modules[known]
    before = "torch" in sys.modules
    try:
        importlib.import_module(name)
    except BaseException:
        broken[name] = traceback.format_exc(limit=-2)
    if "torch" in sys.modules and not before:
        torch.append(name)
print(json.dumps([broken, torch]))
"""


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.slow
def test_each_module_imports_first_and_alone(folder: str, tmp_path: Path) -> None:
    names = [name for name, file in MODULES.items() if file.is_relative_to(ROOT / folder) and file.stem != "__main__"]
    done = python(IMPORT_EACH, *names, home=tmp_path)
    assert done.returncode == 0, done.stderr
    broken, torch = json.loads(done.stdout)
    assert not broken, "\n".join(f"{name}\n{trace}" for name, trace in broken.items())
    if folder != "benchmark":  # the engine may need torch; listing plugins and reading results may not
        assert not torch, f"importing {', '.join(torch)} imports torch"


WITHOUT_TORCH = """
import sys
from divsal_bench.cli import main
try:
    code = main(sys.argv[1:])
except SystemExit as left:
    code = left.code or 0
heavy = sorted({"torch", "timm", "torchvision"} & set(sys.modules))
print("exit", code, "loaded", *heavy)
"""


@pytest.mark.parametrize(
    "command",
    [
        "--help", "--version", "run --help", "list tasks", "list methods", "list protocols", "list backbones",
        "info cxr", "info cyborg", "data list", "status",
    ],
)  # fmt: skip
def test_commands_that_train_nothing_never_import_torch(command: str, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    done = python(WITHOUT_TORCH, *command.split(), home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "exit 0 loaded", done.stderr
