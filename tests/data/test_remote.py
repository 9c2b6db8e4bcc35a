"""Against a server that speaks the Hub's read protocol on this machine, with the real client."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from divsal_bench.data import arrays
from divsal_bench.data.catalogue import resolve
from divsal_bench.data.check import check_data_set
from divsal_bench.errors import UserError

COMMIT = "c0ffee" + "0" * 34
OTHER = "beef" + "0" * 36


class Hub:
    """One data set, people/xrays, and the requests that were made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.revisions = {"main": COMMIT, "v1": OTHER, COMMIT: COMMIT, OTHER: OTHER}
        self.gated = False
        self.requests: list[str] = []

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        self.requests.append(path)
        if self.gated:
            return 403, {"X-Error-Code": "GatedRepo"}, b""
        parts = path.split("?")[0].strip("/").split("/")
        if parts[:4] == ["api", "datasets", "people", "xrays"]:
            kind, revision = parts[4:6] if len(parts) > 5 else ("revision", "main")
            if revision not in self.revisions:
                return 404, {"X-Error-Code": "RevisionNotFound"}, b""
            if kind == "tree":
                return self.json([self.entry(file) for file in self.files()])
            info = {"id": "people/xrays", "sha": self.revisions[revision], "private": False, "tags": []}
            siblings = [{"rfilename": file, **self.facts(file)} for file in self.files()]
            return self.json({**info, "siblings": siblings})
        if parts[:4] == ["datasets", "people", "xrays", "resolve"]:
            file = self.folder / "/".join(parts[5:])
            if not file.is_file():
                return 404, {"X-Error-Code": "EntryNotFound"}, b""
            data = file.read_bytes()
            etag = hashlib.sha256(data).hexdigest()
            return 200, {"ETag": f'"{etag}"', "X-Repo-Commit": self.revisions[parts[4]]}, data
        return 404, {"X-Error-Code": "RepoNotFound"}, b""

    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())

    def facts(self, file: str) -> dict[str, object]:
        """Size and git blob id, as the Hub states them where they are asked for."""
        data = (self.folder / file).read_bytes()
        return {"size": len(data), "blobId": hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()}

    def entry(self, file: str) -> dict[str, object]:
        facts = self.facts(file)
        return {"type": "file", "path": file, "size": facts["size"], "oid": facts["blobId"]}

    @staticmethod
    def json(content: object) -> tuple[int, dict[str, str], bytes]:
        return 200, {"Content-Type": "application/json"}, json.dumps(content).encode()


@pytest.fixture
def hub(ready, monkeypatch, tmp_path):
    import huggingface_hub.constants

    served = Hub(ready)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self):
            self.do_GET(body=False)

        def do_GET(self, body=True):
            status, headers, data = served.answer(self.path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    yield served
    server.shutdown()
    server.server_close()


def test_a_branch_becomes_its_commit(task, hub):
    source = resolve(task, "people/xrays")
    assert (source.kind, source.repo, source.revision) == ("hub", "people/xrays", COMMIT)
    assert (source.name, source.spec) == ("people/xrays@c0ffee0", f"people/xrays@{COMMIT}")
    assert resolve(task, "people/xrays@v1").revision == OTHER
    assert resolve(task, source.spec).revision == COMMIT
    # Finding data downloads one small file, no images.
    assert not any(".parquet" in request for request in hub.requests)


def test_arrays_from_the_hub_are_those_of_the_folder(task, hub, ready):
    source = resolve(task, "people/xrays")
    local = arrays.load_arrays(task, resolve(task, str(ready)), 8)
    data = arrays.load_arrays(task, source, 8)
    assert data.fingerprint == source.fingerprint == local.fingerprint
    assert data.pixel_hash == local.pixel_hash
    assert data.path != local.path
    hub.requests.clear()
    # Pinned and in the cache: no image is asked for again.
    again = arrays.load_arrays(task, resolve(task, source.spec), 8)
    assert again.path == data.path
    assert not any(".parquet" in request for request in hub.requests)
    report = check_data_set("people/xrays@v1")
    assert report.ok
    assert report.location == f"people/xrays@{OTHER}"


def test_pinned_data_needs_no_network_the_second_time(task, hub, monkeypatch):
    source = resolve(task, "people/xrays")
    before = arrays.load_arrays(task, source, 8)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    offline = resolve(task, source.spec)
    assert offline == source
    assert arrays.load_arrays(task, offline, 8).path == before.path
    assert (arrays.load_arrays(task, offline, 9).images.shape) == (16, 1, 9, 9)


def failing(task, data):
    with pytest.raises(UserError) as caught:
        arrays.load_arrays(task, resolve(task, data), 8)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_errors_are_one_line_that_says_what_to_do(task, hub, monkeypatch):
    assert "no such data set or it is private" in failing(task, "people/nothing")
    assert "has no revision 'v9'" in failing(task, "people/xrays@v9")
    hub.gated = True
    assert "is gated: ask for access at https://huggingface.co/datasets/people/xrays" in failing(task, "people/xrays")
    hub.gated = False
    assert "is not a Hub id" in failing(task, "people/--x--")
    (hub.folder / "divsal.json").rename(hub.folder / "other.json")
    assert "has no divsal.json" in failing(task, "people/xrays")


def test_an_incomplete_data_set_names_the_missing_file(task, hub):
    next((hub.folder / "data").glob("val*")).unlink()
    assert "validation-00000-of-00001.parquet is missing" in failing(task, "people/xrays")
    assert any("validation-" in problem and "missing" in problem for problem in check_data_set("people/xrays").problems)


def test_offline(task, hub, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert "cannot reach the Hub" in failing(task, "people/xrays")
    assert "--data standin" in failing(task, f"people/xrays@{COMMIT}")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    assert "--data standin" in failing(task, "people/xrays")


def test_data_of_another_task(task, hub):
    import dataclasses

    with pytest.raises(UserError, match="people/xrays is prepared for the task 'cxr'"):
        resolve(dataclasses.replace(task, name="face-pad"), "people/xrays")
