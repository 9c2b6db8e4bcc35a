"""Imports run one way (design §1), and nothing that only lists or reads needs torch."""

from __future__ import annotations

import ast
import graphlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {
    "benchmark": "divsal_bench",
    "tasks": "divsal_bench.tasks",
    "baselines": "divsal_bench.baselines",
    "leaderboard": "divsal_bench.leaderboard",
}


def modules_in(folder: str) -> dict[str, Path]:
    """Import name to file, of every module of one source folder."""
    found = {}
    for file in sorted((ROOT / folder).rglob("*.py")):
        parts = file.relative_to(ROOT / folder).with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
        found[".".join((FOLDERS[folder], *parts))] = file
    return found


MODULES = {name: file for folder in FOLDERS for name, file in modules_in(folder).items()}
TREES = {name: ast.parse(file.read_text(encoding="utf-8"), str(file)) for name, file in MODULES.items()}


def targets(node: ast.AST) -> Iterator[str]:
    """What an import statement loads: submodules by their own name, not their package's."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        for alias in node.names:
            submodule = f"{node.module}.{alias.name}"
            yield submodule if submodule in MODULES else node.module


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """What runs when a module is imported: neither functions nor ``if TYPE_CHECKING``."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            yield from statements(node.orelse)
            continue
        yield node
        for field in ("body", "orelse", "finalbody"):
            yield from statements(getattr(node, field, []))
        for handler in getattr(node, "handlers", []):
            yield from statements(handler.body)


def loaded(name: str) -> set[str]:
    """What a module imports the moment it is imported itself."""
    return {target for node in statements(TREES[name].body) for target in targets(node)}


def strings(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Module names in string constants (for ``importlib``), docstrings left out."""
    prose = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) and node not in prose else None
        if isinstance(text, str) and re.fullmatch(r"divsal_bench(\.\w+)*\.?", text):
            yield text.rstrip("."), node.lineno  # type: ignore[attr-defined]


def known(name: str) -> list[tuple[str, int]]:
    """Everything of this package that a module names, at its top, in its functions and for type checkers."""
    found = [(target, node.lineno) for node in ast.walk(TREES[name]) for target in targets(node)]  # type: ignore[attr-defined]
    return [(target, line) for target, line in [*found, *strings(TREES[name])] if target != name and under(target)]


def under(target: str, *packages: str) -> bool:
    """Whether a module is one of these, or inside one; given none, whether it is ours."""
    return any(target == package or target.startswith(package + ".") for package in packages or ("divsal_bench",))


def ours(*names: str) -> tuple[str, ...]:
    return tuple(f"divsal_bench.{name}" for name in names)


#: Where modules stand, to all of this package that they may name. The first that fits decides.
MAY_NAME = {
    "divsal_bench.errors": (),
    "divsal_bench.seeds": (),
    "divsal_bench.contracts.cams": (),
    "divsal_bench.files.escaping": (),
    "divsal_bench.files.foreign": (),
    "divsal_bench.runs.records": ours("errors", "foreign"),
    "divsal_bench.runs.audit_record": ours("errors", "foreign", "records"),
    "divsal_bench.scores.conditions": ours("errors"),
    "divsal_bench.scores.metrics": ours("errors"),
    "divsal_bench.scores.agreement": ours("errors"),
    "divsal_bench.scores.scoring": ours("errors", "metrics", "conditions", "records"),
    "divsal_bench.contracts": ours("errors", "cams", "contracts"),
    "divsal_bench.maps": ours("errors", "seeds", "cams", "agreement", "backbones", "explain"),
    "divsal_bench.leaderboard": ours(
        "errors",
        "escaping",
        "foreign",
        "metrics",
        "conditions",
        "records",
        "audit_record",
        "scoring",
        "leaderboard",
    ),
    "divsal_bench.tasks": ours("errors", "contracts", "tasks"),
    "divsal_bench.baselines": ours("contracts", "cams", "baselines"),
}
#: Names by which plugins are found; what is inside them is named nowhere.
DISCOVERED = ours("tasks", "tasks.adapters", "baselines")


@pytest.mark.parametrize("place", MAY_NAME)
def test_each_layer_knows_only_those_below_it(place: str) -> None:
    here = [name for name in MODULES if under(name, place)]
    assert here, f"{place} is gone: mend MAY_NAME"
    wrong = [
        f"{MODULES[name].relative_to(ROOT)}:{line} names {target}"
        for name in here
        for target, line in known(name)
        if not (MAY_NAME[place] and under(target, *MAY_NAME[place]))
    ]
    assert not wrong, "\n".join(wrong)


def test_the_engine_finds_plugins_by_discovery_and_knows_no_leaderboard() -> None:
    wrong = []
    for name in modules_in("benchmark"):
        above = ours("tasks", "baselines")
        if not under(name, "divsal_bench.cli"):
            above += ours("leaderboard")
            if name != "divsal_bench.__main__":
                above += ours("cli")
        wrong += [
            f"{MODULES[name].relative_to(ROOT)}:{line} names {target}"
            for target, line in known(name)
            if under(target, *above) and target not in DISCOVERED
        ]
    assert not wrong, "\n".join(wrong)


def test_only_the_command_line_names_the_command_line() -> None:
    wrong = [
        f"{MODULES[name].relative_to(ROOT)}:{line}"
        for name in MODULES
        if not under(name, "divsal_bench.cli", "divsal_bench.__main__")
        for target, line in known(name)
        if under(target, "divsal_bench.cli")
    ]
    assert not wrong, "\n".join(wrong)


#: What every command loads, ``--help`` too.
LIGHT = {
    "divsal_bench", "divsal_bench.errors",
    *(name for name in MODULES if re.fullmatch(r"divsal_bench\.cli(\.parser|\.arguments\w*)?", name)),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(LIGHT))
def test_what_every_command_loads_is_light(name: str) -> None:
    heavy = {
        target
        for target in loaded(name)
        if target.partition(".")[0] not in sys.stdlib_module_names and target not in LIGHT
    }
    assert not heavy


def test_no_circles() -> None:
    graph = {name: {target for target in loaded(name) if target in MODULES and target != name} for name in MODULES}
    assert sum(map(len, graph.values())) > 50, "the graph has lost its edges: mend this test"
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" → ".join(reversed(error.args[1])))


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
def test_each_module_imports_first_and_alone(folder: str, tmp_path: Path) -> None:
    names = [name for name in modules_in(folder) if not name.endswith(".__main__")]
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


def test_import_divsal_bench_loads_nothing_but_itself(tmp_path: Path) -> None:
    code = "import sys; before = set(sys.modules); import divsal_bench; print(*set(sys.modules) - before)"
    done = python(code, home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {name.partition(".")[0] for name in done.stdout.split()} - sys.stdlib_module_names == {"divsal_bench"}
