"""A Hub of each test's own, and the clients in this process and in others pointed at it."""

from __future__ import annotations

import dataclasses
import importlib.util
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hub_server import HubProcess, HubServer

PLAIN = (str, int, float, bool, frozenset, Path, type(None))
UNSET = (
    "HF_HUB_CACHE",
    "HUGGINGFACE_HUB_CACHE",
    "HF_ASSETS_CACHE",
    "HUGGINGFACE_ASSETS_CACHE",
    "HF_DATASETS_CACHE",
    "HF_MODULES_CACHE",
    "HF_XET_CACHE",
    "HF_TOKEN_PATH",
    "HF_DATASETS_OFFLINE",
    "TRANSFORMERS_OFFLINE",
    "HUGGING_FACE_HUB_TOKEN",
    "HUGGINGFACE_CO_STAGING",
    "HF_OIDC_RESOURCE",
)


def environment(url: str, home: Path) -> dict[str, str]:
    """Variables that make a client talk to the server and keep everything below a folder."""
    return {
        "HF_ENDPOINT": url,
        "HF_HOME": str(home),
        "HF_TOKEN": "hf_ann",
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }


def read_again(module: ModuleType) -> dict[str, Any]:
    """The settings that a module would have, were it imported now."""
    spec = importlib.util.find_spec(module.__name__)
    assert spec is not None
    assert spec.loader is not None
    fresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fresh)
    return {
        name: value
        for name, value in vars(fresh).items()
        if not name.startswith("__") and isinstance(value, PLAIN) and value != getattr(module, name, value)
    }


def reconfigure(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """Give a module of settings, and the modules of its package that copied some, the values of the environment."""
    package = module.__name__.split(".")[0]
    others = [other for name, other in list(sys.modules.items()) if name.split(".")[0] == package]
    for name, value in read_again(module).items():
        earlier = vars(module)[name]
        for other in others:
            if other is module or (name in vars(other) and vars(other)[name] == earlier):
                monkeypatch.setattr(other, name, value)


def forget_sessions() -> None:
    """Close the clients' connections and drop what their file systems remember."""
    from huggingface_hub import HfFileSystem
    from huggingface_hub.utils import close_session

    close_session()
    HfFileSystem.clear_instance_cache()


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


def point_at(url: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the clients in this process and its children talk to a server."""
    # Imported before the variables are set: what they read at import must not outlive the test.
    import datasets.config
    import huggingface_hub.constants
    import huggingface_hub.hf_api
    import huggingface_hub.utils._cache_manager

    for name in UNSET:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment(url, home).items():
        monkeypatch.setenv(name, value)
    reconfigure(monkeypatch, huggingface_hub.constants)
    reconfigure(monkeypatch, datasets.config)
    monkeypatch.setattr(huggingface_hub.hf_api.api, "endpoint", url)
    monkeypatch.setattr(huggingface_hub.hf_api.api, "_whoami_cache", {})
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
