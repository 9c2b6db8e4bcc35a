"""The small task, in a home of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_task import small_task

from divsal_bench.contracts.task import Task


@pytest.fixture
def task() -> Task:
    return small_task()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIVSAL_BENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"
