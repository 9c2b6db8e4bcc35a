"""The Hub's clients in this process and its children, pointed at a server of a test's own."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

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
