"""Push with the real client to a Hub on this machine: what arrives, what is refused, and what a second push does."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hub_server import HubServer

from divsal_bench import cli
from divsal_bench.cli.parser import parse
from divsal_bench.evaluation import predictions
from divsal_bench.grid import planning
from divsal_bench.hub import client, link, names
from divsal_bench.leaderboard.claims.keys import hashed
from divsal_bench.networks.inference import as_input, form_of, infer
from divsal_bench.networks.trained import load_model, protocol_of
from divsal_bench.registry import plugins, protocols
from divsal_bench.runs import store
from divsal_bench.runs.reading import Run, read_run, read_runs
from divsal_bench.scores import scoring
from divsal_bench.workflows.run_data import RunData

COMMIT = re.compile(r"[0-9a-f]{40}")


def push(*arguments: object) -> int:
    return cli.main(["push", *map(str, arguments)])


def repos(hub: HubServer, runs: Path) -> dict[str, str]:
    """Method to its repository of ann's."""
    return {run.spec.method: names.repository("ann", run.record) for run in read_runs(runs)}


@pytest.fixture
def pushed(pushed_runs: Path) -> Path:
    return pushed_runs


def test_each_seed_has_a_branch_and_main_is_seed_0(hub: HubServer, pushed: Path) -> None:
    repo = repos(hub, pushed)["cyborg"]
    assert set(hub.heads(repo)) == {"main", "seed-0", "seed-1"}
    own = {run.spec.seed: run for run in read_runs(pushed) if run.spec.method == "cyborg"}
    for branch, seed in (("main", 0), ("seed-0", 0), ("seed-1", 1)):
        files = hub.files(repo, branch)
        assert set(files) == {
            ".gitattributes", "README.md", "config.json", "difference-map.png", "model.safetensors",
            "predictions.parquet", "run.json",
        }  # fmt: skip
        assert files["model.safetensors"] == (own[seed].path / "model.safetensors").read_bytes()
        assert json.loads(files["run.json"])["run_id"] == own[seed].record.run_id


def test_timm_alone_gives_the_same_logits(hub: HubServer, pushed: Path) -> None:
    import timm

    repo = repos(hub, pushed)["cyborg"]
    for run in read_runs(pushed):
        if run.spec.method != "cyborg":
            continue
        net = timm.create_model(f"hf-hub:{repo}@seed-{run.spec.seed}", pretrained=True).eval()
        assert net.conv1[0].in_channels == 1  # the stem of a ResNet-T
        arrays = RunData(None).arrays(run)
        transform = timm.data.create_transform(**timm.data.resolve_model_data_config(net), is_training=False)
        table = run.predictions()
        position = {sample: row for row, sample in enumerate(arrays.rows["sample_id"])}
        chosen = [position[sample] for sample in table["sample_id"][:7]]
        images = [transform(as_image(arrays.images[row])) for row in chosen]
        with torch.inference_mode():
            found = net(torch.stack(images)).double().numpy()
        assert np.allclose(found, table[["logit0", "logit1"]].to_numpy()[:7], atol=1e-5)


def test_a_resnet50_with_three_channels_too(hub: HubServer, runs: Path, tmp_path: Path) -> None:
    import timm

    run = untrained_run(next(iter(read_runs(runs))), tmp_path / "large", "resnet50")
    assert push(run.path, "--to", "ann") == 0
    net = timm.create_model(f"hf-hub:{names.repository('ann', run.record)}", pretrained=True).eval()
    assert net.conv1.in_channels == 3
    arrays = RunData(None).arrays(run)
    images = torch.from_numpy(arrays.images[:5].copy())
    form = form_of(protocol_of(run))
    with torch.inference_mode():
        found = net(as_input(images, form))
    assert torch.allclose(found, infer(load_model(run), images, form)[0], atol=1e-4)


def test_python_users_push_and_pull_without_a_printed_word(
    hub: HubServer, pushed: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from divsal_bench.workflows.pulling import pull
    from divsal_bench.workflows.pushing import PushedRun, push

    mine = [run for run in read_runs(pushed) if run.spec.method == "cyborg"]
    arrived: list[PushedRun] = []
    said: list[str] = []
    done = push(mine, to="ann", say=said.append, on_pushed=arrived.append)
    assert arrived == done
    assert [(one.run.path, one.on_hub.branch, one.on_hub.changed) for one in done] == [
        (run.path, f"seed-{run.spec.seed}", False) for run in mine
    ]
    assert {one.on_hub.branch: one.on_hub.commit for one in done}.items() <= hub.heads(done[0].on_hub.repo).items()
    pulled = pull(f"{done[1].on_hub.repo}@seed-1", out=tmp_path / "other", say=said.append)
    assert pulled.origin == f"{done[1].on_hub.repo}@{done[1].on_hub.commit}"
    assert read_run(pulled.folder).spec == done[1].run.spec
    assert said == []
    assert capfd.readouterr() == ("", "")


def test_predictions_are_published_under_keys_alone(hub: HubServer, pushed: Path) -> None:
    run = next(run for run in read_runs(pushed) if run.spec.method == "cyborg" and run.spec.seed == 0)
    content = hub.files(repos(hub, pushed)["cyborg"])["predictions.parquet"]
    table, own = pd.read_parquet(io.BytesIO(content)), run.predictions()
    salt = run.spec.data_fingerprint
    expected = own.assign(
        sample_id=[hashed(one, salt, "sample") for one in own["sample_id"]],
        subject=[hashed(one, salt, "subject") for one in own["subject"]],
    )
    pd.testing.assert_frame_equal(table, expected.sort_values("sample_id", ignore_index=True))
    shown = {str(value) for column in table for value in table[column]}
    assert not shown & {str(value) for column in ("sample_id", "subject") for value in own[column]}


def test_the_same_push_again_makes_no_commit(hub: HubServer, pushed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    repo = repos(hub, pushed)["cyborg"]
    before, counts = hub.heads(repo), {branch: hub.commit_count(repo, branch) for branch in hub.heads(repo)}
    hub.requests.clear()
    capsys.readouterr()
    assert push(pushed, "--to", "ann", "--method", "cyborg") == 0
    assert hub.heads(repo) == before
    assert {branch: hub.commit_count(repo, branch) for branch in before} == counts
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == ["unchanged", "unchanged"]
    assert sum(one.bytes_in for one in hub.requests if one.method == "PUT") == 0


def test_a_push_that_broke_off_goes_on(
    hub: HubServer, runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The server dies after the first seed, in the middle of the second one's weights, and comes back."""
    repo = repos(hub, runs)["cyborg"]
    weights = {run.spec.seed: link.weights_sha256(run.path) for run in read_runs(runs) if run.spec.method == "cyborg"}
    hub.cut("PUT", weights[1], after_bytes=100, times=50)
    assert push(runs, "--to", "ann", "--method", "cyborg") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"divsal-bench: pushing to {repo} broke off")
    assert "give the same command again" in error
    assert set(hub.heads(repo)) == {"main", "seed-0", "seed-1"}
    assert set(hub.files(repo, "seed-1")) == {".gitattributes"}, "no other seed's network on this seed's branch"
    assert cli.main(["verify", f"{repo}@seed-1"]) == 2
    hub.stop()
    assert push(runs, "--to", "ann", "--method", "cyborg") == 2
    hub.faults.clear()
    hub.start()
    hub.requests.clear()
    assert push(runs, "--to", "ann", "--method", "cyborg") == 0
    sent = [one.path for one in hub.requests if one.method == "PUT" and one.bytes_in]
    assert any(weights[1] in path for path in sent)
    assert not any(weights[0] in path for path in sent)
    assert hub.files(repo, "seed-1")["model.safetensors"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/api/repos/create", 429), ("GET", "/refs", 500), ("POST", "/branch/", 503),
        ("POST", "/preupload/", 502), ("PUT", "", 503), ("POST", "objects/batch", 504), ("POST", "/commit/", 429),
    ],
)  # fmt: skip
def test_a_busy_hub_is_asked_again(hub: HubServer, runs: Path, method: str, path: str, status: int) -> None:
    hub.fail(method, path, status, times=2, retry_after=0 if status == 429 else None)
    assert push(runs, "--to", "ann", "--method", "cyborg") == 0


def test_but_not_for_ever(hub: HubServer, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hub.fail("POST", "/api/repos/create", 503, times=1000)
    assert push(runs, "--to", "ann") == 2
    assert "503" in capsys.readouterr().err.splitlines()[-1]
    assert 1 < sum(one.path == "/api/repos/create" for one in hub.requests) < 20


def test_the_card_is_what_the_hub_reads(hub: HubServer, pushed: Path) -> None:
    from huggingface_hub import ModelCard

    repo = repos(hub, pushed)["cyborg"]
    card = ModelCard(hub.files(repo, "seed-1")["README.md"].decode())
    assert card.data.license == "apache-2.0"
    assert card.data.library_name == "timm"
    run = next(run for run in read_runs(pushed) if run.spec.method == "cyborg" and run.spec.seed == 1)
    assert run.record.scores is not None
    results = {one.metric_name: one.metric_value for one in card.data.eval_results or []}
    assert results["open-set AUROC, seed 1"] == pytest.approx(run.record.scores.open_set, abs=1e-6)
    for said in (
        "**seed 1**; pushed together: seeds 0, 1", "not a medical device and not a security product",
        "Intended use, and misuse", "drawn by code", "| lift (1 = chance) |", "(difference-map.png)", "## Citation",
        "its false-positive rate at the threshold", "sensitivity@specificity=95%", "WACV 2023",
    ):  # fmt: skip
        assert said in card.text
    for command in re.findall(r"^divsal-bench (.+)$", card.text, re.MULTILINE):
        parse(shlex.split(command))  # every command is one that this program has


def test_the_commands_of_the_card_reproduce_and_verify(
    hub: HubServer, pushed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = hub.files(repos(hub, pushed)["cyborg"], "seed-1")["README.md"].decode()
    verify = re.search(r"^divsal-bench (verify .+)$", card, re.MULTILINE)
    assert verify is not None
    assert cli.main(shlex.split(verify[1])) == 0
    assert "verified: cxr cyborg seed 1" in capsys.readouterr().out
    run = re.search(r"^divsal-bench (run .+)$", card, re.MULTILINE)
    assert run is not None
    asked = parse(shlex.split(run[1]))
    assert (asked.task, asked.method, asked.seeds, asked.data) == ("cxr", "cyborg", "1-1", "standin")


def test_private_means_private(
    hub: HubServer, runs: Path, as_user: Callable[[str | None], None], capsys: pytest.CaptureFixture[str]
) -> None:
    assert push(runs, "--to", "lab", "--method", "cyborg", "--private") == 0
    repo = repos(hub, runs)["cyborg"].replace("ann/", "lab/")
    assert cli.main(["pull", repo]) == 0
    for name in ("bob", None):
        as_user(name)
        assert cli.main(["pull", repo]) == 2
        assert "no such model or it is private" in capsys.readouterr().err.splitlines()[-1]


def test_a_public_repository_does_not_become_private_in_silence(
    hub: HubServer, pushed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert push(pushed, "--to", "ann", "--method", "cyborg", "--private") == 2
    assert "is there already and public" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("user", "namespace", "said"),
    [
        (None, "ann", "no token: pushing needs one with write access"),
        ("bob", "ann", "your token may not write to ann: it is bob's, who may write to bob"),
        ("ann_reads", "ann", "your token may not write to ann"),
        ("ann\u00e9", "ann", "your token has characters that no token has"),
        ("nobody", "ann", "does not accept your token"),
        ("ann", "ann/x", "--to 'ann/x' is no name on the Hub"),
        ("ann", "../x", "--to '../x' is no name on the Hub"),
        ("ann", "", "--to '' is no name on the Hub"),
        ("ann", "a b", "--to 'a b' is no name on the Hub"),
    ],
)
def test_who_may_not_push(
    hub: HubServer, runs: Path, as_user: Callable[[str | None], None], capsys: pytest.CaptureFixture[str],
    user: str | None, namespace: str, said: str,
) -> None:  # fmt: skip
    as_user(user)
    assert push(runs, "--to", namespace) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1
    assert said in error[0]


def test_main_is_never_another_seed(hub: HubServer, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    only = next(run for run in read_runs(runs) if run.spec.method == "cyborg" and run.spec.seed == 1)
    assert push(only.path, "--to", "ann") == 2
    assert "has no seed 0 yet" in capsys.readouterr().err
    assert not hub.exists(repos(hub, runs)["cyborg"]), "what is refused leaves no empty repository"
    assert push(runs, "--to", "ann", "--method", "cyborg") == 0
    assert push(only.path, "--to", "ann") == 0  # later seeds can be added one by one


def test_files_that_are_no_longer_ours_leave_the_branch(hub: HubServer, pushed: Path) -> None:
    repo = repos(hub, pushed)["cyborg"]
    hub.add(repo, {"pytorch_model.bin": b"\x80\x04.", "old.png": b"x"}, branch="seed-1")
    assert push(pushed, "--to", "ann", "--method", "cyborg") == 0
    assert not {"pytorch_model.bin", "old.png"} & set(hub.files(repo, "seed-1"))
    assert cli.main(["pull", f"{repo}@seed-1"]) == 0


def test_options_are_not_guessed(hub: HubServer, pushed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert push(pushed, "--to", "ann", "--privat") == 2
    assert "--privat" in capsys.readouterr().err


def test_no_network(hub: HubServer, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hub.stop()
    assert push(runs, "--to", "ann") == 2
    assert "broke off" in capsys.readouterr().err.splitlines()[-1]


def test_the_token_is_written_nowhere(
    hub: HubServer, runs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], as_user: Callable[..., None]
) -> None:
    assert push(runs, "--to", "ann") == 0
    repo = repos(hub, runs)["cyborg"]
    assert cli.main(["pull", f"{repo}@seed-1", "--out", str(tmp_path / "pulled")]) == 0
    assert cli.main(["pull", f"{repo}@nowhere"]) == 2
    hub.fail("POST", "/api/repos/create", 400)
    assert push(runs, "--to", "ann") == 2
    said = capfd.readouterr()
    assert "hf_ann" not in said.out + said.err
    for folder in (runs, tmp_path):
        for file in folder.rglob("*"):
            assert not file.is_file() or b"hf_ann" not in file.read_bytes(), file


def on_the_public_hub(run: Path, **change: Any) -> None:
    """Say in hub.json that the push went to huggingface.co."""
    found = link.read_link(run)
    assert found is not None
    assert found.problem.endswith(")")  # the tests' server is another Hub
    link.leave_link(run, dataclasses.replace(found, endpoint=client.PUBLIC, **change))


def test_what_others_cannot_read_is_not_linked(
    hub: HubServer, pushed: Path, fail_seeds: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_seeds(pushed, "cyborg", 2, 3, 4)
    arguments = ["submit", str(pushed), "--by", "Ann", "--method", "cyborg", "--results"]
    for name, change in (("elsewhere", None), ("private", True)):
        for run in read_runs(pushed):
            if change and run.spec.method == "cyborg" and run.record.status == "done":
                on_the_public_hub(run.path, private=True)
        assert cli.main([*arguments, str(tmp_path / name)]) == 0
        assert "the result names no link for seed 0" in capsys.readouterr().err
        claim = json.loads(next((tmp_path / name).rglob("cyborg.json")).read_text())
        assert not any("huggingface.co" in one["weights"]["where"] for one in claim["seeds"])


def test_a_result_links_to_the_commit(
    hub: HubServer, pushed: Path, fail_seeds: Callable[..., None], tmp_path: Path
) -> None:
    for run in read_runs(pushed):
        if run.spec.method == "cyborg":
            on_the_public_hub(run.path)
    fail_seeds(pushed, "cyborg", 2, 3, 4)
    results = tmp_path / "results"
    arguments = ["submit", str(pushed), "--by", "Ann", "--results", str(results), "--method", "cyborg"]
    assert cli.main(arguments) == 0
    repo = repos(hub, pushed)["cyborg"]
    claim = json.loads(next(results.rglob("cyborg.json")).read_text())
    places = [one["weights"]["where"] for one in claim["seeds"]]
    heads = hub.heads(repo)
    assert places == [f"https://huggingface.co/{repo}/blob/{heads[f'seed-{n}']}/model.safetensors" for n in (0, 1)]


def test_weights_that_changed_since_are_not_linked(hub: HubServer, pushed: Path) -> None:
    run = next(run for run in read_runs(pushed) if run.spec.method == "cyborg")
    assert link.read_link(run.path) is not None
    with (run.path / "model.safetensors").open("ab") as file:
        file.write(b"x")
    assert link.read_link(run.path) is None


def as_image(pixels: np.ndarray) -> Any:
    from PIL.Image import fromarray

    return fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))


def untrained_run(like: Run, out: Path, backbone: str) -> Run:
    """A run of a large network with its random weights, at 32 px and with three channels: trained would be slower."""
    from divsal_bench.networks import backbones

    protocol = dataclasses.replace(
        protocols.find_protocol("cyborg-v1"), pretrained=False, input_size=32, backbone=backbone, output_stride=16
    )
    spec = like.spec.model_copy(
        update={
            "backbone": backbone,
            "protocol": protocol.name,
            "protocol_settings": planning.settings_as_json(protocol),
        }
    )
    model = backbones.build(backbone, protocol, 3, "two-logit", seed=0, check=False)
    record = like.record.model_copy(
        update={"spec": spec, "run_id": spec.run_id,
                "model_args": backbones.model_args(backbone, protocol, 3, "two-logit")}
    )  # fmt: skip
    arrays = RunData(None).arrays(dataclasses.replace(like, record=record))
    table = predictions.predictions(model, arrays, protocol)
    scores = scoring.score(table, plugins.tasks().get(spec.task).field_metrics)

    def write_files(folder: Path) -> None:
        from safetensors.torch import save_file

        save_file({name: value.contiguous() for name, value in model.net.state_dict().items()},
                  str(folder / "model.safetensors"))  # fmt: skip
        table.to_parquet(folder / "predictions.parquet", index=False)

    return read_run(store.save_run(out, record.model_copy(update={"scores": scores}), write_files))
