"""Plugins: found by file and by entry point; broken and double ones are named, never skipped in silence."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from divsal_bench.errors import UserError
from divsal_bench.registry import method_choice, plugins

GOOD = """
    from dataclasses import dataclass
    from typing import ClassVar
    from divsal_bench.contracts.method import Method

    @dataclass
    class Mine(Method):
        '''A method from outside.'''
        name: ClassVar[str] = "mine"
        kind: ClassVar[str] = "two-cam"
        strength: float = 0.5

        def loss(self, batch, out):
            return {"loss": out.cross_entropy}
"""


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Install a package of one module with an entry point, as pip would lay it out."""

    def install(code: str, target: str = "Mine", group: str = "divsal_bench.methods") -> Path:
        (tmp_path / "outside_plugin.py").write_text(textwrap.dedent(code))
        info = tmp_path / "outside_plugin-1.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside-plugin\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{group}]\nmine = outside_plugin:{target}\n")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        return tmp_path

    return install


def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "divsal_bench", *arguments], capture_output=True, text=True, check=False
    )


def test_every_file_of_the_folders_is_found() -> None:
    root = Path(__file__).parents[2]
    files = {path.stem for path in (root / "baselines").glob("*.py")} - {"__init__"}
    assert {method.__module__.split(".")[-1] for method in plugins.methods().found.values()} >= files
    assert not plugins.methods().broken
    tasks = {path.stem.replace("_", "-") for path in (root / "tasks").glob("*.py")} - {"--init--"}
    assert set(plugins.tasks().found) >= tasks
    assert set(plugins.adapters().found) >= {"manifest-csv", "standin"}


def test_an_outside_package_is_found_by_its_entry_point(outside: Callable[..., Path]) -> None:
    outside(GOOD)
    listed = cli("list", "methods")
    assert listed.returncode == 0
    assert "mine" in listed.stdout
    assert "strength=0.5" in listed.stdout


def test_two_plugins_of_one_name_are_an_error_that_names_both(outside: Callable[..., Path]) -> None:
    outside(GOOD.replace('"mine"', '"cyborg"'))
    listed = cli("list", "methods")
    assert listed.returncode == 2
    assert listed.stderr.count("\n") == 1
    assert "two methods are named 'cyborg'" in listed.stderr
    assert "divsal_bench.baselines.cyborg" in listed.stderr
    assert "outside_plugin" in listed.stderr


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
        ("raise SystemExit(0)", "it ends the program when it is imported (SystemExit: 0)"),
        ("import sys; sys.exit('enough')", "it ends the program when it is imported (SystemExit: enough)"),
        ("raise BaseException('no luck')", "BaseException: no luck"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("raise type('Own', (BaseException,), {})('mine')", "Own: mine"),
        ("import a_module_that_is_not_there", "ModuleNotFoundError"),
        ("Mine = 3", "is not a subclass"),
        (GOOD.replace("def loss", "def other"), "does not define loss"),
        (GOOD.replace('"two-cam"', '"three-cam"'), "kind must be one of"),
        (GOOD.replace('"mine"', '"../mine"'), "name must be lower case"),
        (GOOD.replace('"mine"', '"all"'), "word of the command line"),
        (GOOD.replace("@dataclass", ""), "decorated with @dataclass"),
        (GOOD.replace("strength: float = 0.5", "strength: float"), "needs a default"),
    ],
)
def test_a_broken_plugin_is_named_with_its_reason(outside: Callable[..., Path], code: str, reason: str) -> None:
    outside(code)
    listed = cli("list", "methods")
    assert listed.returncode == 2
    assert reason in listed.stderr
    assert "outside_plugin:Mine" in listed.stderr
    assert "Traceback" not in listed.stderr
    assert "cyborg" in listed.stdout


def test_a_broken_plugin_stops_all_methods_and_no_named_one(outside: Callable[..., Path], tmp_path: Path) -> None:
    outside("raise RuntimeError('no luck')")
    planned = ["run", "--task", "cxr", "--data", "standin", "--plan", "--out", str(tmp_path / "runs"), "--method"]
    named = cli(*planned, "cyborg")
    assert named.returncode == 0
    assert "notice: broken method plugin" in named.stderr
    every = cli(*planned, "all")
    assert every.returncode == 2
    assert "no luck" in every.stderr


def test_a_plugin_that_ends_the_program_does_not_end_a_run(outside: Callable[..., Path], tmp_path: Path) -> None:
    outside("import sys; sys.exit(0)")
    plan = ["run", "--task", "cxr", "--data", "standin", "--plan", "--out", str(tmp_path / "runs"), "--method"]
    planned = cli(*plan, "cyborg")
    assert planned.returncode == 0
    assert "plan: " in planned.stderr
    assert "it ends the program when it is imported (SystemExit: 0)" in planned.stderr


def test_only_the_plugin_asked_for_is_loaded() -> None:
    origin = plugins.methods().origin
    assert set(origin) == set(plugins.methods().found)
    try:
        plugins.narrow(method=origin["cyborg-center"])
        assert set(plugins.methods().found) == {"cyborg-center"}
        assert len(plugins.tasks().found) > 1
    finally:
        plugins.narrow(method="")
    assert set(plugins.methods().found) == set(origin)


def test_a_broken_task_is_named_too(outside: Callable[..., Path]) -> None:
    outside("TASK = 'cxr'", "TASK", "divsal_bench.tasks")
    listed = cli("list", "tasks")
    assert listed.returncode == 2
    assert "TASK must be" in listed.stderr
    assert "cxr" in listed.stdout


def test_all_means_all_but_the_controls() -> None:
    known = plugins.methods().found
    names = [choice.name for choice in method_choice.choose_methods("all")]
    assert set(names) == {name for name, method in known.items() if method.kind != "control"}
    assert names[0] == "cross-entropy"
    both = {choice.name for choice in method_choice.choose_methods("all,controls")}
    assert both == set(known)


def test_fields_are_read_typed_and_kept_apart_from_the_next_method() -> None:
    chosen = method_choice.choose_methods("difference,cyborg:alpha=0.3,cam_class=predicted,margin:gap=1")
    assert [choice.label for choice in chosen] == [
        "cyborg:alpha=0.3,cam_class=predicted",
        "difference",
        "margin:gap=1.0",
    ]
    assert chosen[0].fields == {"alpha": 0.3, "cam_class": "predicted"}
    assert [choice.label for choice in method_choice.choose_methods("cyborg,cyborg:alpha=0.5,all")].count("cyborg") == 1
    for choice in method_choice.choose_methods("all,controls"):
        built = choice.build()
        assert {field.name: getattr(built, field.name) for field in dataclasses.fields(built)} == choice.fields


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cybrog", "unknown method 'cybrog'. Did you mean 'cyborg'?"),
        ("cyborg:alhpa=0.3", "unknown field of method 'cyborg': 'alhpa'. Did you mean 'alpha'?"),
        ("cross-entropy:alpha=1", "It has no fields."),
        ("cyborg:alpha", "has no value; write cyborg:alpha=VALUE"),
        ("cyborg:alpha=much", "field 'alpha': Input should be a valid number"),
        ("cyborg:alpha=1.5", "alpha must lie between 0 and 1, not 1.5"),
        ("margin:gap=nan", "field 'gap': give a finite number, not nan"),
        ("cyborg-center:sigma=inf", "field 'sigma': give a finite number, not inf"),
        ("cyborg:alpha=nan", "alpha must lie between 0 and 1"),
        ("cyborg:cam_class=both", "field 'cam_class': Input should be 'true' or 'predicted'"),
        ("", "--method is empty"),
    ],
)
def test_a_bad_method_argument_names_the_fix(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        method_choice.choose_methods(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
