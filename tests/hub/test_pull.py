"""Pull, verify and load from a Hub on this machine: what is trusted, what is checked, what is said on failure."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hub_server import HubServer
from safetensors.torch import load_file, save

import divsal_bench
from divsal_bench import cli
from divsal_bench.errors import UserError
from divsal_bench.hub import client, link, names
from divsal_bench.hub.guard import MisbehavedError
from divsal_bench.hub.pull import snapshot
from divsal_bench.runs.reading import Run, read_run, read_runs
from divsal_bench.workflows.run_data import RunData


@pytest.fixture
def pushed(hub: HubServer, pushed_runs: Path) -> Run:
    """A run of seed 1 whose method was pushed to ann's namespace."""
    return next(run for run in read_runs(pushed_runs) if run.spec.method == "cyborg" and run.spec.seed == 1)


def repo_of(run: Run) -> str:
    return names.repository("ann", run.record)


def refusal(*arguments: object, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which a command ends."""
    assert cli.main([*map(str, arguments)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines, "nothing was said"
    assert all(not line.startswith("Traceback") for line in lines)
    return lines[-1]


def test_a_branch_and_its_commit_are_the_same(hub: HubServer, pushed: Run, capsys: pytest.CaptureFixture[str]) -> None:
    repo = repo_of(pushed)
    commit = hub.heads(repo)["seed-1"]
    for revision in ("seed-1", commit):
        assert cli.main(["pull", f"{repo}@{revision}"]) == 0
        origin, folder = capsys.readouterr().out.splitlines()
        assert origin == f"{repo}@{commit}"
        for name in ("model.safetensors",):
            assert (Path(folder) / name).read_bytes() == (pushed.path / name).read_bytes()
        assert_published(read_run(Path(folder)), pushed)


def assert_published(found: Run, pushed: Run) -> None:
    """The record is the run's own but for the files that lie beside it: other ids, no history, the same weights."""
    files = found.record.files
    assert sorted(files) == ["model.safetensors", "predictions.parquet"]
    assert files["model.safetensors"] == pushed.record.files["model.safetensors"]
    assert files["predictions.parquet"] != pushed.record.files["predictions.parquet"]
    for name in files:
        found.check_file(name)
    assert found.record == pushed.record.model_copy(update={"files": files})


@pytest.mark.parametrize("name", ["model.safetensors", "predictions.parquet"])
def test_files_that_are_not_those_of_the_record_are_not_copied(
    hub: HubServer, pushed: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    repo = repo_of(pushed)
    other = hub.files(repo, "seed-0")[name]
    assert other != hub.files(repo, "seed-1")[name]
    hub.add(repo, {name: other}, branch="seed-1")
    assert cli.main(["pull", f"{repo}@seed-1", "--out", str(tmp_path / "out")]) == 2
    assert f"{name} is not what run {pushed.record.run_id} wrote" in capsys.readouterr().err
    assert not list((tmp_path / "out").rglob("run.json"))


def test_a_copy_is_a_run_directory(pushed: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "pulled"
    for _ in range(2):
        assert cli.main(["pull", f"{repo_of(pushed)}@seed-1", "--out", str(out)]) == 0
    (copy,) = read_runs(out)
    assert_published(copy, pushed)
    for command in (["verify", out], ["board", out], ["show", read_runs(out)[0].path]):
        assert cli.main([*map(str, command)]) == 0
    assert "verified: cxr cyborg seed 1" in capsys.readouterr().out


def test_loaded_from_the_hub_it_gives_the_same_logits(hub: HubServer, pushed: Run, tmp_path: Path) -> None:
    arrays = RunData(None).arrays(pushed)
    table = pushed.predictions().set_index("sample_id")
    rows = arrays.rows.query("split == 'test'").index[:5]
    paths = []
    for row in rows:
        paths.append(tmp_path / f"{row}.png")
        as_png(arrays.images[row], paths[-1])
    expected = table.loc[arrays.rows.loc[rows, "sample_id"]]
    scores = [
        divsal_bench.load_pretrained(name).predict(paths)["score"].to_numpy()
        for name in (f"{repo_of(pushed)}@seed-1", pushed.path)
    ]
    assert np.array_equal(*scores)
    # Other batches round in other places.
    assert np.allclose(scores[0], expected["logit1"] - expected["logit0"], atol=1e-6)
    assert divsal_bench.load_pretrained(f"{repo_of(pushed)}@seed-1").origin.endswith(
        hub.heads(repo_of(pushed))["seed-1"]
    )


def test_predict_takes_a_hub_id(pushed: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arrays = RunData(None).arrays(pushed)
    as_png(arrays.images[0], tmp_path / "one.png")
    tables = []
    for name in (f"{repo_of(pushed)}@seed-1", str(pushed.path)):
        out = tmp_path / f"{len(tables)}.csv"
        assert cli.main(["predict", name, str(tmp_path / "one.png"), "--csv", str(out)]) == 0
        tables.append(pd.read_csv(out))
    pd.testing.assert_frame_equal(*tables)


def test_verify_from_the_hub(hub: HubServer, pushed: Run, capsys: pytest.CaptureFixture[str]) -> None:
    repo = repo_of(pushed)
    assert cli.main(["verify", f"{repo}@seed-1", repo, "--data", "standin"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["verified", "verified"]
    assert f"({repo}@{hub.heads(repo)['seed-1']})" in lines[0]


def test_verify_names_the_first_difference(hub: HubServer, pushed: Run, capsys: pytest.CaptureFixture[str]) -> None:
    repo = repo_of(pushed)
    record = json.loads(hub.files(repo, "seed-1")["run.json"])
    record["scores"]["in_domain"] -= 0.2
    hub.add(repo, {"run.json": json.dumps(record).encode()}, branch="seed-1")
    assert cli.main(["verify", f"{repo}@seed-1"]) == 1
    assert "not verified: cxr cyborg seed 1" in (said := capsys.readouterr().out)
    assert "in-domain is claimed as" in said

    weights = load_file(pushed.path / "model.safetensors")
    weights["fc.weight"] = weights["fc.weight"] * 2 + 1
    hub.add(repo, {"model.safetensors": save(weights)}, branch="seed-0")
    assert cli.main(["verify", f"{repo}@seed-0"]) == 2
    assert "model.safetensors is not what run" in capsys.readouterr().err
    hub.add(repo, {"run.json": renamed(hub, repo, "seed-0", save(weights))}, branch="seed-0")
    assert cli.main(["verify", f"{repo}@seed-0"]) == 1
    assert "not verified: cxr cyborg seed 0" in capsys.readouterr().out


def renamed(hub: HubServer, repo: str, branch: str, weights: bytes) -> bytes:
    """A branch's record, made to name other weights."""
    record = json.loads(hub.files(repo, branch)["run.json"])
    record["files"]["model.safetensors"] = hashlib.sha256(weights).hexdigest()
    return json.dumps(record).encode()


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("threshold", "threshold (lowest"), ("false_positive_rate", "false-positive rate"), ("positives", "positives"),
        ("field", "sensitivity@specificity=95%"), ("train", "training images"), ("twice", "twice"),
    ],
)  # fmt: skip
def test_every_number_is_verified(
    hub: HubServer, pushed: Run, capsys: pytest.CaptureFixture[str], field: str, said: str
) -> None:
    repo = repo_of(pushed)
    files = hub.files(repo, "seed-1")
    record, config = json.loads(files["run.json"]), json.loads(files["config.json"])
    scores = record["scores"]
    if field == "threshold":
        scores["thresholds"][0]["value"] = config["divsal_bench"]["threshold"] = -50.0
    elif field == "field":
        scores["field_metrics"][0]["value"] = 0.999
    elif field == "train":
        record["data"]["train"] = 10**6
    elif field == "twice":
        scores["conditions"].insert(0, {**scores["conditions"][1], "auroc": 0.999})
    else:
        scores["conditions"][0][field] = 0.77 if field == "false_positive_rate" else 3
    hub.add(
        repo, {"run.json": json.dumps(record).encode(), "config.json": json.dumps(config).encode()}, branch="seed-1"
    )
    assert cli.main(["verify", f"{repo}@seed-1"]) in (1, 2)
    printed = capsys.readouterr()
    assert said in printed.out + printed.err
    assert not printed.out.startswith("verified")


def test_a_branch_holds_its_own_seed(hub: HubServer, pushed: Run, capsys: pytest.CaptureFixture[str]) -> None:
    repo = repo_of(pushed)
    files = {name: data for name, data in hub.files(repo, "seed-0").items() if name != ".gitattributes"}
    hub.add(repo, files, branch="seed-1")
    for command in ("pull", "verify"):
        assert "the branch seed-1 holds seed 0" in refusal(command, f"{repo}@seed-1", capsys=capsys)


def test_a_copy_never_stands_for_other_weights(
    hub: HubServer, pushed: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repo, out = repo_of(pushed), tmp_path / "out"
    assert cli.main(["pull", f"{repo}@seed-1", "--out", str(out)]) == 0
    (copy,) = read_runs(out)
    assert json.loads((copy.path / "hub.json").read_text())["commit"] == hub.heads(repo)["seed-1"]
    weights = load_file(pushed.path / "model.safetensors")
    weights["fc.weight"] = weights["fc.weight"] + 1
    hub.add(repo, {"model.safetensors": save(weights)}, branch="seed-1")
    assert "model.safetensors is not what run" in refusal("pull", f"{repo}@seed-1", "--out", out, capsys=capsys)
    hub.add(repo, {"run.json": renamed(hub, repo, "seed-1", save(weights))}, branch="seed-1")
    assert "holds other weights of the same run" in refusal("pull", f"{repo}@seed-1", "--out", out, capsys=capsys)


def test_an_accepted_result_is_verified_from_its_links(
    hub: HubServer, pushed: Run, fail_seeds: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results"
    runs = pushed.path.parents[2]
    for run in read_runs(runs):
        known = link.read_link(run.path)
        if known is not None:
            link.leave_link(run.path, dataclasses.replace(known, endpoint=client.PUBLIC))
    fail_seeds(runs, "cyborg", 2, 3, 4)
    assert cli.main(["submit", str(runs), "--by", "Ann", "--results", str(results), "--method", "cyborg"]) == 0
    file = next(results.rglob("cyborg.json"))
    assert cli.main(["verify", "--accepted", str(file), "--by", "Bob"]) == 0
    assert "verified: " in capsys.readouterr().out
    assert json.loads(file.read_text())["verified"]["by"] == "Bob"
    page = tmp_path / "page.html"
    assert cli.main(["board", "--recompute", "--results", str(results)]) == 0
    assert cli.main(["board", "--accepted", "--results", str(results), "--html", str(page)]) == 0
    for seed in (0, 1):
        commit = hub.heads(repo_of(pushed))[f"seed-{seed}"]
        assert f'href="https://huggingface.co/{repo_of(pushed)}/blob/{commit}/model.safetensors"' in page.read_text()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("{folder}", "is on this machine already"),
        ("nobody/nothing", "there is no folder nobody/nothing, and the Hub has no such model or it is private"),
        ("{repo}@nowhere", "has no revision 'nowhere'"),
        ("{repo}@" + "0" * 40, "has no revision"),
        ("no id", "is neither a folder nor a Hub id"),
        ("../up", "is neither a folder nor a Hub id"),
        ("a/b/c", "is neither a folder nor a Hub id"),
        ("a/b@../../c", "is neither a folder nor a Hub id"),
    ],
)
def test_what_is_not_there(pushed: Run, capsys: pytest.CaptureFixture[str], name: str, said: str) -> None:
    assert said in refusal("pull", name.format(repo=repo_of(pushed), folder=pushed.path), capsys=capsys)


def test_gated(
    hub: HubServer, pushed: Run, as_user: Callable[[str | None], None], capsys: pytest.CaptureFixture[str]
) -> None:
    hub.gate(repo_of(pushed))
    for name in ("bob", None):
        as_user(name)
        assert "is gated: ask for access at" in refusal("pull", repo_of(pushed), capsys=capsys)


def test_what_is_no_model_of_ours(hub: HubServer, capsys: pytest.CaptureFixture[str]) -> None:
    hub.add("ann/empty", {"README.md": b"nothing"})
    assert "is neither a divsal-bench nor a timm repository" in refusal("pull", "ann/empty", capsys=capsys)
    hub.add("ann/weights", {"model.safetensors": save({"x": torch.zeros(1)})})
    assert "is neither a divsal-bench nor a timm repository" in refusal("pull", "ann/weights", capsys=capsys)
    hub.add("ann/pickle", {"pytorch_model.bin": b"\x80\x04.", "config.json": b"{}"})
    assert "offers 'pytorch_model.bin', a pickle" in refusal("pull", "ann/pickle", capsys=capsys)
    assert not any(one.path.endswith(".bin") for one in hub.requests)
    hub.add(
        "ann/bare", {"model.safetensors": save({"x": torch.zeros(1)}), "config.json": b'{"architecture": "resnet18"}'}
    )
    assert "nothing can be verified" in refusal("verify", "ann/bare", capsys=capsys)


def test_a_repository_cannot_choose_where_its_files_go(hub: HubServer, pushed: Run, tmp_path: Path) -> None:
    files = {path: data for path, data in hub.files(repo_of(pushed), "seed-1").items() if path != ".gitattributes"}
    record = json.loads(files["run.json"])
    for task in ("../../escaped", "/tmp/escaped", "a/b", ""):
        from divsal_bench.runs.records import Record

        spec = Record.model_validate(record).spec.model_copy(update={"task": task})
        changed = {**record, "spec": spec.model_dump(mode="json"), "run_id": spec.run_id}
        hub.add("bob/evil", {**files, "run.json": json.dumps(changed).encode()})
        assert cli.main(["pull", "bob/evil", "--out", str(tmp_path / "out" / "deep")]) == 2
    assert not list(tmp_path.rglob("*escaped*"))


def test_only_known_files_are_fetched(hub: HubServer, pushed: Run) -> None:
    hub.add(repo_of(pushed), {"extra.py": b"print()", "sub/model.safetensors": b"x"}, branch="seed-1")
    found = snapshot(f"{repo_of(pushed)}@seed-1")
    assert {path.name for path in found.folder.rglob("*")} == {
        "config.json", "model.safetensors", "run.json", "predictions.parquet",
    }  # fmt: skip


def test_a_download_damaged_once_is_repeated(hub: HubServer, pushed: Run) -> None:
    hub.corrupt("model.safetensors")
    found = snapshot(f"{repo_of(pushed)}@seed-1")
    assert (found.folder / "model.safetensors").read_bytes() == (pushed.path / "model.safetensors").read_bytes()


@pytest.mark.parametrize("name", ["model.safetensors", "run.json"])
def test_a_download_damaged_again_is_refused(
    hub: HubServer, pushed: Run, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    hub.corrupt(f"{name}$", times=100)
    assert f"{name} of {repo_of(pushed)}@" in (said := refusal("pull", f"{repo_of(pushed)}@seed-1", capsys=capsys))
    assert "its checksum is not the Hub's" in said
    hub.faults.clear()
    assert cli.main(["pull", f"{repo_of(pushed)}@seed-1"]) == 0  # what was damaged is not kept


def test_a_damaged_cache_is_noticed(pushed: Run) -> None:
    weights = snapshot(f"{repo_of(pushed)}@seed-1").folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.resolve().write_bytes(content)
    weights = snapshot(f"{repo_of(pushed)}@seed-1").folder / "model.safetensors"
    assert weights.read_bytes() == (pushed.path / "model.safetensors").read_bytes()


def test_a_broken_download_goes_on(hub: HubServer, pushed: Run) -> None:
    hub.cut("GET", "model.safetensors", after_bytes=5000, times=1)
    found = snapshot(f"{repo_of(pushed)}@seed-1")
    assert (found.folder / "model.safetensors").read_bytes() == (pushed.path / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/api/models/", 429), ("GET", "/tree/", 503), ("HEAD", "/resolve/", 500), ("GET", "/resolve/", 502)],
)
def test_a_busy_hub_is_asked_again(hub: HubServer, pushed: Run, method: str, path: str, status: int) -> None:
    hub.fail(method, path, status, times=2)
    assert snapshot(f"{repo_of(pushed)}@seed-1").commit == hub.heads(repo_of(pushed))["seed-1"]


def test_but_not_for_ever(hub: HubServer, pushed: Run, capsys: pytest.CaptureFixture[str]) -> None:
    hub.fail("GET|HEAD", "/", 503, times=1000)
    assert "503" in refusal("pull", f"{repo_of(pushed)}@seed-1", capsys=capsys)
    assert len(hub.requests) < 20


def test_a_server_that_is_gone(hub: HubServer, pushed: Run, capsys: pytest.CaptureFixture[str]) -> None:
    repo = repo_of(pushed)
    hub.stop()
    assert "cannot reach the Hub" in refusal("pull", f"{repo}@seed-1", capsys=capsys)
    hub.start()
    assert cli.main(["pull", f"{repo}@seed-1"]) == 0
    hub.stop()
    capsys.readouterr()
    assert cli.main(["pull", f"{repo}@seed-1"]) == 0  # from the cache, and it says so
    assert "is taken from the local cache, it may have moved on since" in capsys.readouterr().err
    with pytest.warns(UserWarning, match="taken from the local cache"):
        divsal_bench.load_pretrained(f"{repo}@seed-1")


def test_offline(hub: HubServer, pushed: Run, tmp_path: Path) -> None:
    """In a process of its own: the client reads the variable when it is imported."""
    repo, commit = repo_of(pushed), hub.heads(repo_of(pushed))["seed-1"]

    def pull(revision: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "divsal_bench", "pull", f"{repo}@{revision}"],
            capture_output=True, text=True, check=False, env={**os.environ, **variables},
        )  # fmt: skip

    empty = pull("seed-1", HF_HUB_OFFLINE="1")
    assert empty.returncode == 2
    assert empty.stderr.splitlines()[-1].startswith(f"divsal-bench: cannot reach the Hub for {repo} at seed-1")
    assert pull("seed-1").returncode == 0
    hub.requests.clear()
    for revision in ("seed-1", commit):
        found = pull(revision, HF_HUB_OFFLINE="1")
        assert found.returncode == 0, found.stderr
        assert found.stdout.splitlines()[0] == f"{repo}@{commit}"
    assert hub.requests == []


def test_waiting_has_an_end() -> None:
    assert sum(client.WAITS) <= 30
    tries = []

    def call() -> None:
        tries.append(1)
        raise ValueError("not the network's fault")

    with pytest.raises(MisbehavedError, match=r"not the Hub's protocol \(ValueError"):
        client.patiently(call)
    assert len(tries) == 1


def test_python_gets_the_same_errors(pushed: Run) -> None:
    with pytest.raises(UserError, match="no such model"):
        divsal_bench.load_pretrained("nobody/nothing")


def as_png(pixels: np.ndarray, path: Path) -> None:
    from PIL.Image import fromarray

    fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)).save(path)
