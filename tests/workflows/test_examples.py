"""What a Python user reads and types: every public function has an example, and it does what it shows."""

from __future__ import annotations

import ast
import dataclasses
import doctest
import importlib
import inspect
import os
import pkgutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hub_clients import forget_sessions, point_at
from hub_server import HubServer

import divsal_bench
from divsal_bench import workflows
from divsal_bench.registry import protocols

#: The modules of the room.
ROOM = [importlib.import_module(f"{workflows.__name__}.{one.name}") for one in pkgutil.iter_modules(workflows.__path__)]
FUNCTIONS: dict[str, Callable[..., object]] = {
    name: value for name in divsal_bench.__all__ if inspect.isfunction(value := getattr(divsal_bench, name))
}
#: Everything else of the room that shows how it is used.
OTHERS = {
    f"{module.__name__.rpartition('.')[2]}.{name}": value
    for module in ROOM
    for name, value in vars(module).items()
    if inspect.isfunction(value) and value.__module__ == module.__name__ and ">>>" in (value.__doc__ or "")
    if name not in FUNCTIONS
}
#: Arguments that are called the same wherever they are taken, with their types as they are written.
DIALECT = {
    "runs": {"Runs", "Runs | None"},
    "first": {"Runs"},
    "second": {"Runs"},
    "task": {"Names", "Names | None", "str"},
    "method": {"Names", "Names | None", "str"},
    "seeds": {"Seeds"},
    "data": {"str | Path", "str | Path | None"},
    "out": {"str | Path", "str | Path | None"},
    "results": {"str | Path | None"},
    "result": {"str | Path"},
    "source": {"str | Path | None"},
    "model": {"Model", "str | Path", "str"},
    "device": {"str"},
    "workers": {"int | None"},
    "force": {"bool"},
    "by": {"str"},
    "say": {"Say"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with ``runs`` of two methods and five seeds, one epoch each, and a Hub that ann may write to."""
    place = tmp_path_factory.mktemp("examples")
    tiny = dataclasses.replace(
        protocols.find_protocol("quick-v1"),
        epochs=1,
        input_size=32,
        backbone_args={"channels": [4, 4, 8, 8], "stem_width": 4},
    )
    with pytest.MonkeyPatch.context() as patch, HubServer(place / "hub-server") as server:
        patch.setenv("DIVSAL_BENCH_HOME", str(place / "home"))
        patch.setitem(protocols.PROTOCOLS, "quick-v1", tiny)
        point_at(server.url, place / "hf-home", patch)
        patch.chdir(place)
        divsal_bench.run("cxr", ["cross-entropy", "cyborg"], data="standin")
        yield place
        forget_sessions()


def run_example(name: str, function: Callable[..., object]) -> None:
    """What a docstring shows, in a session of its own."""
    found = doctest.DocTestParser().get_doctest(function.__doc__ or "", {"__name__": name}, name, None, None)
    assert found.examples, f"{name} has no example"
    assert not any(one.options.get(doctest.SKIP) for one in found.examples), f"an example of {name} is skipped"
    told: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(found, out=told.append)
    assert not told, "".join(told)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_example_of_each_public_function_works(name: str, folder: Path) -> None:
    assert f"divsal_bench.{name}(" in (FUNCTIONS[name].__doc__ or "").partition("Example:")[2]
    run_example(name, FUNCTIONS[name])


@pytest.mark.parametrize("name", OTHERS)
def test_other_examples_work(name: str, folder: Path) -> None:
    run_example(name, OTHERS[name])


def test_the_example_of_the_package_works(folder: Path) -> None:
    told: list[str] = []
    found = doctest.DocTestParser().get_doctest(divsal_bench.__doc__ or "", {}, "divsal_bench", None, None)
    doctest.DocTestRunner().run(found, out=told.append)
    assert found.examples
    assert not told, "".join(told)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_docstring_says_what_goes_in_what_comes_out_and_what_is_refused(name: str) -> None:
    text = inspect.getdoc(FUNCTIONS[name]) or ""
    taken = inspect.signature(FUNCTIONS[name]).parameters
    wanted = ["Args:"] * bool(taken) + ["Returns:", "Raises:", "Example:"]
    assert [line for line in text.splitlines() if line in ("Args:", "Returns:", "Raises:", "Example:")] == wanted
    described = text.partition("Args:")[2].partition("Returns:")[0]
    for argument in taken:
        assert f"{argument}: " in described or f"{argument}, " in described, argument


@pytest.mark.parametrize("name", FUNCTIONS)
def test_all_speak_one_dialect(name: str) -> None:
    for argument in inspect.signature(FUNCTIONS[name]).parameters.values():
        if argument.name in DIALECT:
            assert argument.annotation in DIALECT[argument.name], argument
        if argument.name.startswith("on_"):
            assert argument.default is workflows.telling.unheard, argument
        else:
            assert "Callable" not in argument.annotation, argument
        if argument.name == "say":
            assert argument.default is workflows.telling.silent
        if argument.default is not argument.empty and argument.kind is not argument.KEYWORD_ONLY:
            # What one would write without a name: what it is about, never how it is done.
            assert argument.name in ("runs", "method", "data", "source", "split", "cells"), argument


def test_results_are_frozen_and_their_frames_are_made_by_methods() -> None:
    results = [
        value
        for module in ROOM
        for value in vars(module).values()
        if dataclasses.is_dataclass(value) and value.__module__ == module.__name__
    ]
    assert results
    for result in results:
        assert result.__dataclass_params__.frozen, result  # type: ignore[attr-defined]
        for name, value in vars(result).items():
            assert not (isinstance(value, property) and "DataFrame" in str(value.fget.__annotations__)), (result, name)


def test_the_names_agree_wherever_they_stand() -> None:
    tree = ast.parse(Path(divsal_bench.__file__ or "").read_text(encoding="utf-8"))
    typed = {
        alias.asname: (node.module or "").rpartition(".")[2]
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == divsal_bench._PUBLIC
    assert divsal_bench.__all__ == ["__version__", *sorted(typed)]
    assert set(divsal_bench.__all__) <= set(dir(divsal_bench))
    for name, module in divsal_bench._PUBLIC.items():
        assert getattr(divsal_bench, name).__module__ == f"{workflows.__name__}.{module}"


def test_no_name_is_a_room_which_would_hide_it_once_imported() -> None:
    rooms = {one.name for one in pkgutil.iter_modules(divsal_bench.__path__)}
    assert "workflows" in rooms
    assert not rooms & set(divsal_bench.__all__)


def test_importing_the_package_loads_nothing_else() -> None:
    code = "import sys, divsal_bench; dir(divsal_bench); print([name for name in sys.modules if '.' not in name])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert not {"torch", "numpy", "pandas", "pydantic", "timm"} & set(ast.literal_eval(done.stdout))
