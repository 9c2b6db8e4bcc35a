"""Every test keeps its caches and results to itself, and trains on one thread."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from tiers import fast_only

# Before torch is imported anywhere: parallel tests must not fight for cores, and results depend on it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"


# What is begun in the background may ignore these, and so would every process that a test begins.
for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, usual)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Around fixtures too, whatever their scope."""
    with fast_only() if item.get_closest_marker("fast") else nullcontext():
        return (yield)


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder of the test session's own."""
    folder = tmp_path_factory.mktemp("home")
    earlier = os.environ.get("DIVSAL_BENCH_HOME")
    os.environ["DIVSAL_BENCH_HOME"] = str(folder)
    yield folder
    if earlier is None:
        del os.environ["DIVSAL_BENCH_HOME"]
    else:
        os.environ["DIVSAL_BENCH_HOME"] = earlier


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Reset what a run sets for its process."""
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(1)


@pytest.fixture
def fail_seeds() -> Callable[..., None]:
    """Write failed runs of more seeds of a method into an output folder: (folder, method, *seeds)."""
    from divsal_bench.runs import store
    from divsal_bench.runs.reading import read_runs

    def write(out: Path, method: str, *seeds: int) -> None:
        known = next(run.record for run in read_runs(out) if run.spec.method == method)
        for seed in seeds:
            spec = known.spec.model_copy(update={"seed": seed})
            change = {"spec": spec, "run_id": spec.run_id, "status": "failed", "scores": None, "error": "stopped"}
            store.save_run(out, known.model_copy(update=change))

    return write
