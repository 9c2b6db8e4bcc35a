"""Digits for a method's code, recorded with each run, so that runs of other code are noticed."""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from divsal_bench.contracts.method import Method

#: Built-in method to the digits of code that computes the same: today's, then those that earlier versions recorded.
#: While a method has today's, runs with one of the others are of its code; once it is edited, none of them is.
COMPUTES_THE_SAME = {
    "balanced-cross-entropy": ("68c36faa482be288", "027aa61a6dd46556", "e331f5000535", "72b3f6c8"),
    "contrast": ("a4f0dd2241c4d06f", "c20930f5cf44e5b4", "abdd6454ee49", "6d77f157"),
    "cross-entropy": ("c26ca2367ff0cd07", "8a121b778c1c", "cfa57ce2"),
    "cyborg": ("e74c1160650f1035", "1b89dbec515e", "6a8a9484"),
    "cyborg-center": ("0d4afec45bff8096", "7fab0e586c31437a", "d2cf45a1ab33", "0ad5a29e"),
    "cyborg-inverted": ("153c230b0dc20881", "15beba57f5c7", "1e22aaa8"),
    "cyborg-shuffled": ("740ab0ee3d3941b7", "004b1d8aca64fe05", "602435c1f619", "063f014f"),
    "difference": ("203d1736a13cab50", "f48847fb8a53", "6b9a1ce5"),
    "margin": ("4f74aefa651e41a4", "36711fe64473138c", "512291a61565", "77af7e1c"),
}

IMPORTS = (ast.Import, ast.ImportFrom)


def source_hash(method: type[Method]) -> str:
    """Sixteen digits for what a method's file says, and those of the methods it builds on; "" where there is no source.

    Comments, docstrings, layout and where a name is imported from do not count; nor does what the contracts do, which
    is the engine's and has the engine's version.
    """
    return hashed_files(method, lambda text: repr(meaning_of(text)), 16)


def has_changed(method: type[Method], recorded: str) -> bool:
    """Whether a method's code is another than a run recorded; records without digits never say so.

    Earlier versions recorded twelve digits for the text of the same files, and before that eight for the text of the
    class, where an edited helper beside it goes unnoticed. A text changes with every comment and import, so that the
    code has stayed is shown either by the same text or by :data:`COMPUTES_THE_SAME`, for methods whose text alone has
    changed; whatever neither shows counts as changed.
    """
    now = source_hash(method)
    same = COMPUTES_THE_SAME.get(method.name, ())
    if recorded in same and now in same:
        return False
    if len(recorded) == 12:
        now = hashed_files(method, str, 12)
    if len(recorded) == 8:
        now = class_hash(method)
    return recorded not in ("", now)


def built_on(method: type[Method]) -> list[type[Method]]:
    """A method's class and those that it inherits from, without those of the contracts."""
    package = Method.__module__.rpartition(".")[0] + "."
    return [one for one in method.__mro__ if issubclass(one, Method) and not one.__module__.startswith(package)]


def hashed_files(method: type[Method], read: Callable[[str], str], digits: int) -> str:
    """Digits for the files of a method and of those it builds on, as they are read; "" where there is no source."""
    digest = hashlib.sha256()
    try:
        for module in dict.fromkeys(one.__module__ for one in built_on(method)):
            text = Path(str(sys.modules[module].__file__)).read_text(encoding="utf-8")
            digest.update(hashlib.sha256(read(text).encode()).digest())
    except (OSError, KeyError, AttributeError, ValueError, SyntaxError):
        return ""
    return digest.hexdigest()[:digits]


def class_hash(method: type[Method]) -> str:
    """Eight digits for the text of a method's class and of those it builds on; "" where there is no source."""
    try:
        text = "".join(inspect.getsource(one) for one in built_on(method))
    except (OSError, TypeError):
        return ""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def meaning_of(text: str) -> list[Any]:
    """What a file computes: its syntax tree without bare texts and imports, and the names that imports change.

    Python's own :func:`ast.dump` differs from version to version in fields that are empty.
    """
    tree = ast.parse(text)
    imports = (node for node in ast.walk(tree) if isinstance(node, IMPORTS))
    aliases = {(alias.name, alias.asname) for node in imports for alias in node.names if alias.asname}
    return [sorted(aliases), bare(tree)]


def bare(node: object) -> Any:
    """A syntax tree as nested lists, without places, empty fields and statements that compute nothing."""
    if isinstance(node, list):
        return [bare(one) for one in node if not computes_nothing(one)]
    if isinstance(node, ast.AST):
        fields = ((name, bare(value)) for name, value in ast.iter_fields(node) if value is not None)
        return [type(node).__name__, *(field for field in fields if field[1] != [])]
    return node


def computes_nothing(node: object) -> bool:
    """Whether a statement is an import, a bare text such as a docstring, or for type checkers only."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    if isinstance(node, ast.If) and not node.orelse:
        return ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
    return isinstance(node, IMPORTS)
