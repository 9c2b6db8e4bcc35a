"""A Hub that is hostile, broken or gone: one line, in bounded time and memory, and the token stays where it belongs.

The client is the unmodified one, the server the tests' own: it lies.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hub_server import Fault, Hub, HubServer
from peak import measured, size_of

from divsal_bench import cli
from divsal_bench.errors import UserError
from divsal_bench.hub import discretion, guard, names
from divsal_bench.hub.pull import snapshot
from divsal_bench.hub.push import open_repository, push_branch
from divsal_bench.runs.reading import Run, read_run, read_runs

Change = Callable[[dict[str, Any]], object]
DEEP = "[" * 200_000 + "]" * 200_000


@pytest.fixture
def pushed(hub: HubServer, pushed_runs: Path) -> Run:
    """A run of seed 1 whose method was pushed to ann's namespace."""
    return next(run for run in read_runs(pushed_runs) if run.spec.method == "cyborg" and run.spec.seed == 1)


@pytest.fixture
def other(tmp_path: Path) -> Iterator[HubServer]:
    """Another host, which must not get the token."""
    with HubServer(tmp_path / "other-server") as server:
        yield server


def repo_of(run: Run) -> str:
    return names.repository("ann", run.record)


def refusal(*arguments: object, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which a command ends."""
    assert cli.main([*map(str, arguments)]) == 2
    printed = capsys.readouterr()
    lines = printed.err.splitlines()
    assert lines, "nothing was said"
    assert not any(line.startswith("Traceback") for line in lines)
    assert "hf_ann" not in printed.out + printed.err
    return lines[-1]


def info(hub: Hub, repo: str, change: Change) -> str:
    """What the Hub says of a repository, changed."""
    repository = hub.repository(repo)
    commit = repository.commit(hub.heads(repo)["seed-1"])
    true = hub.protocol.info(repository, commit, blobs=True)  # type: ignore[attr-defined]
    change(true)
    return json.dumps(true)


def weights(content: dict[str, Any]) -> dict[str, Any]:
    """The entry of the weights."""
    found: dict[str, Any] = next(one for one in content["siblings"] if one["rfilename"] == "model.safetensors")
    return found


NOT_HUB = "answered something that is not the Hub's protocol"
TEXTS = {
    "nothing": "",
    "HTML": "<!DOCTYPE html><html><title>Log in</title></html>",
    "a list": "[]",
    "null": "null",
    "a number": "3",
    "a text": '"ok"',
    "half": '{"id": "a/b", "sha": "',
    "no UTF-8": "\xff\xfe{",
    "deep": DEEP,
    "deep in a field": '{"id": "a/b", "cardData": ' + DEEP + "}",
    "many digits": '{"id": "a/b", "sha": ' + "9" * 10_000 + "}",
}
FIELDS: dict[str, tuple[Change, str]] = {
    "no id": (lambda c: c.pop("id"), NOT_HUB),
    "no sha": (lambda c: c.pop("sha"), "names no commit"),
    "sha is a number": (lambda c: c.update(sha=5), "names no commit"),
    "sha is a path": (lambda c: c.update(sha="../../escaped"), "names no commit"),
    "siblings is a number": (lambda c: c.update(siblings=5), NOT_HUB),
    "siblings holds a number": (lambda c: c.update(siblings=[5]), NOT_HUB),
    "a sibling without a name": (lambda c: c.update(siblings=[{}]), NOT_HUB),
    "a name is a number": (lambda c: weights(c).update(rfilename=7), "neither a divsal-bench nor a timm"),
    "a name is a list": (lambda c: weights(c).update(rfilename=[7]), NOT_HUB),
    "no siblings": (lambda c: c.pop("siblings"), "neither a divsal-bench nor a timm"),
    "lfs is a number": (lambda c: weights(c).update(lfs=5), NOT_HUB),
    "lfs lacks sha256": (lambda c: weights(c)["lfs"].pop("sha256"), NOT_HUB),
    "sha256 is a path": (lambda c: weights(c)["lfs"].update(sha256="../../x"), "names no size and checksum"),
    "sha256 is null": (lambda c: weights(c)["lfs"].update(sha256=None), "names no size and checksum"),
    "no checksum": (lambda c: c.update(siblings=[{"rfilename": "model.safetensors"}]), "names no size and checksum"),
    "size is a text": (lambda c: weights(c)["lfs"].update(size="big"), "names no size and checksum"),
    "size is negative": (lambda c: weights(c)["lfs"].update(size=-1), "names no size and checksum"),
    "size is NaN": (lambda c: weights(c)["lfs"].update(size=float("nan")), "names no size and checksum"),
    "size of 300 digits": (lambda c: weights(c)["lfs"].update(size=10**299), "bytes, 8,589,934,592 are allowed"),
    "weights beyond reason": (lambda c: weights(c)["lfs"].update(size=2**40), "bytes, 8,589,934,592 are allowed"),
    "cardData is a number": (lambda c: c.update(cardData={"license": {}, "model-index": 5}), ""),
    "no such day": (lambda c: c.update(lastModified="yesterday"), NOT_HUB),
    "a day is a list": (lambda c: c.update(createdAt=[1]), NOT_HUB),
    "another type of everything": (lambda c: c.update(dict.fromkeys(c, 5)), NOT_HUB),
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_answers_that_are_not_the_hubs_protocol(
    hub: HubServer, pushed: Run, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    hub.answer("GET", "/api/models/", TEXTS[name])
    said = refusal("pull", f"{repo_of(pushed)}@seed-1", capsys=capsys)
    assert NOT_HUB in said
    assert repo_of(pushed) in said
    assert hub.url in said


@pytest.mark.parametrize("name", FIELDS)
def test_answers_with_other_fields(
    hub: HubServer, pushed: Run, capsys: pytest.CaptureFixture[str], name: str, tmp_path: Path
) -> None:
    change, message = FIELDS[name]
    hub.answer("GET", "/api/models/", info(hub, repo_of(pushed), change))
    if not message:  # nothing that we read
        assert cli.main(["pull", f"{repo_of(pushed)}@seed-1"]) in (0, 2)
        return
    said = refusal("pull", f"{repo_of(pushed)}@seed-1", capsys=capsys)
    assert message in said
    assert repo_of(pushed) in said
    assert not list(tmp_path.rglob("*escaped*"))


HEADERS: dict[str, tuple[str, str, dict[str, str | None], str]] = {
    "an ETag is a path": ("HEAD", "/resolve/", {"ETag": '"../../../../escaped"'}, "which is no checksum"),
    "a linked ETag is a path": ("HEAD", "/resolve/", {"X-Linked-ETag": '"../../escaped"'}, "which is no checksum"),
    "an ETag has a slash": ("HEAD", "/resolve/", {"X-Linked-ETag": '"a/escaped"'}, "which is no checksum"),
    "an ETag is long": ("HEAD", "/resolve/", {"X-Linked-ETag": '"' + "a" * 300 + '"'}, "which is no checksum"),
    "an ETag is a dot": ("HEAD", "/resolve/", {"X-Linked-ETag": '".."'}, "which is no checksum"),
    "a commit is a path": ("HEAD", "/resolve/", {"X-Repo-Commit": "../../../escaped"}, "names the commit"),
    "a commit on a page": ("GET", "/api/models/", {"X-Repo-Commit": "../escaped"}, "names the commit"),
    "no ETag": ("HEAD", "/resolve/", {"ETag": None, "X-Linked-ETag": None}, "cannot"),
    "no commit": ("HEAD", "/resolve/", {"X-Repo-Commit": None}, "cannot"),
    "another commit": ("HEAD", "/resolve/", {"X-Repo-Commit": "0" * 40}, "names another commit"),
    "gzip that was not asked for": ("GET", "", {"Content-Encoding": "gzip"}, "encoding that was not asked for"),
    "zstd that was not asked for": ("GET", "", {"Content-Encoding": "zstd"}, "encoding that was not asked for"),
    "redirected for ever": ("HEAD|GET", "", {"Location": "/again"}, "cannot"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_headers_that_lie(
    hub: HubServer, pushed: Run, capsys: pytest.CaptureFixture[str], name: str, tmp_path: Path
) -> None:
    method, path, headers, message = HEADERS[name]
    body, status = ("{}", 302) if "Location" in headers else (None, 200)
    hub.answer(method, path, body, status, headers)
    said = refusal("pull", f"{repo_of(pushed)}@seed-1", capsys=capsys)
    assert message in said
    assert repo_of(pushed) in said
    assert not list(tmp_path.rglob("*escaped*"))


def test_a_missing_file_names_no_path(hub: HubServer, pushed: Run, tmp_path: Path) -> None:
    hub.answer(
        "HEAD", "/resolve/", "", 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": "../../../escaped/" + "0" * 40}
    )
    assert cli.main(["pull", f"{repo_of(pushed)}@seed-1"]) == 2
    assert not list(tmp_path.rglob("*escaped*"))


@pytest.mark.parametrize(
    "name", ["../../escaped", "/escaped", "data/../../escaped.parquet", "data/a\\b.parquet", "data/ .parquet"]
)
def test_names_of_a_data_sets_files(
    hub: HubServer, pushed: Run, capsys: pytest.CaptureFixture[str], name: str, tmp_path: Path
) -> None:
    commit = hub.add("ann/set", {"divsal.json": b"{}", "data/a.parquet": b"x"}, repo_type="dataset")
    true = hub.protocol.info(
        hub.repository("ann/set", "dataset"), hub.repository("ann/set", "dataset").commit(commit), True
    )
    true["siblings"].append({**true["siblings"][-1], "rfilename": name})
    hub.answer("GET", "/api/datasets/", json.dumps(true))
    said = refusal("data", "check", f"ann/set@{commit}", capsys=capsys)
    assert "no name here" in said or "divsal.json" in said
    assert not list(tmp_path.rglob("*escaped*"))


def test_altered_weights_under_an_etag_that_is_no_checksum(
    hub: HubServer, pushed: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.answer("HEAD", "model.safetensors", None, 200, {"X-Linked-ETag": '"v1"', "ETag": '"v1"'})
    hub.corrupt("model.safetensors", times=1000)
    assert "arrived damaged twice" in refusal("pull", f"{repo_of(pushed)}@seed-1", capsys=capsys)
    hub.faults.pop()
    assert cli.main(["pull", f"{repo_of(pushed)}@seed-1"]) == 0


# --- the token ------------------------------------------------------------------------------------------------------


def test_the_next_page_on_another_host_gets_no_token(
    hub: HubServer, other: HubServer, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    link = {"Link": f'<{other.url}/api/next>; rel="next"'}
    for path in ("/tree/", "/commits/"):
        hub.answer("GET", path, None, 200, link, times=1)
        said = refusal("push", runs, "--to", "ann", "--method", "cyborg", capsys=capsys)
        assert "continues a list on another host" in said
        hub.faults.clear()
    assert other.requests == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_host_gets_no_token(hub: HubServer, other: HubServer, pushed: Run, status: int) -> None:
    hub.answer("GET|HEAD", "/", "{}", status, {"Location": f"{other.url}/api/models/x"})
    assert cli.main(["pull", f"{repo_of(pushed)}@seed-1"]) == 2
    assert not any(request.authorized for request in other.requests)
    assert any(request.authorized for request in hub.requests)


def test_an_upload_is_confirmed_nowhere_else(hub: HubServer, other: HubServer, no_waits: None) -> None:
    """The client sends the token with the confirmation of an upload, wherever the Hub says it goes."""
    to, content = open_repository("ann/one", "model", False), b"weights"
    oid = hashlib.sha256(content).hexdigest()
    actions = {"upload": {"href": f"{hub.url}/storage"}, "verify": {"href": f"{other.url}/verify"}}
    batch = {"transfer": "basic", "objects": [{"oid": oid, "size": len(content), "actions": actions}]}
    hub.answer("POST", "/objects/batch", json.dumps(batch))
    hub.answer("PUT", "/storage", "")
    with pytest.raises(UserError, match=r"sends us on to 127\.0\.0\.1, which must not get your token"):
        push_branch(to, "main", {"model.safetensors": content}, "weights")
    assert other.requests == []


@pytest.mark.parametrize("token", ["hf_secret\x01secret", "hf_sécret"])
def test_errors_hold_no_token(
    hub: HubServer, pushed: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], token: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    assert cli.main(["pull", f"{repo_of(pushed)}@seed-1"]) == 2
    assert "cret" not in capsys.readouterr().err


def test_what_is_quoted_holds_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    text = (
        "403 for 'https://me:pass@cdn/x?Signature=abc&Key=def' with {'authorization': 'Bearer hf_other'} and hf_secret"
    )
    said = discretion.discreet_reason(ValueError(text))
    assert not any(word in said for word in ("pass", "abc", "def", "hf_other", "hf_secret"))
    assert "403 for 'https://cdn/x?…'" in said


# --- what pushing is told -------------------------------------------------------------------------------------------

PUSH = {
    "whoami: nothing": ("GET", "/api/whoami-v2", ""),
    "whoami: a list": ("GET", "/api/whoami-v2", "[]"),
    "whoami: no name": ("GET", "/api/whoami-v2", '{"type": "user"}'),
    "whoami: orgs is a number": ("GET", "/api/whoami-v2", '{"name": "ann", "orgs": 5}'),
    "whoami: deep": ("GET", "/api/whoami-v2", DEEP),
    "create: HTML": ("POST", "/api/repos/create", "<html>"),
    "create: no url": ("POST", "/api/repos/create", "{}"),
    "refs: a list": ("GET", "/refs", "[]"),
    "refs: no branches": ("GET", "/refs", "{}"),
    "refs: no commit": ("GET", "/refs", '{"branches": [{"name": "main"}], "tags": [], "converts": []}'),
    "refs: a commit is a number": (
        "GET", "/refs", '{"branches": [{"name": "main", "ref": "r", "targetCommit": 5}], "tags": [], "converts": []}'
    ),
    "commits: none": ("GET", "/commits/", "[]"),
    "commits: a number": ("GET", "/commits/", "5"),
    "commits: no id": ("GET", "/commits/", "[{}]"),
    "tree: a number": ("GET", "/tree/", "5"),
    "tree: no path": ("GET", "/tree/", '[{"type": "file"}]'),
    "preupload: nothing": ("POST", "/preupload/", ""),
    "preupload: no files": ("POST", "/preupload/", "{}"),
    "preupload: a file is a number": ("POST", "/preupload/", '{"files": [5]}'),
    "batch: nothing": ("POST", "/objects/batch", ""),
    "batch: no objects": ("POST", "/objects/batch", "{}"),
    "batch: an object is a number": ("POST", "/objects/batch", '{"objects": [5]}'),
    "commit: nothing": ("POST", "/commit/", ""),
    "commit: no id": ("POST", "/commit/", '{"commitUrl": "x"}'),
    "commit: id is a path": ("POST", "/commit/", '{"commitUrl": "http://h/a/b/commit/x", "commitOid": "../x"}'),
}  # fmt: skip


@pytest.mark.parametrize("name", PUSH)
def test_pushing_is_told_nonsense(hub: HubServer, runs: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    method, path, body = PUSH[name]
    hub.answer(method, path, body)
    said = refusal("push", runs, "--to", "ann", "--method", "cyborg", capsys=capsys)
    assert "pushing to ann/" in said
    assert "not the Hub's protocol" in said or "which is none" in said or "broke off" in said


# --- time and memory ------------------------------------------------------------------------------------------------


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same limits, reached sooner."""
    for name, value in {"READ": 0.3, "CONNECT": 0.3, "LONGEST_QUESTION": 3.0, "LEAST_SECONDS": 1.0}.items():
        monkeypatch.setattr(guard, name, value)


@pytest.mark.parametrize("path", ["/api/models/", "/resolve/"])
def test_a_silent_server(
    hub: HubServer, pushed: Run, capsys: pytest.CaptureFixture[str], short: None, path: str
) -> None:
    hub.silent("GET|HEAD", path)
    started = time.monotonic()
    said = refusal("pull", f"{repo_of(pushed)}@seed-1", capsys=capsys)
    assert "cannot" in said
    assert repo_of(pushed) in said
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("path", ["/api/models/", "/resolve/.*/model.safetensors", "/resolve/.*/run.json"])
def test_a_byte_at_a_time(
    hub: HubServer, pushed: Run, capsys: pytest.CaptureFixture[str], short: None, path: str
) -> None:
    hub.drip("GET", path, seconds=0.05)
    started = time.monotonic()
    said = refusal("pull", f"{repo_of(pushed)}@seed-1", capsys=capsys)
    assert "within 3 seconds" in said or "sends fewer than" in said
    assert time.monotonic() - started < 15


@pytest.mark.parametrize("path", ["/api/models/", "/resolve/.*/model.safetensors", "/resolve/.*/config.json"])
def test_an_answer_without_end(hub: HubServer, pushed: Run, tmp_path: Path, path: str) -> None:
    """In a process of its own, whose memory and files are counted."""
    hub.endless("GET", path)
    fresh = tmp_path / "fresh"
    (done,) = measured(["pull", f"{repo_of(pushed)}@seed-1"], environment={"HF_HOME": str(fresh)})
    assert done.code == 2
    assert "bytes that are allowed" in done.said[-1]
    assert done.megabytes < 250  # the client alone takes some 60
    assert size_of(fresh) < 10**6
    assert sum(request.bytes_out for request in hub.requests) < 2**26


def test_a_byte_and_then_nothing_again_and_again(
    hub: HubServer, pushed: Run, capsys: pytest.CaptureFixture[str], short: None
) -> None:
    """The client goes on where it was, for ever, as long as something comes."""
    hub.cut("GET", "/resolve/.*/model.safetensors", after_bytes=1, times=10**6)
    hub.inject(Fault("delay", "GET", "/resolve/.*/model.safetensors", 10**6, seconds=0.1))
    started = time.monotonic()
    assert "cannot get" in refusal("pull", f"{repo_of(pushed)}@seed-1", capsys=capsys)
    assert time.monotonic() - started < 15


def test_a_list_that_goes_round(hub: HubServer, runs: Path, capsys: pytest.CaptureFixture[str], short: None) -> None:
    hub.answer("GET", "/commits/", "[]", 200, {"Link": f'<{hub.url}/api/models/a/b/commits/x>; rel="next"'}, 10**9)
    assert "within 3 seconds" in refusal("push", runs, "--to", "ann", "--method", "cyborg", capsys=capsys)


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"Retry-After": "100000"}, "asks to wait 100,000 seconds"),
        ({"RateLimit": '"api";r=0;t=99999'}, "99,999 seconds"),
    ],
)
@pytest.mark.parametrize("path", ["/api/models/", "/resolve/"])
def test_a_busy_hub_that_asks_for_too_much(
    hub: HubServer, pushed: Run, capsys: pytest.CaptureFixture[str], path: str, headers: dict[str, str], said: str
) -> None:
    hub.answer("GET|HEAD", path, "{}", 429, headers)
    assert said in refusal("pull", f"{repo_of(pushed)}@seed-1", capsys=capsys)


def test_always_busy_has_an_end(hub: HubServer, pushed: Run, tmp_path: Path) -> None:
    """With real waiting, as no test in this process has it."""
    hub.fail("GET|HEAD", "/resolve/", 429, times=10**6)
    code = (
        "import sys; from divsal_bench.hub import guard; guard.LONGEST_QUESTION = 6.0; "
        "from divsal_bench import cli; sys.exit(cli.main(sys.argv[1:]))"
    )
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code, "pull", f"{repo_of(pushed)}@seed-1"],
        capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "HF_HOME": str(tmp_path / "fresh")},
    )  # fmt: skip
    assert done.returncode == 2
    assert "is too busy to answer within 6 seconds" in done.stderr.splitlines()[-1]
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("variable", ["HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT"])
def test_a_user_may_wait_longer(
    hub: HubServer, pushed: Run, short: None, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants

    hub.inject(Fault("delay", "HEAD", "/resolve/.*/config.json", 1, seconds=1.0))
    monkeypatch.setattr(huggingface_hub.constants, variable, 20)
    assert cli.main(["pull", f"{repo_of(pushed)}@seed-1"]) == 0
    assert sum(one.path.endswith("config.json") and one.method == "HEAD" for one in hub.requests) == 1


@pytest.mark.slow
def test_offline_is_said_soon(hub: HubServer, pushed: Run, tmp_path: Path) -> None:
    hub.stop()
    repo = repo_of(pushed)
    commands = (["pull", f"{repo}@seed-1"], ["data", "check", "ann/set"], ["data", "check", f"ann/set@{'0' * 40}"])
    for done in measured(*commands, environment={"HF_HOME": str(tmp_path / "fresh")}):
        assert done.code == 2
        assert "cannot" in done.said[-1]
        assert done.seconds < 8  # three tries, a second and two apart


# --- damage in the cache --------------------------------------------------------------------------------------------


@pytest.fixture(params=["links", "no links"])
def cache(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, hub: HubServer) -> None:
    """The client's cache with and without symbolic links, as on Windows and some network drives."""
    import huggingface_hub.constants

    if request.param == "no links":
        monkeypatch.setenv("HF_HUB_DISABLE_SYMLINKS", "1")
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_SYMLINKS", True)


def damage(path: Path) -> bytes:
    """Flip a byte; the length stays."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x80
    path.resolve().write_bytes(content)
    return bytes(content)


@pytest.mark.parametrize("name", ["model.safetensors", "run.json", "config.json", "predictions.parquet"])
def test_a_damaged_file_in_the_cache_is_fetched_again(hub: HubServer, pushed: Run, cache: None, name: str) -> None:
    path = snapshot(f"{repo_of(pushed)}@seed-1").folder / name
    true = path.read_bytes()
    damage(path)
    assert (snapshot(f"{repo_of(pushed)}@seed-1").folder / name).read_bytes() == true
    assert not list(path.parent.glob(".*"))
    path.resolve().write_bytes(true[: len(true) // 2])
    assert (snapshot(f"{repo_of(pushed)}@seed-1").folder / name).read_bytes() == true


@pytest.mark.parametrize("times", [1, 2])
def test_a_download_damaged_on_the_way(
    hub: HubServer, pushed: Run, cache: None, times: int, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.corrupt("model.safetensors", times=times)
    if times == 1:
        found = snapshot(f"{repo_of(pushed)}@seed-1")
        assert (found.folder / "model.safetensors").read_bytes() == (pushed.path / "model.safetensors").read_bytes()
        return
    assert "arrived damaged twice" in refusal("pull", f"{repo_of(pushed)}@seed-1", capsys=capsys)
    assert cli.main(["pull", f"{repo_of(pushed)}@seed-1"]) == 0  # what was damaged is not kept


@pytest.mark.parametrize("revision", ["seed-1", "commit"])
@pytest.mark.parametrize("how", ["gone", "offline"])
def test_damage_without_a_network(
    hub: HubServer, pushed: Run, cache: None, how: str, revision: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    import huggingface_hub.constants

    found = snapshot(f"{repo_of(pushed)}@seed-1")
    name = found.origin if revision == "commit" else f"{repo_of(pushed)}@seed-1"
    damaged = damage(found.folder / "model.safetensors")
    if how == "gone":
        hub.stop()
    else:
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    said = refusal("pull", name, capsys=capsys)
    assert said.endswith(
        f"model.safetensors of {found.origin} is damaged in the local cache, and the Hub cannot be reached; connect "
        "and give the command again"
    )
    assert (found.folder / "model.safetensors").read_bytes() == damaged  # nothing is lost
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    if how == "gone":
        hub.start()
    assert cli.main(["pull", name]) == 0
    assert (found.folder / "model.safetensors").read_bytes() == (pushed.path / "model.safetensors").read_bytes()


def test_the_network_is_lost_while_a_damaged_file_is_fetched_again(
    hub: HubServer, pushed: Run, cache: None, capsys: pytest.CaptureFixture[str]
) -> None:
    found = snapshot(f"{repo_of(pushed)}@seed-1")
    damaged = damage(found.folder / "model.safetensors")
    hub.cut("GET|HEAD", "/resolve/.*/model.safetensors", 0, times=10**6, reset=True)
    hub.lose("HEAD", "/resolve/.*/model.safetensors", times=10**6, reset=True)
    said = refusal("pull", f"{repo_of(pushed)}@seed-1", capsys=capsys)
    assert "model.safetensors" in said
    assert (found.folder / "model.safetensors").read_bytes() == damaged
    assert not list(found.folder.glob(".*"))


def test_a_cache_that_says_nothing_of_its_files_is_not_trusted_without_a_network(
    hub: HubServer, pushed: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_SYMLINKS", True)
    found = snapshot(f"{repo_of(pushed)}@seed-1")
    (kept,) = found.folder.parents[1].glob("divsal-bench/*.json")
    for text in (None, "", "[]", DEEP, '{"model.safetensors": 5}', '{"../x": [1, "0"]}'):
        kept.unlink(missing_ok=True)
        if text is not None:
            kept.write_text(text)
        hub.stop()
        assert "nothing says what" in refusal("pull", f"{repo_of(pushed)}@seed-1", capsys=capsys)
        hub.start()
    assert cli.main(["pull", f"{repo_of(pushed)}@seed-1"]) == 0
    hub.stop()
    assert cli.main(["pull", f"{repo_of(pushed)}@seed-1"]) == 0


def test_what_was_fetched_is_what_was_pushed(hub: HubServer, pushed: Run, cache: None) -> None:
    found = snapshot(f"{repo_of(pushed)}@seed-1")
    read = read_run(found.folder)
    # Predictions are published under other keys: their hash is another.
    assert read.record.files["model.safetensors"] == pushed.record.files["model.safetensors"]
    assert read.record.model_copy(update={"files": pushed.record.files}) == pushed.record
