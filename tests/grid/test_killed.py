"""``kill -9`` inside runs: nothing is lost, and the numbers are those of a grid that nobody killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks/kill_inside.py"


@pytest.mark.slow
def test_a_grid_that_is_killed_inside_its_runs_ends_in_the_same_bits() -> None:
    """tests/benchmarks/kill_inside.py, which asserts it, does it at length."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--kills", "3", "--seeds", "2"], capture_output=True, text=True, check=False,
        timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 of 2 runs are there, 0 lost, and identical to the last bit" in done.stdout
