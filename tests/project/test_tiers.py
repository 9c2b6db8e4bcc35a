"""The tiers of the tests: what ``fast`` promises, and that the markers of the pages are those there are."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch
from tiers import fast_only

pytestmark = pytest.mark.fast
ROOT = Path(__file__).parents[2]


def test_a_fast_test_can_neither_start_a_process_nor_train() -> None:
    # Entered again: the guard of this very test is then restored.
    with fast_only():
        for deed in (
            lambda: subprocess.run([sys.executable, "-c", ""], check=False),
            lambda: os.system("true"),
            lambda: torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1),
        ):
            with pytest.raises(AssertionError, match="marked fast"):
                deed()


def test_markers_are_declared_and_used() -> None:
    options = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
    assert "--strict-markers" in options["addopts"]
    sources = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("test_*.py"))
    for marker in options["markers"]:
        assert f"pytest.mark.{marker.partition(':')[0]}" in sources
