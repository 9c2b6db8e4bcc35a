"""``divsal-bench speed``: what is asked for, what comes out, and what is refused."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import divsal_bench
from divsal_bench import cli
from divsal_bench.errors import UserError
from divsal_bench.registry import protocols
from divsal_bench.timing import arithmetic, drawn, measuring, report, workers
from divsal_bench.timing.pairs import Compared, Times
from divsal_bench.timing.parts import PARTS
from divsal_bench.workflows import timing
from divsal_bench.workflows.timing import Speed

TINY = dataclasses.replace(
    protocols.find_protocol("quick-v1"),
    input_size=32,
    batch_size=4,
    backbone_args={"channels": [4, 4, 8, 8], "stem_width": 4},
)


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where temporary files go, so that one sees what is left there."""
    with pytest.MonkeyPatch.context() as patch:
        place = tmp_path_factory.mktemp("temporary")
        patch.setenv("TMPDIR", str(place))
        patch.setattr(tempfile, "tempdir", str(place))
        patch.setitem(protocols.PROTOCOLS, "quick-v1", TINY)
        patch.setattr(timing, "SECONDS", 0.5)
        patch.setattr(arithmetic, "MOST_STEPS", 12)
        yield place


def left_in(place: Path) -> list[Path]:
    """What is ours; libraries have caches of their own there."""
    return [one for one in place.iterdir() if one.name.startswith("divsal-bench")]


@pytest.fixture(scope="module")
def found(temporary: Path) -> Speed:
    """All sections but the grid, as few steps as there can be."""
    return divsal_bench.speed(only="loop,cyborg,published,cache,evaluation,arithmetic", device="cpu", pairs=2, steps=1)


def test_every_section_is_compared_once(found: Speed, temporary: Path) -> None:
    frame = found.frame()
    assert [f"{first} / {second}" for first, second in frame[["first", "second"]].values] == [
        "cross-entropy / bare loop", "cyborg / cross-entropy", "cyborg / public-style CYBORG",
        "data from the cache / data in memory", "evaluation with maps / batch-1 evaluation",
        "bf16 / fp32", "channels_last / contiguous", "fused optimiser / plain optimiser",
    ]  # fmt: skip
    assert (frame["lower_quartile"] <= frame["ratio"]).all()
    assert (frame["ratio"] <= frame["upper_quartile"]).all()
    assert (frame["ratio"] > 0).all()
    assert [one.name for one in found.measured.curves] == [
        "cross-entropy", "bf16", "contiguous", "fused optimiser", arithmetic.OTHER_SEED
    ]  # fmt: skip
    assert not left_in(temporary), "something was left behind"
    assert repr(found) == "Speed(resnet10t, 8 compared)"


def test_each_contender_has_its_speed_once_and_its_parts(found: Speed) -> None:
    frame = found.contenders().set_index("name")
    assert frame.index.is_unique
    assert set(frame.index) == {name for one in found.measured.compared for name in (one.first, one.second)}
    assert (frame["images_per_second"] * frame["ms"] / 1000).round(6).isin([4, drawn.VALIDATION]).all()
    assert (frame["peak_mb"] >= 0).all()
    whole = frame[[f"{part}_ms" for part in PARTS]]
    assert whole.loc["cyborg"].notna().all()
    assert whole.loc["batch-1 evaluation"].isna().all()


def test_json_holds_everything_and_what_it_was_measured_on(found: Speed) -> None:
    record = json.loads(found.text("json"))
    assert record == json.loads(json.dumps(found.record()))
    assert list(record) == ["speed_version", "machine", "setting", "comparisons", "contenders", "curves"]
    assert {"date", "processor", "processors", "threads", "device", "commit", "torch", "divsal-bench", "instructions",
            "python"} <= set(record["machine"])  # fmt: skip
    assert record["setting"] | {"pairs": 0} == {
        "backbone": "resnet10t", "protocol": "quick-v1", "size": 32, "batch": 4, "channels": 1, "precision": "fp32",
        "channels_last": True, "mapped": 100, "threads": 1, "pairs": 0,
    }  # fmt: skip
    for one in record["comparisons"]:
        assert len(one["ratios"]) == len(one["seconds"]) == len(one["processor_seconds"]) == one["pairs"] == 2
        by_hand = [second / first * one["images"][0] / one["images"][1] for first, second in one["seconds"]]
        assert one["ratios"] == pytest.approx(by_hand)
        assert one["ratio"] == pytest.approx(np.median(one["ratios"]))
        assert (one["gradients_apart"] is not None) == (one["section"] in ("loop", "published"))
    assert all(set(one) == {"name", "images_per_second", "ms", "peak_mb", "part_ms"} for one in record["contenders"])
    assert all(len(one["losses"]) >= arithmetic.LEAST_STEPS for one in record["curves"])


@pytest.mark.parametrize("width", [60, 80, 120])
def test_tables_fit_and_lose_nothing(found: Speed, width: int) -> None:
    text = found.text("terminal", width)
    assert max(map(len, text.splitlines())) <= width
    words = text.split()
    for word in found.text().split():
        if not set(word) <= {"-"}:
            assert word in words, word
    if width == 80:
        assert text.count("images/s") == 1, "a table, not a list"


def test_other_forms_hold_the_same_ratios(found: Speed) -> None:
    rows = list(csv.DictReader(io.StringIO(found.text("csv"))))
    assert [float(row["ratio"]) for row in rows] == found.frame()["ratio"].tolist()
    markdown = found.text("markdown")
    for row in rows:
        assert f"{float(row['ratio']):.3f}" in markdown
    with pytest.raises(UserError, match="unknown format 'xml'"):
        found.text("xml")


def test_work_that_is_not_the_same_is_said(found: Speed) -> None:
    one = Compared("loop", "a", "b", (1, 1), ((Times(1.0, 1.0), Times(1.0, 1.0)),), apart=0.5)
    measured = dataclasses.replace(found.measured, compared=(one,), watched=(), curves=())
    text = report.render_speed(found.setting, measured, found.machine)
    assert "a / b: their gradients differ by 50%; they do not do the same work" in text
    assert "do not do the same work" not in found.text()


def test_the_command_prints_the_table_alone(temporary: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = "speed --only loop --only difference --pairs 1 --steps 2 --device cpu --size 48 --batch 2 --format csv"
    assert cli.main(line.split()) == 0
    said = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(said.out)))
    assert [(row["first"], row["second"], row["steps"]) for row in rows] == [
        ("cross-entropy", "bare loop", "2"), ("difference", "cross-entropy", "2")
    ]  # fmt: skip
    assert "[2/2] difference / cross-entropy: " in said.err


@pytest.mark.slow
def test_workers_are_compared_on_a_grid(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "RUNS_EACH", 1)
    monkeypatch.setattr(workers, "EPOCHS", 1)
    spoken: list[str] = []
    found = divsal_bench.speed(only="workers", workers=2, pairs=1, device="cpu", say=spoken.append)
    (one,) = found.measured.compared
    assert (one.first, one.second, one.images) == ("2 workers", "1 worker", (2, 2))
    assert spoken[0].startswith("[1/1] 2 workers / 1 worker: ")
    assert one.processor_ratios == ()
    assert not found.measured.watched
    assert not left_in(temporary)


def test_what_is_asked_for() -> None:
    every, methods = measuring.asked_for(None, None)
    assert every == [name for name in measuring.SECTIONS if name != "workers"]
    assert {"cyborg", "margin", "cyborg-shuffled", "balanced-cross-entropy"} <= set(methods)
    assert "cross-entropy" not in methods
    assert measuring.asked_for(None, 3)[0] == list(measuring.SECTIONS)
    assert measuring.asked_for(["margin", "loop"], None) == (["loop", "methods"], ["margin"])
    assert measuring.asked_for(["methods"], None) == (["methods"], methods)
    assert measuring.asked_for(["cache"], 2) == (["cache", "workers"], [])
    assert measuring.count_compared(every, methods) == 4 + len(methods) + 3


@pytest.mark.parametrize(
    ("line", "refusal"),
    [
        ("--backbone resnet5O", "unknown backbone 'resnet5O'. Did you mean 'resnet50'?"),
        ("--backbone vit_tiny_patch16_224", "has no closed-form CAM"),
        ("--backbone resnet18 --size 16", "gives 1×1 CAMs at 16 px"),
        ("--size 0", "--size is 0; give 8 to 2,048"),
        ("--size -3", "--size is -3; give 8 to 2,048"),
        ("--batch 1", "--batch is 1; give 2 to 4,096"),
        ("--pairs 0", "--pairs is 0; give 1 to 999"),
        ("--steps 0", "--steps is 0; give 1 to 100,000"),
        ("--threads 0", "--threads is 0; give 1 to 1,024"),
        ("--workers 1", "--workers is 1; give 2 to 256"),
        ("--only cyborgs", "unknown name 'cyborgs'. Did you mean 'cyborg'?"),
        ("--only ,", "--only names nothing"),
        ("--protocol quick", "unknown protocol 'quick'. Did you mean 'quick-v1'?"),
        ("--device cuda", "device 'cuda' is not available here"),
        ("--device gpu", "unknown device 'gpu'"),
        ("--size nine", "argument --size: invalid int value: 'nine'"),
        (f"--steps {'9' * 400}", "--steps is 99999999999999999999…; give 1 to 100,000"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    line: str, refusal: str, temporary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["speed", *line.split()]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert refusal in said.err
    assert not left_in(temporary)


def test_numbers_of_another_kind_are_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"size takes a whole number, not 1\.5"):
        divsal_bench.speed(size=1.5)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="only takes a name, several, or one text with commas, not 5"):
        divsal_bench.speed(only=5)  # type: ignore[arg-type]


def test_drawn_data_is_the_same_each_time_and_has_a_map_in_every_row(tmp_path: Path) -> None:
    first, second = (drawn.draw_data(tmp_path / name, 32, 3, 4) for name in ("a", "b"))
    assert first.pixel_hash == second.pixel_hash != drawn.draw_data(tmp_path / "c", 32, 3, 4, seed=1).pixel_hash
    assert first.images[:5].shape == (5, 3, 32, 32)
    assert first.rows["split"].value_counts()["train"] == drawn.BATCHES * 4
    assert first.rows.groupby("split")["label"].nunique().tolist() == [2, 2, 2]
    assert all(0 < part.mean() < 128 for part in first.maps[:9])


def test_an_interruption_leaves_nothing_behind(temporary: Path) -> None:
    place = temporary / "of a process"
    place.mkdir()
    line = [sys.executable, "-m", "divsal_bench", "speed", "--only", "loop", "--pairs", "900", "--steps", "3"]
    with subprocess.Popen(line, env={**os.environ, "TMPDIR": str(place)}, stderr=subprocess.PIPE, text=True) as run:
        deadline = time.monotonic() + 240
        while not list(place.rglob("meta.json")) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert list(place.rglob("meta.json"))
        run.send_signal(signal.SIGINT)
        _, said = run.communicate(timeout=240)
    assert run.returncode == 130
    assert said == "divsal-bench: interrupted; the same command goes on\n"
    assert not left_in(place)
