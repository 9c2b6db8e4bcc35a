"""By which code a built-in stand-in was drawn, so that the same code need not draw it again."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import re
import sys
from contextlib import suppress
from pathlib import Path

from divsal_bench.contracts.task import Task
from divsal_bench.data.fingerprint import bytes_digest
from divsal_bench.errors import UserError
from divsal_bench.files import foreign, whole

#: Other packages whose version may change a drawn pixel.
PACKAGES = ("numpy", "scipy", "pillow")


def code_of(task: Task) -> str | None:
    """A hash of all code that can change what a task draws; None for tasks from elsewhere.

    A stranger's task may draw with code of any package, and is drawn each time.
    """
    module = sys.modules.get(task.draw_standin.__module__)
    if module is None or module.__name__.split(".")[0] != __name__.split(".")[0] or not module.__file__:
        return None
    folder = Path(module.__file__).parent
    files = {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*.py"))}
    code = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    versions = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES]
    return bytes_digest(json.dumps([code, versions, platform.machine()]).encode())


def note_cache(note: Path, name: str) -> None:
    """Write down in which cache folder the arrays are; where that fails, they are drawn again."""
    whole.sweep([note.parent])
    with suppress(UserError):
        whole.write(note, name.encode("ascii"))


def noted_cache(note: Path) -> str | None:
    """The cache folder's name; None where nothing was written down."""
    try:
        name = foreign.read_bytes(note, 64).decode("ascii")
    except (OSError, ValueError):
        return None
    return name if re.fullmatch("[0-9a-f]{32}", name) else None
