"""A small data set as its owner would deliver it, with real files."""

from __future__ import annotations

from pathlib import Path

import pytest
from delivered import Delivered
from small_task import small_task

from divsal_bench.contracts.task import Task
from divsal_bench.data.prepare import prepare_data_set
from divsal_bench.tasks.adapters.manifest_csv import ADAPTER


@pytest.fixture
def task() -> Task:
    return small_task()


@pytest.fixture
def delivered(tmp_path: Path) -> Delivered:
    return Delivered(tmp_path / "delivered")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIVSAL_BENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def ready(delivered: Delivered, task: Task, home: Path) -> Path:
    """The small data set, prepared in the default place."""
    return prepare_data_set(task, ADAPTER, delivered.save(), home / "data" / "cxr").path
