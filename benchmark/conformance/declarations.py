"""What a plugin's class and file declare, before anything is computed."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterator
from pathlib import Path

from divsal_bench.conformance.checks import BreachError, shorten
from divsal_bench.contracts.method import Method
from divsal_bench.errors import UserError
from divsal_bench.registry import method_choice, plugins

#: What training calls, and with what.
HOOKS = {"setup": ("train",), "transform": ("batch",), "loss": ("batch", "out")}
#: Class attributes that declare a method and are no settings.
DECLARED = ("name", "kind", "version")
#: Packages that take seconds to import: listing plugins must stay instant.
HEAVY = {"torch", "torchvision", "timm"}


def method_contract(method: type[Method]) -> str:
    """Name, kind, version, ``loss`` and the dataclass decorator."""
    try:
        name = plugins.check_method(method)
    except TypeError as error:
        raise BreachError(f"{error} (class {getattr(method, '__name__', method)})") from error
    other = plugins.methods().found.get(name)
    if other not in (None, method):
        raise BreachError(f"the name {name!r} is taken by {other.__module__}; choose another")  # type: ignore[union-attr]
    version: object = method.version
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise BreachError(f"version is {version!r}; write version: ClassVar[int] = 1, and raise it with every change")
    return f"{method.kind}, version {version}"


def method_fields(method: type[Method]) -> str:
    """Every setting is a typed field whose default fits its type and survives JSON."""
    found = {field.name: field.default for field in plugins.fields_of(method)}
    for name in DECLARED:
        if name in found:
            raise BreachError(f"{name} is a field, so that users could set it; write {name}: ClassVar[…] = …")
    typed = {*found, *DECLARED, *inspect.get_annotations(method)}
    for name, value in vars(method).items():
        is_setting = isinstance(value, bool | int | float | str | list | tuple | dict)
        if is_setting and not name.startswith("_") and name not in typed:
            kind = type(value).__name__
            raise BreachError(f"{name} = {value!r} has no type, so it is no field; write {name}: {kind} = {value!r}")
    try:
        values = method_choice.validated(method, {})
        again = method_choice.validated(method, values)
    except UserError as error:
        raise BreachError(f"the default fields are refused: {error}; they are the ranked entry") from error
    except Exception as error:  # pydantic has many ways to say that a type is not for settings
        text = shorten(str(error).split("\n")[0])
        raise BreachError(f"the fields' types cannot be read: {text}; use bool, int, float, str or Literal") from error
    for name, value in values.items():
        try:
            stored = json.loads(json.dumps(value))
        except (TypeError, ValueError):
            stored = None if value is not None else ...
        if stored != value:
            raise BreachError(f"field {name} = {value!r} cannot be kept as JSON; use bool, int, float, str or Literal")
        if again[name] != value:
            raise BreachError(f"field {name} = {value!r} is not of its type; as typed it reads {again[name]!r}")
    return ", ".join(f"{name}={value}" for name, value in values.items()) or "no fields"


def docstring(method: type[Method]) -> str:
    """The class says what it does; the first line is shown in listings."""
    text = inspect.cleandoc(method.__doc__ or "")
    # A dataclass without a docstring gets its signature in place of one.
    if not text or text.startswith(f"{method.__name__}("):
        raise BreachError(f"class {method.__name__} has no docstring; its first line is what listings show")
    return ""


def signatures(method: type[Method]) -> str:
    """``setup``, ``transform`` and ``loss`` take what training hands them."""
    for hook, arguments in HOOKS.items():
        signature = inspect.signature(getattr(method, hook))
        try:
            signature.bind(None, *arguments)
        except TypeError as error:
            wanted = ", ".join(("self", *arguments))
            raise BreachError(f"{hook} takes {signature}; write def {hook}({wanted})") from error
    return ""


def method_file(method: type[Method]) -> str:
    """A method's file imports the contracts and other methods, and nothing slow at its top."""
    return imports(Path(inspect.getsourcefile(method) or ""), ("contracts", "baselines"))


def imports(file: Path, allowed: tuple[str, ...]) -> str:
    """Look at a plugin file's imports without running it.

    Args:
        allowed: What of this package the plugin may name.

    Returns:
        The file's length.
    """
    source = file.read_text(encoding="utf-8")
    tree = ast.parse(source)
    for module, line in imported(ast.walk(tree)):
        own = module.split(".")
        if own[0] == "divsal_bench" and (len(own) < 2 or own[1] not in allowed):
            may = ", ".join(f"divsal_bench.{name}" for name in allowed)
            raise BreachError(f"{file.name} line {line} imports {module}; a plugin may import {may}")
        if own[0] == "":
            raise BreachError(f"{file.name} line {line} imports relatively; write divsal_bench.…")
    for module, line in imported(at_top(tree.body)):
        if module.split(".")[0] in HEAVY:
            raise BreachError(
                f"{file.name} line {line} imports {module} at the top, which slows every listing; "
                "import it inside the function, and for types under if TYPE_CHECKING"
            )
    return f"{len(source.splitlines())} lines"


def imported(nodes: Iterator[ast.AST]) -> Iterator[tuple[str, int]]:
    """Module and line of each import; a relative one begins with a dot."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            for alias in node.names:
                yield f"{module}.{alias.name}" if module == "divsal_bench" else module, node.lineno


def at_top(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """What runs when a file is imported: neither functions nor ``if TYPE_CHECKING``."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            yield from at_top(node.orelse)
            continue
        yield node
        for part in ("body", "orelse", "finalbody"):
            yield from at_top(getattr(node, part, []))
        for handler in getattr(node, "handlers", []):
            yield from at_top(handler.body)
