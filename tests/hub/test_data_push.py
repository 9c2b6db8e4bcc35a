"""Data sets on the Hub: pushed as far as their terms allow, read by everybody's loader, run and verified from there."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from delivered import Delivered
from hub_server import HubServer
from PIL import Image

from divsal_bench import cli
from divsal_bench.data.canonical import read_info
from divsal_bench.registry import plugins
from divsal_bench.runs.reading import read_runs


@pytest.fixture
def prepare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Prepare a small data set with given terms; returns its folder."""
    monkeypatch.setenv("DIVSAL_BENCH_HOME", str(tmp_path / "home"))

    def make(**terms: str) -> Path:
        delivered = Delivered(tmp_path / "delivered")
        for row in delivered.rows:
            row |= terms
            # Large enough for a loader to fetch parts of the file.
            pixels = np.random.default_rng(len(row["image"])).integers(0, 256, (160, 160), np.uint8)
            file = io.BytesIO()
            Image.fromarray(np.roll(pixels, delivered.rows.index(row))).save(file, "PNG")
            if not row["saliency"]:
                delivered.file(row["image"]).write_bytes(file.getvalue())
        out = tmp_path / "ward-seven"
        source = str(delivered.save() / "manifest.csv")
        assert (
            cli.main(["data", "prepare", "cxr", "--from", "manifest-csv", "--source", source, "--out", str(out)]) == 0
        )
        return out

    return make


def test_pushed_data_is_loaded_at_a_commit_and_streamed(
    hub: HubServer, prepare: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    import datasets

    folder = prepare(redistribute="yes")
    capsys.readouterr()
    assert cli.main(["data", "push", str(folder), "--to", "ann", "--name", "films"]) == 0
    state, origin = capsys.readouterr().out.split()
    repo, commit = origin.split("@")
    assert (state, repo, commit) == ("pushed:", "ann/films", hub.heads("ann/films", "dataset")["main"])
    info = read_info(folder)
    assert max(info.files.values()) > 65536
    hub.add("ann/films", {"README.md": b"later, somebody breaks the card"}, repo_type="dataset")
    for streaming in (False, True):
        loaded = datasets.load_dataset(repo, revision=commit, streaming=streaming)
        counts = {split: sum(1 for _ in rows) for split, rows in loaded.items()}
        assert counts == {"train": 4, "validation": 4, "test": 8}
        row = next(iter(loaded["train"]))
        assert row["image"].size in ((12, 10), (160, 160))
    assert cli.main(["data", "check", origin]) == 0


def test_the_same_data_again_makes_no_commit(
    hub: HubServer, prepare: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = prepare(redistribute="yes")
    for state in ("pushed", "unchanged"):
        capsys.readouterr()
        assert cli.main(["data", "push", str(folder), "--to", "ann"]) == 0
        assert capsys.readouterr().out.startswith(f"{state}: ann/cxr-{read_info(folder).fingerprint[:8]}@")
    assert hub.commit_count(f"ann/cxr-{read_info(folder).fingerprint[:8]}", repo_type="dataset") == 2


@pytest.mark.parametrize(
    ("terms", "permitted", "said"),
    [
        ({"redistribute": "no"}, True, "the terms of a (data {data}) forbid publishing images"),
        ({"redistribute": "unknown"}, False, "the terms of a (data {data}) do not say whether images may be published"),
        ({"redistribute": "yes", "redistribute_images": "no"}, True, "forbid publishing images"),
        ({"redistribute": "no", "redistribute_images": "yes"}, False, ""),
        ({"redistribute": "unknown"}, True, ""),
    ],
)
def test_the_terms_decide(
    hub: HubServer, prepare: Callable[..., Path], capsys: pytest.CaptureFixture[str],
    terms: dict[str, str], permitted: bool, said: str,
) -> None:  # fmt: skip
    folder = prepare(**terms)
    arguments = ["data", "push", str(folder), "--to", "ann", *(["--i-have-permission"] * permitted)]
    capsys.readouterr()
    assert cli.main(arguments) == (2 if said else 0)
    error = capsys.readouterr().err
    assert said.format(data=folder) in error
    assert bool(said) != any(one.path == "/api/repos/create" for one in hub.requests)


@pytest.mark.parametrize(
    ("terms", "permitted", "said"),
    [
        ({"redistribute": "yes", "redistribute_weights": "no"}, True, "forbid publishing weights"),
        ({"redistribute": "yes", "redistribute_predictions": "no"}, True, "forbid publishing predictions"),
        ({"redistribute": "unknown"}, False, "do not say whether weights may be published"),
        ({"redistribute": "yes", "redistribute_images": "no"}, False, ""),
    ],
)
def test_weights_are_pushed_as_far_as_the_terms_allow(
    hub: HubServer, prepare: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    terms: dict[str, str], permitted: bool, said: str,
) -> None:  # fmt: skip
    folder, runs = prepare(**terms), tmp_path / "runs"
    train(str(folder), runs)
    capsys.readouterr()
    arguments = ["push", str(runs), "--to", "ann", "--data", str(folder), *(["--i-have-permission"] * permitted)]
    assert cli.main(arguments) == (2 if said else 0)
    assert said in capsys.readouterr().err
    assert bool(said) != any(one.path == "/api/repos/create" for one in hub.requests)
    if said:
        return
    origin = next(one.path for one in hub.requests if "/commit/" in one.path).split("/")[3:5]
    files = hub.files("/".join(origin))
    card = files["README.md"].decode()
    assert "An image of the task's built-in data" in card  # the images' terms forbid showing them
    assert "difference-map.png" in files
    assert "license: cc-by-4.0" in card
    assert "| a | CC BY 4.0 | yes | yes |" in card
    assert "--data FOLDER" in card
    assert str(folder) not in card + files["run.json"].decode()
    assert folder.name not in card + files["run.json"].decode() + "/".join(origin)


def test_weights_trained_on_hub_data_name_it(
    hub: HubServer, prepare: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From data on the Hub to a run, its weights there, and back to verified, with the current metadata format."""
    import yaml
    from huggingface_hub import parse_eval_result_entries

    assert cli.main(["data", "push", str(prepare(redistribute="yes")), "--to", "ann", "--name", "films"]) == 0
    data = f"ann/films@{hub.heads('ann/films', 'dataset')['main']}"
    train(data, tmp_path / "runs")
    assert cli.main(["push", str(tmp_path / "runs"), "--to", "ann"]) == 0
    run = read_runs(tmp_path / "runs")[0]
    repo = json.loads((run.path / "hub.json").read_text())["repo"]
    files = hub.files(repo)
    entries = parse_eval_result_entries(yaml.safe_load(files[".eval_results/cxr.yaml"]))
    assert {(one.dataset_id, one.dataset_revision) for one in entries} == {tuple(data.split("@"))}
    assert {one.task_id: one.value for one in entries}["open-set-auroc"] == pytest.approx(
        run.record.scores.open_set if run.record.scores else None, abs=1e-6
    )
    card = files["README.md"].decode()
    assert f"--data {data}" in card
    assert "datasets:\n- ann/films\n" in card
    assert "difference-map.png" in files
    capsys.readouterr()
    assert cli.main(["verify", repo]) == 2
    assert f"if you trust it add --data {data}" in capsys.readouterr().err
    assert cli.main(["verify", repo, "--data", data]) == 0
    assert (said := capsys.readouterr().out).startswith("verified: cxr cross-entropy seed 0")
    assert f" on {data[:17]} (" in said
    assert cli.main(["verify", repo, "--data", "standin"]) == 2
    assert "give the run's own with --data" in capsys.readouterr().err


def test_terms_are_those_under_which_a_run_was_made(
    hub: HubServer, prepare: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same images, later prepared with kinder words, do not free what was trained on the strict ones."""
    strict = prepare(redistribute="no")
    train(str(strict), tmp_path / "runs")
    shutil.rmtree(strict)
    shutil.rmtree(tmp_path / "delivered")
    kind = prepare(redistribute="yes")
    assert cli.main(["push", str(tmp_path / "runs"), "--to", "ann", "--data", str(kind)]) == 2
    assert "forbid publishing weights" in capsys.readouterr().err


def test_a_source_without_terms_has_not_said_yes(
    hub: HubServer, prepare: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = prepare(redistribute="yes")
    train(str(folder), tmp_path / "runs")
    info = json.loads((folder / "divsal.json").read_text())
    (folder / "divsal.json").write_text(json.dumps({**info, "sources": {}}))
    for command in (["push", str(tmp_path / "runs"), "--data", str(folder)], ["data", "push", str(folder)]):
        assert cli.main([*command, "--to", "ann"]) == 2
        assert "do not say whether" in capsys.readouterr().err


def test_the_same_images_under_other_terms_need_another_repository(
    hub: HubServer, prepare: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = prepare(redistribute="yes")
    assert cli.main(["data", "push", str(first), "--to", "ann"]) == 0
    shutil.rmtree(first)
    shutil.rmtree(tmp_path / "delivered")
    other = prepare(redistribute="unknown")
    arguments = ["data", "push", str(other), "--to", "ann", "--i-have-permission"]
    assert cli.main(arguments) == 2
    assert "states other terms for a (yes" in capsys.readouterr().err
    assert cli.main([*arguments, "--name", "other"]) == 0


def test_data_that_was_changed_is_not_pushed(
    hub: HubServer, prepare: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = prepare(redistribute="yes")
    file = next((folder / "data").glob("test-*"))
    table = pq.read_table(file)
    place = table.column_names.index("subject")
    pq.write_table(table.set_column(place, "subject", pa.array([f"nobody {row}" for row in range(len(table))])), file)
    assert cli.main(["data", "push", str(folder), "--to", "ann"]) == 2
    assert "changed after preparing" in capsys.readouterr().err.splitlines()[-1]


def test_names_from_the_data_stay_text_on_the_card() -> None:
    from divsal_bench.data.card import markdown_table

    evil = "x |\n\n## Certified <b>a</b> [click](http://e.vil) `c` ![i](j)\x1b[2J"
    table = markdown_table(["source"], [[evil]])
    assert len(table.splitlines()) == 3
    cell = table.splitlines()[2]
    assert "\\<b\\>" in cell
    assert "[click\\](http" in cell
    assert "![i\\](j)" in cell
    assert "\x1b" not in cell


def train(data: str, out: Path) -> None:
    """One tiny real run."""
    import dataclasses

    from divsal_bench.grid import planning, work
    from divsal_bench.registry import method_choice, protocols

    tiny = dataclasses.replace(
        protocols.find_protocol("quick-v1"), epochs=1, input_size=32, batch_size=4,
        backbone_args={"channels": [4, 4, 8, 8], "stem_width": 4},
    )  # fmt: skip
    assert "cxr" in plugins.tasks().found
    methods = tuple(method_choice.choose_methods("cross-entropy"))
    for job in planning.plan(planning.Grid(("cxr",), methods, (0,), out, tiny, data=data))[0].jobs:
        work.execute(job)
