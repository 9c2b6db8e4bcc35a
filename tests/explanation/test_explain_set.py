"""``divsal-bench explain --set`` from end to end on real, tiny runs: the report, its numbers, and what goes wrong."""

from __future__ import annotations

import dataclasses
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from divsal_bench import cli
from divsal_bench.contracts.adapter import SourceTerms
from divsal_bench.data.arrays import DataArrays
from divsal_bench.errors import UserError
from divsal_bench.explanation import data_set, data_set_overview, data_set_page
from divsal_bench.grid import planning, work
from divsal_bench.prediction import loading
from divsal_bench.registry import method_choice, protocols
from divsal_bench.runs.reading import Run, read_run
from divsal_bench.scores import scoring
from divsal_bench.scores.agreement import COLUMNS
from divsal_bench.workflows.run_data import RunData

TINY = dataclasses.replace(
    protocols.find_protocol("quick-v1"),
    epochs=1,
    input_size=32,
    backbone_args={"channels": [4, 4, 8, 8], "stem_width": 4},
)
HOSTILE = "<img src=x onerror=\"document.title='ran'\"><script>document.title='ran'</script>"


def trained(folder: Path, task: str, head: str = "two-logit") -> Run:
    methods = tuple(method_choice.choose_methods("cross-entropy"))
    grid = planning.Grid((task,), methods, (0,), folder, TINY, data="standin", head=head)  # type: ignore[arg-type]
    for job in planning.plan(grid)[0].jobs:
        work.execute(job)
    return read_run(next((folder / task / "cross-entropy").iterdir()))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(tmp_path_factory.mktemp("runs"), "cxr")


@pytest.fixture(scope="module")
def written(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report on the run's test split."""
    folder = tmp_path_factory.mktemp("report")
    assert explain(run.path, "--set", "test", "--out", folder) == 0
    return folder


@pytest.fixture(scope="module")
def data(run: Run) -> DataArrays:
    return RunData(None).arrays(run)


def explain(*arguments: object) -> int:
    return cli.main(["explain", *map(str, arguments)])


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1, said.err
    assert said.err.startswith("divsal-bench: ")
    return said.err


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data


def found_of(
    run: Run, data: DataArrays, limit: int | None = 60
) -> tuple[data_set_overview.Overview, data_set_page.ReportHeading]:
    network = loading.pretrained_in(run.path, "")
    positions = data_set.positions_to_explain(data, "test", limit, "standin", network.class_names)
    found = data_set.overview(network, data, positions, "test")
    return found, data_set_page.ReportHeading("cxr", "standin", "cross-entropy", "0", 0, network.class_names, "0")


# -- numbers -------------------------------------------------------------------------------------------------


def test_the_table_has_the_runs_own_numbers(run: Run, written: Path) -> None:
    """Margins and agreement as the run stored them; what decided, the rest and the bias are the margin."""
    table = pd.read_csv(written / "samples.csv").set_index("sample_id")
    stored = run.predictions()
    stored = stored[stored["split"] == "test"].set_index("sample_id").loc[table.index]
    margins = scoring.margins(stored)
    assert table["score"].to_numpy() == pytest.approx(margins, rel=1e-5, abs=1e-6)
    assert (table["label"] == np.array(["normal", "abnormal"])[stored["label"]]).all()
    assert (table["condition"] == stored["condition"]).all()
    for kind in ("true", "difference"):
        for name in COLUMNS:
            wanted = stored[f"{kind}_{name}"].to_numpy()
            assert table[f"{kind}_{name}"].to_numpy() == pytest.approx(wanted, rel=1e-4, abs=1e-4, nan_ok=True)
    side = np.where(table["decision"] == "abnormal", 1, -1)
    parts = table["deciding_logits"] + table["other_logits"] + table["bias"]
    assert parts.to_numpy() == pytest.approx(side * table["score"].to_numpy(), rel=1e-4, abs=1e-5)
    assert (table["deciding_logits"] >= 0).all()
    assert ((table["deciding_cells"] > 0) == (table["deciding_logits"] > 0)).all()
    assert (table["covered_moves"].isna() == (table["deciding_cells"] == 0)).all()
    assert (table["correct"] == (table["label"] == table["decision"])).all()


def test_means_and_lists_are_what_they_say(run: Run, data: DataArrays) -> None:
    found, _ = found_of(run, data, None)
    table = found.table
    assert sum(one.count for one in found.means) == sum(one.count for one in found.cells) == len(table)
    for one in found.means:
        name = ("normal", "abnormal")[one.label]
        own = ((table["condition"] == one.condition) & (table["label"] == name)).to_numpy()
        assert own.sum() == one.count
        assert one.maps["difference"] == pytest.approx(found.differences[own].mean(0))
        assert one.maps["difference"] == pytest.approx(one.maps["true"] - one.maps["false"])
    for one in found.cells:
        own = (table["decision"] == ("normal", "abnormal")[one.decision]).to_numpy()
        assert one.share == pytest.approx(found.deciding[own].mean(0))
        towards = table["score"][own].mean() * (1 if one.decision else -1)
        bias = found.bias * (1 if one.decision else -1)
        assert one.logits.sum() + bias == pytest.approx(towards, rel=1e-4, abs=1e-4), "cells and bias are the margin"
        logits = [one.logits[place] for place in one.top()]
        assert logits == sorted(logits, reverse=True)
    lifts = table["difference_lift"].iloc[list(found.low_lift)]
    assert lifts.tolist() == table["difference_lift"].dropna().nsmallest(data_set.LISTED, "first").tolist()
    assert (table["covered_moves"].iloc[list(found.failures)] > 0).all()
    assert (table["correct"].iloc[list(found.confident)] == 0).all()
    for k in (0, 1):
        wrong = sum(one.wrong[k] for one in found.errors)
        name = ("normal", "abnormal")[k]
        assert wrong == int(((table["label"] == name) & (table["correct"] == 0)).sum())


@pytest.mark.parametrize(("task", "head"), [("cxr", "one-logit"), ("face-pad", "two-logit")])
def test_other_heads_and_colours(task: str, head: str, tmp_path: Path) -> None:
    run = trained(tmp_path / "runs", task, head)
    out = tmp_path / "out"
    assert explain(tmp_path / "runs", "--set", "validation", "--out", out, "--limit", 80) == 0
    table = pd.read_csv(out / "samples.csv")
    assert len(table) == 80
    assert set(table["split"]) == {"validation"}
    stored = run.predictions().set_index("sample_id").loc[table["sample_id"]]
    assert table["score"].to_numpy() == pytest.approx(scoring.margins(stored), rel=1e-5, abs=1e-5)


# -- the page ------------------------------------------------------------------------------------------------


def test_the_page_is_one_file_that_asks_for_nothing(written: Path) -> None:
    text = (written / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "iframe", "object", "form", "a"})
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    sources = [attributes["src"] for tag, attributes in page.tags if tag == "img"]
    assert len(sources) > 30
    assert all(source and source.startswith("data:image/jpeg;base64,") for source in sources)
    assert all(attributes.get("alt") for tag, attributes in page.tags if tag == "img")
    (policy,) = (a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert policy.endswith("='; base-uri 'none'; form-action 'none'")
    for words in (
        "cross-entropy on cxr, explained",
        "That is a sum, not a cause",
        "Most confident errors",
        "hospital-c",
    ):
        assert words in page.words


def test_the_same_command_gives_the_same_bytes(run: Run, written: Path, tmp_path: Path, capsys: Any) -> None:
    asked = [run.path, "--set", "test", "--out", tmp_path / "again"]
    assert explain(*asked) == 0
    for name in ("report.html", "samples.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (written / name).read_bytes()
    said = capsys.readouterr()
    assert "condition" in said.out
    assert "called" in said.out
    assert explain(*asked) == 2
    assert "exists; choose another folder, or replace it with --force" in one_line(capsys)
    assert explain(*asked, "--force") == 0


def images_of(text: str) -> int:
    return len(re.findall(r'alt="image ', text))


def test_images_are_shown_only_where_the_terms_allow(run: Run, data: DataArrays) -> None:
    found, heading = found_of(run, data)
    sources = sorted(set(data.rows["source"]))
    yes, no = SourceTerms(redistribute_images="yes"), SourceTerms(redistribute_images="unknown")
    everything = data_set_page.render_report(found, data, None, heading)
    allowed = data_set_page.render_report(found, data, dict.fromkeys(sources, yes), heading)
    nothing = data_set_page.render_report(found, data, dict.fromkeys(sources, no), heading)
    some = data_set_page.render_report(found, data, dict.fromkeys(sources, yes) | {sources[0]: no}, heading)
    assert images_of(everything) == images_of(allowed) > images_of(some) > images_of(nothing) == 0
    assert 'alt="human map"' in everything
    assert 'alt="human map"' not in nothing
    assert "without images; one" in Page(nothing).words
    assert "laid on the mean of all images" not in Page(some).words, "a mean shows a little of every image"
    assert f"Images and human maps of {', '.join(sources)} are not shown" in Page(nothing).words
    assert "are not shown" not in Page(everything).words
    assert nothing.count("difference map, true − false") == everything.count("difference map, true − false")


def test_without_human_maps_their_parts_are_absent_in_a_sentence(run: Run, data: DataArrays) -> None:
    bare = dataclasses.replace(data, rows=data.rows.assign(has_map=False), maps=np.zeros_like(data.maps))
    found, heading = found_of(run, bare)
    assert not [name for name in found.table if "lift" in name or "inside" in name]
    page = Page(data_set_page.render_report(found, bare, None, heading))
    assert "None of these images has a human map, so agreement with people is left out." in page.words
    assert "Model and people disagree most" not in page.words
    assert "Most confident errors" in page.words


def test_words_from_the_data_stay_words(run: Run, data: DataArrays) -> None:
    rows = data.rows.assign(sample_id=[f"{HOSTILE}{i}" for i in range(len(data.rows))])
    rows["source"] = rows["source"].where(rows["split"] != "test", HOSTILE)
    hostile = dataclasses.replace(data, rows=rows)
    found, heading = found_of(run, hostile)
    page = Page(
        data_set_page.render_report(
            found, hostile, {}, dataclasses.replace(heading, method=HOSTILE, class_names=(HOSTILE, "b"))
        )
    )
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "iframe"})
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert HOSTILE in page.words


# -- bad input -----------------------------------------------------------------------------------------------


def test_bad_input_is_named_in_one_line(run: Run, data: DataArrays, tmp_path: Path, capsys: Any) -> None:
    shutil.copytree(run.path, tmp_path / "timm")
    (tmp_path / "timm/run.json").unlink()
    (tmp_path / "there").write_text("mine")
    for arguments, message in (
        ([run.path, "--set", "train", "--out", tmp_path / "o"], "unknown split 'train'"),
        ([run.path, "--set", "test", "--limit", 0, "--out", tmp_path / "o"], "--limit 0"),
        ([run.path, "--set", "test", "--limit", 1, "--out", tmp_path / "o"], "a report compares two classes"),
        ([run.path, "--set", "test", "--csv", "--out", tmp_path / "o"], "--csv goes with images only"),
        (
            [run.path, "--set", "test", "--data", "standin:null", "--out", tmp_path / "o"],
            "give the run's own with --data",
        ),
        ([run.path, "--set", "test", "--out", tmp_path / "there"], "is not a folder"),
        (
            [tmp_path / "timm", "--set", "test", "--out", tmp_path / "o"],
            "has no run.json, so the data it was trained on",
        ),
    ):
        assert explain(*arguments) == 2, arguments
        assert message in one_line(capsys), arguments
    names = ("normal", "abnormal")
    single = data.rows[(data.rows["label"] == 1) | (data.rows["split"] != "test")].reset_index(drop=True)
    with pytest.raises(UserError, match=r"all .* test images of the data mine are abnormal: a report compares two"):
        data_set.positions_to_explain(dataclasses.replace(data, rows=single), "test", None, "mine", names)
    with pytest.raises(UserError, match="has no test images"):
        data_set.positions_to_explain(
            dataclasses.replace(data, rows=single.assign(split="train")), "test", None, "mine", names
        )
