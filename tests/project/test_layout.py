"""The traps of mapping four folders into one import package."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {
    "benchmark": "divsal_bench",
    "tasks": "divsal_bench.tasks",
    "baselines": "divsal_bench.baselines",
    "leaderboard": "divsal_bench.leaderboard",
}
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS: dict[str, Any] = PROJECT["tool"]["setuptools"]


def files(folder: str, pattern: str = "*") -> list[Path]:
    """The files of one top-level folder, without Python's caches."""
    found = (ROOT / folder).rglob(pattern)
    return sorted(file for file in found if file.is_file() and "__pycache__" not in file.parts)


def package_of(folder: Path) -> str:
    """The import name of a folder inside one of the four."""
    first, *rest = folder.relative_to(ROOT).parts
    return ".".join([FOLDERS[first], *rest])


def test_the_four_folders_are_at_the_top_and_mapped() -> None:
    assert SETUPTOOLS["package-dir"] == {package: folder for folder, package in FOLDERS.items()}
    for folder in FOLDERS:
        assert (ROOT / folder / "__init__.py").is_file()


def test_packages_are_the_folders_that_are_packages() -> None:
    assert sorted(SETUPTOOLS["packages"]) == sorted(
        package_of(file.parent) for folder in FOLDERS for file in files(folder, "__init__.py")
    )


def test_every_folder_with_modules_is_a_package() -> None:
    bare = {
        str(file.parent.relative_to(ROOT))
        for folder in FOLDERS
        for file in files(folder, "*.py")
        if not (file.parent / "__init__.py").is_file()
    }
    assert not bare, f"no __init__.py in {bare}: they would import here and be absent from the wheel"


def test_nothing_in_the_engine_shadows_its_siblings() -> None:
    taken = {"tasks", "baselines", "leaderboard", "tests"}
    assert not taken & {entry.stem for entry in (ROOT / "benchmark").iterdir()}


def test_no_drawers() -> None:
    drawers = {"utils", "misc"}
    assert not [file for folder in (*FOLDERS, "tests") for file in files(folder, "*.py") if file.stem in drawers]


def test_every_other_file_is_package_data() -> None:
    data: dict[str, list[str]] = SETUPTOOLS["package-data"]
    covered = set()
    for folder in FOLDERS:
        for init in files(folder, "__init__.py"):
            for pattern in [*data.get(package_of(init.parent), []), *data.get("*", [])]:
                covered |= set(init.parent.glob(pattern))
    others = {file for folder in FOLDERS for file in files(folder) if file.suffix != ".py"}
    assert ROOT / "benchmark" / "py.typed" in others
    assert not others - covered, "absent from the wheel"


def first_words(node: ast.AST) -> list[str]:
    """The top-level name of everything that a statement or a call of ``import_module`` loads."""
    if isinstance(node, ast.Import):
        return [alias.name.partition(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return ["." if node.level else (node.module or "").partition(".")[0]]
    if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if name in ("import_module", "__import__", "importorskip"):
            return [str(node.args[0].value).partition(".")[0]]
    return []


@pytest.mark.parametrize("folder", [*FOLDERS, "tests"])
def test_all_imports_are_absolute(folder: str) -> None:
    wrong = [
        f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', '?')}"
        for file in files(folder, "*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), str(file)))
        if {*FOLDERS, "tests", "."} & set(first_words(node))
    ]
    assert not wrong, f"import divsal_bench.… instead: {wrong}"


def test_pytest_imports_by_file(pytestconfig: pytest.Config) -> None:
    assert pytestconfig.getoption("importmode") == "importlib"


# A second folder on the package's path, and one called tasks where Python looks first: the first is searched,
# the second is not, and no file of ours is loaded under a second name.
DISCOVER = """
import json, sys
from pathlib import Path
import divsal_bench.tasks
from divsal_bench.registry import plugins
divsal_bench.tasks.__path__.append(sys.argv[1])
assert sys.path[0] == "", sys.path
broken = {**plugins.tasks().broken, **plugins.methods().broken, **plugins.adapters().broken}
loaded = {name: getattr(module, "__file__", None) for name, module in list(sys.modules.items())}
print(json.dumps([broken, loaded]))
"""


def test_plugins_load_from_the_package_path_and_only_once(tmp_path: Path) -> None:
    extra = tmp_path / "extra"
    extra.mkdir()
    (extra / "planted.py").write_text("raise RuntimeError('found')\n", encoding="utf-8")
    cwd = tmp_path / "checkout"
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, cwd / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (cwd / "tasks" / "rogue.py").write_text("raise RuntimeError('the working directory')\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", DISCOVER, str(extra)],
        cwd=cwd, capture_output=True, text=True, encoding="utf-8", timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    broken, loaded = json.loads(done.stdout)
    assert broken == {"divsal_bench.tasks.planted": "RuntimeError: found"}
    assert not set(FOLDERS) & {name.partition(".")[0] for name in loaded}
    for folder in ("tasks", "baselines", "tasks.adapters"):
        for file in (ROOT / folder.replace(".", "/")).glob("[!_]*.py"):
            assert f"divsal_bench.{folder}.{file.stem}" in loaded, "not discovered"
    places = [file for name, file in loaded.items() if file and name.partition(".")[0] == "divsal_bench"]
    assert len(places) == len(set(places)), "a file was loaded under two names"


def git(*arguments: str, cwd: Path) -> str:
    done = subprocess.run(["git", *arguments], cwd=cwd, capture_output=True, text=True, check=True)
    return done.stdout


def export(checkout: Path, to: Path) -> list[str]:
    """Copy what git tracks, or would; what it ignores (caches, a stale ``build/``) stays behind."""
    listed = git("ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=checkout)
    names = [name for name in listed.split("\0") if name and (checkout / name).is_file()]
    for name in names:
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(checkout / name, to / name)
    return names


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> tuple[set[str], zipfile.ZipFile]:
    """What git has, and the wheel built from it without a network: setuptools is among the dev requirements.

    The checkout it is built from is a copy with a stale ``build/``, as an earlier version may have left it.
    """
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: nothing to compare the wheel with")
    folder = tmp_path_factory.mktemp("wheel")
    export(ROOT, folder / "checkout")
    git("init", "--quiet", cwd=folder / "checkout")
    ghost = folder / "checkout/build/lib/divsal_bench/ghost.py"
    ghost.parent.mkdir(parents=True)
    ghost.write_text("", encoding="utf-8")
    names = set(export(folder / "checkout", folder / "clean"))
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder / "dist")]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [*command, str(folder / "clean")],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = (folder / "dist").iterdir()
    return names, zipfile.ZipFile(built)


def test_the_wheel_holds_the_four_folders_and_nothing_else(wheel: tuple[set[str], zipfile.ZipFile]) -> None:
    names, archive = wheel
    expected = {
        f"{FOLDERS[folder].replace('.', '/')}/{rest}"
        for folder, _, rest in (name.partition("/") for name in names)
        if folder in FOLDERS
    }
    built = {name for name in archive.namelist() if not re.match(r"divsal_bench-[^/]+\.dist-info/", name)}
    assert built - expected == set(), "in the wheel, not in git"
    assert expected - built == set(), "in git, not in the wheel"


def test_the_wheel_says_what_it_is(wheel: tuple[set[str], zipfile.ZipFile]) -> None:
    _, archive = wheel
    about = f"divsal_bench-{PROJECT['project']['version']}.dist-info"
    assert "divsal-bench = divsal_bench.cli:main" in archive.read(f"{about}/entry_points.txt").decode()
    assert archive.read(f"{about}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    metadata = archive.read(f"{about}/METADATA").decode()
    assert "License-Expression: Apache-2.0" in metadata
    assert f"Requires-Python: {PROJECT['project']['requires-python']}" in metadata


def test_git_has_no_built_files(wheel: tuple[set[str], zipfile.ZipFile]) -> None:
    names, _ = wheel
    assert not {name for name in names if re.search(r"(^|/)(build|dist|__pycache__|[^/]*\.egg-info)/|^runs/", name)}
