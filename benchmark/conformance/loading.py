"""Find what is to be checked: a registered plugin, or a file that lies anywhere."""

from __future__ import annotations

import inspect
import os
import re
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from divsal_bench.conformance.checks import BreachError, raised
from divsal_bench.contracts.method import Method
from divsal_bench.contracts.task import Task
from divsal_bench.errors import UserError, unknown
from divsal_bench.registry import plugins


@dataclass(frozen=True)
class Candidate:
    """A plugin to check, and the file that defines it."""

    plugin: type[Method] | Task
    file: Path


def is_file(text: str) -> bool:
    """Whether PLUGIN is meant as a path, not as a name."""
    return text.endswith(".py") or os.sep in text or "/" in text


def find_candidate(text: str) -> Candidate:
    """Load PLUGIN.

    Args:
        text: A registered method's or task's name, or a path to one .py file, whose code is run.

    Raises:
        UserError: There is no such plugin or file.
        BreachError: It is there and cannot be loaded.
    """
    return from_file(Path(text)) if is_file(text) else from_registry(text)


def from_registry(name: str) -> Candidate:
    """The registered method or task of this name."""
    methods, tasks = plugins.methods(), plugins.tasks()
    if name in methods.found:
        return Candidate(methods.found[name], plugin_file(methods.found[name]))
    if name in tasks.found:
        return Candidate(tasks.found[name], plugin_file(tasks.found[name]))
    for where, reason in {**methods.broken, **tasks.broken}.items():
        if name.replace("-", "_") in re.split(r"[.:\s]", where):
            raise BreachError(f"{reason} (in {where}); mend that file")
    hint = "See `divsal-bench list methods` and `divsal-bench list tasks`; a file is given as ./name.py."
    raise unknown("method or task", name, [*methods.found, *tasks.found], hint)


def from_file(path: Path) -> Candidate:
    """The plugin that a file defines; a file of ``baselines/`` or ``tasks/`` is the registered plugin itself."""
    if path.suffix != ".py":
        raise UserError(f"{path} is not a .py file; give the one file that defines a method or a task")
    if not path.is_file():
        raise UserError(f"there is no file {path}; give a .py file, or the name of a method or task")
    path = path.resolve()
    known: list[type[Method] | Task] = [*plugins.methods().found.values(), *plugins.tasks().found.values()]
    for plugin in known:
        if plugin_file(plugin).resolve() == path:
            return Candidate(plugin, plugin_file(plugin))
    module = load_file(path)
    try:
        if hasattr(module, "TASK"):
            plugins.check_task(module.TASK)
            return Candidate(module.TASK, path)
        return Candidate(plugins.method_class(module), path)
    except TypeError as error:
        raise BreachError(f"{error} (in {path.name}); a method file holds one class, a task file binds TASK") from error


def load_file(path: Path) -> ModuleType:
    """Run a file as a module of a name that nothing else has; no byte code is left beside it.

    Raises:
        BreachError: It cannot be run, or ends the process that runs it.
    """
    if not outlives(path):
        raise BreachError(f"running {path.name} ends the process; a file defines a method or a task and does no more")
    try:
        return as_module(path)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plugin may raise anything
        del sys.modules[module_name(path)]
        raise BreachError(raised(error, path)) from error


def module_name(path: Path) -> str:
    """Of the module that a file becomes."""
    return f"checked_{path.stem}"


def as_module(path: Path) -> ModuleType:
    """Run a file as a module."""
    module = ModuleType(module_name(path))
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses look their module up while the class is made
    exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    return module


def outlives(path: Path) -> bool:
    """Whether a process that runs a file is there afterwards, tried in a fork: nobody could say so here."""
    if not hasattr(os, "fork"):
        return True
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        with suppress(BaseException):  # whatever it raises is found again and told
            as_module(path)
        os.write(sender, b"+")
        os._exit(0)
    os.close(sender)
    with os.fdopen(receiver, "rb") as pipe:
        there = pipe.read(1) == b"+"
    os.waitpid(child, 0)
    return there


def plugin_file(plugin: type[Method] | Task) -> Path:
    """The source file of a plugin."""
    if isinstance(plugin, Task):
        loaded = list(sys.modules.values())
        modules = [module for module in loaded if getattr(module, "__dict__", {}).get("TASK") is plugin]
        return Path(str(modules[0].__file__)) if modules else Path(plugin.draw_standin.__code__.co_filename)
    return Path(inspect.getsourcefile(plugin) or f"{plugin.__module__}.py")
