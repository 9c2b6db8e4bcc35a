"""Somebody else's package: installed in a folder, for a test's own process and those that it starts."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from divsal_bench.registry import plugins


@contextlib.contextmanager
def installed(folder: Path, modules: Mapping[str, str], entry_points: str) -> Iterator[None]:
    """Have modules (name to source) and their entry points found, and nothing remembered of what was found before."""
    for name, source in modules.items():
        (folder / f"{name}.py").write_text(source, encoding="utf-8")
    about = folder / "outside_package-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: outside-package\nVersion: 1.0\n", encoding="utf-8")
    (about / "entry_points.txt").write_text(entry_points, encoding="utf-8")
    found = (plugins.tasks, plugins.methods)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")])))
        patch.setenv("OUTSIDE_PARENT", str(os.getpid()))
        for cached in found:
            cached.cache_clear()
        yield
    for cached in found:
        cached.cache_clear()
