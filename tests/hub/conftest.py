"""A Hub of each test's own, and the clients in this process and in others pointed at it."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from hub_clients import forget_sessions, point_at
from hub_server import HubProcess, HubServer


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the clients wanted to wait between attempts; they wait no time."""
    import datasets.config
    import huggingface_hub.file_download
    import huggingface_hub.utils._http

    wanted: list[float] = []
    clock = SimpleNamespace(**vars(time))
    clock.sleep = wanted.append
    for module in (huggingface_hub.utils._http, huggingface_hub.file_download):
        monkeypatch.setattr(module, "time", clock)
    for name in vars(datasets.config):
        if name.startswith("STREAMING_") and name.endswith("_INTERVAL"):
            monkeypatch.setattr(datasets.config, name, 0.01)
    return wanted


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> Iterator[HubServer]:
    """A Hub that runs, with ann's token in use. Variables are set for processes that a test starts."""
    with HubServer(tmp_path / "hub-server") as server:
        point_at(server.url, tmp_path / "hf-home", monkeypatch)
        yield server
        forget_sessions()
    assert server.errors == []


@pytest.fixture
def hub_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> Iterator[HubProcess]:
    """A Hub in a process of its own, which a test may kill and start again."""
    with HubProcess(tmp_path / "hub-server") as server:
        point_at(server.url, tmp_path / "hf-home", monkeypatch)
        yield server
        forget_sessions()


@pytest.fixture
def as_user(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], None]:
    """Change whose token is used, or use none."""

    def use(name: str | None) -> None:
        if name is None:
            monkeypatch.delenv("HF_TOKEN", raising=False)
        else:
            monkeypatch.setenv("HF_TOKEN", f"hf_{name}")

    return use


@pytest.fixture(scope="session")
def trained_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder of real, tiny runs: two methods, two seeds."""
    from divsal_bench.grid import planning, work
    from divsal_bench.registry import method_choice, protocols

    tiny = dataclasses.replace(
        protocols.find_protocol("quick-v1"),
        epochs=1,
        input_size=32,
        backbone_args={"channels": [4, 4, 8, 8], "stem_width": 4},
    )
    out = tmp_path_factory.mktemp("trained") / "runs"
    methods = tuple(method_choice.choose_methods("cross-entropy,cyborg"))
    for job in planning.plan(planning.Grid(("cxr",), methods, (0, 1), out, tiny, data="standin"))[0].jobs:
        work.execute(job)
    return out


@pytest.fixture(scope="session")
def pushed_once(trained_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a server stores, and the run directories, after ann has pushed cyborg: made once, copied by each test."""
    from divsal_bench import cli

    folder = tmp_path_factory.mktemp("pushed")
    runs = shutil.copytree(trained_runs, folder / "runs")
    with pytest.MonkeyPatch.context() as patch, HubServer(folder / "server") as server:
        point_at(server.url, folder / "hf-home", patch)
        assert cli.main(["push", str(runs), "--to", "ann", "--method", "cyborg"]) == 0
        forget_sessions()
    return folder


@pytest.fixture
def runs(trained_runs: Path, tmp_path: Path, no_waits: None) -> Path:
    """Runs of one's own, not pushed yet."""
    return Path(shutil.copytree(trained_runs, tmp_path / "runs"))


@pytest.fixture
def pushed_runs(pushed_once: Path, hub: HubServer, tmp_path: Path, no_waits: None) -> Path:
    """Runs of one's own whose method cyborg ann has pushed."""
    shutil.copytree(pushed_once / "server", tmp_path / "hub-server", dirs_exist_ok=True)
    return Path(shutil.copytree(pushed_once / "runs", tmp_path / "runs"))


@pytest.fixture
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting between our own tries."""
    from divsal_bench.hub import client

    monkeypatch.setattr(client, "WAITS", (0.0,) * len(client.WAITS))
