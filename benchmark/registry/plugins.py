"""Find tasks, methods and adapters: every file in their folder, and entry points of other packages."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import importlib.metadata
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from divsal_bench.contracts.adapter import Adapter
from divsal_bench.contracts.method import Method
from divsal_bench.contracts.task import Task
from divsal_bench.errors import UserError, unknown
from divsal_bench.words import KINDS

T = TypeVar("T")
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
#: Words of the command line that no plugin may be called.
RESERVED = {"all", "controls", "standin"}


@dataclass(frozen=True)
class Plugins(Generic[T]):
    """All plugins of one kind.

    Attributes:
        kind: "task", "method" or "adapter".
        found: Name to plugin, sorted by name.
        broken: Where a plugin could not be loaded, to the reason.
        origin: Name to where it was found: what :func:`narrow` takes.
    """

    kind: str
    found: dict[str, T]
    broken: dict[str, str]
    origin: dict[str, str] = dataclasses.field(default_factory=dict)

    def get(self, name: str) -> T:
        """The plugin of this name; UserError with the closest name, or with why it could not be loaded."""
        if name in self.found:
            return self.found[name]
        self.check_not_broken(name)
        plural = {"task": "tasks", "method": "methods"}.get(self.kind)
        raise unknown(self.kind, name, self.found, f"See `divsal-bench list {plural}`." if plural else "")

    def check_not_broken(self, name: str) -> None:
        """UserError with the reason, if a plugin of this name is there and could not be loaded."""
        for where, reason in self.broken.items():
            if name.replace("-", "_") in re.split(r"[.:\s]", where):
                raise UserError(f"{self.kind} {name!r} cannot be loaded: {reason} (in {where})")

    def complaints(self) -> list[str]:
        """One sentence for each plugin that could not be loaded."""
        return [f"broken {self.kind} plugin {where}: {reason}" for where, reason in self.broken.items()]


@functools.cache
def tasks() -> Plugins[Task]:
    """Every task: ``TASK`` in each file of ``divsal_bench.tasks``, and entry points of that name."""
    return discover("task", "divsal_bench.tasks", lambda module: module.TASK, check_task)


@functools.cache
def methods() -> Plugins[type[Method]]:
    """Every method: the class each file of ``divsal_bench.baselines`` defines, and entry points."""
    return discover("method", "divsal_bench.baselines", method_class, check_method, "divsal_bench.methods")


@functools.cache
def adapters() -> Plugins[Adapter]:
    """Every data adapter: ``ADAPTER`` in each file of ``divsal_bench.tasks.adapters``, and entry points."""
    return discover(
        "adapter", "divsal_bench.tasks.adapters", lambda module: module.ADAPTER, check_adapter,
        "divsal_bench.adapters",
    )  # fmt: skip


#: Kind of plugin to the one place to look; all where a kind is missing.
ONLY: dict[str, str] = {}


def narrow(**places: str) -> None:
    """From here on, load only the plugin found there, "" for all: importing another may change what runs here do."""
    for kind, where in places.items():
        ONLY[kind] = where
        {"task": tasks, "method": methods, "adapter": adapters}[kind].cache_clear()


def ranked_order(found: dict[str, type[Method]]) -> list[str]:
    """Method names as tables list them: by kind, cross-entropy first, then by name."""
    return sorted(found, key=lambda name: (KINDS.index(found[name].kind), name != "cross-entropy", name))


def discover(
    kind: str, package: str, pick: Callable[[Any], T], check: Callable[[T], str], group: str | None = None
) -> Plugins[T]:
    """Load every plugin of a kind; what fails is recorded with its reason, never skipped in silence.

    Args:
        kind: Word for error messages.
        package: The package whose modules (not sub-packages) are plugins.
        pick: Takes the plugin out of a module.
        check: Returns the plugin's name, or raises when it breaks the contract.
        group: The entry-point group; the package's name without it.

    Raises:
        UserError: Two plugins have the same name.
    """
    found: dict[str, T] = {}
    origin: dict[str, str] = {}
    broken: dict[str, str] = {}
    for where, load in candidates(package, pick, group or package):
        if ONLY.get(kind) not in (None, "", where):
            continue
        try:
            plugin = load()
            name = check(plugin)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plugin may raise anything; it must not take the others down
            broken[where] = why_broken(error)
            continue
        if name in found:
            raise UserError(f"two {kind}s are named {name!r}: {origin[name]} and {where}; rename one of them")
        found[name], origin[name] = plugin, where
    return Plugins(kind, dict(sorted(found.items())), broken, origin)


def why_broken(error: BaseException) -> str:
    """What a plugin raised, as one line."""
    text = " ".join(str(error).split())
    if isinstance(error, SystemExit):
        return f"it ends the program when it is imported (SystemExit: {text})"
    return f"{type(error).__name__}: {text}"


def candidates(package: str, pick: Callable[[Any], T], group: str) -> Iterator[tuple[str, Callable[[], T]]]:
    """Where a plugin may be, and how to load it, in a fixed order."""
    parent = importlib.import_module(package)
    for info in sorted(pkgutil.iter_modules(parent.__path__), key=lambda info: info.name):
        if not info.ispkg:
            module = f"{package}.{info.name}"
            yield module, lambda module=module: pick(importlib.import_module(module))  # type: ignore[misc]
    for entry in sorted(importlib.metadata.entry_points(group=group), key=lambda entry: entry.name):
        yield f"entry point {entry.name} = {entry.value}", entry.load


def method_class(module: Any) -> type[Method]:
    """The one Method class that a file defines."""
    here = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Method) and value.__module__ == module.__name__
    ]
    if len(here) != 1:
        raise TypeError(f"a method file must define exactly one Method class, this one defines {len(here)}")
    return here[0]


def fields_of(method: type[Method]) -> tuple[dataclasses.Field[Any], ...]:
    """What can be set on a method; that each is a dataclass is checked when it is found, not by its type."""
    return dataclasses.fields(method)  # type: ignore[arg-type]


def check_name(name: object) -> str:
    """Refuse names that could not be a folder, a command-line word and a table cell alike."""
    if not isinstance(name, str) or not NAME.fullmatch(name) or len(name) > 60:
        raise TypeError(f"name must be lower case words joined by hyphens, not {name!r}")
    if name in RESERVED:
        raise TypeError(f"the name {name!r} is a word of the command line; choose another")
    return name


def check_method(method: type[Method]) -> str:
    """Check that a method declares itself as the contract says."""
    if not (inspect.isclass(method) and issubclass(method, Method)):
        raise TypeError(f"{method!r} is not a subclass of divsal_bench.contracts.method.Method")
    name = check_name(getattr(method, "name", None))
    if getattr(method, "kind", None) not in KINDS:
        raise TypeError(f"kind must be one of {', '.join(KINDS)}, not {getattr(method, 'kind', None)!r}")
    if inspect.isabstract(method):
        raise TypeError("it does not define loss(batch, out)")
    if "__dataclass_fields__" not in vars(method):
        raise TypeError("the class must be decorated with @dataclass, which makes its fields settable")
    for field in fields_of(method):
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise TypeError(f"field {field.name!r} needs a default: the default fields are the ranked entry")
    return name


def check_task(task: Task) -> str:
    """Check that a task is one."""
    if not isinstance(task, Task):
        raise TypeError(f"TASK must be a divsal_bench.contracts.task.Task, not {type(task).__name__}")
    return check_name(task.name)


def check_adapter(adapter: Adapter) -> str:
    """Check that an adapter is one; "standin" is the built-in exception to the reserved words."""
    if not isinstance(adapter, Adapter):
        raise TypeError(f"ADAPTER must be a divsal_bench.contracts.adapter.Adapter, not {type(adapter).__name__}")
    return adapter.name if adapter.name == "standin" else check_name(adapter.name)
