"""Submitting: what is refused, that nothing half-written stays, and that the same runs change no byte."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from divsal_bench.errors import UserError
from divsal_bench.leaderboard.accepted import all_results, reading
from divsal_bench.leaderboard.accepted.publishing import PublicData
from divsal_bench.leaderboard.accepted.submission import Submitted
from divsal_bench.leaderboard.claims import files
from divsal_bench.runs.reading import Run, read_run
from divsal_bench.scores.scoring import score

MakeRun = Callable[..., Run]
Five = Callable[..., list[Run]]
Submit = Callable[..., list[Submitted]]
Predictions = Callable[..., pd.DataFrame]


def content(root: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_the_same_runs_again_change_no_byte(make_published: MakeRun, submit: Submit, tmp_path: Path) -> None:
    runs = [make_published(method, seed) for method in ("cross-entropy", "cyborg") for seed in range(5)]
    assert [one.change for one in submit(runs)] == ["new", "new"]
    before = content(tmp_path / "results")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "results").rglob("*.*")}
    assert [one.change for one in submit(runs[::-1])] == ["unchanged", "unchanged"]
    assert content(tmp_path / "results") == before
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "results").rglob("*.*")} == times
    for path in (tmp_path / "results").rglob("*.json"):
        path.unlink()
    submit(runs)
    assert content(tmp_path / "results") == before


def test_the_date_is_that_of_the_newest_run(make_published: MakeRun, submit: Submit) -> None:
    dates = ["2026-01-02T00:00:00+00:00", "2026-03-01T00:00:00+00:00", "2025-12-31T00:00:00+00:00"]
    dates += ["2025-01-01T00:00:00+00:00"] * 2
    (done,) = submit([make_published("cyborg", seed, record={"created": date}) for seed, date in enumerate(dates)])
    assert done.claim.date == "2026-03-01T00:00:00+00:00"


def test_another_result_of_the_method_needs_force(make_published: MakeRun, submit: Submit, tmp_path: Path) -> None:
    runs = [make_published("cyborg", seed) for seed in range(6)]
    submit(runs[:5])
    before = content(tmp_path / "results")
    for others in ({"runs": runs}, {"runs": runs[:5], "by": "Bob"}):
        with pytest.raises(UserError, match=r"holds a result already .of Ann, 5 seeds.; add --force"):
            submit(**others)
    assert content(tmp_path / "results") == before
    (done,) = submit(runs, force=True)
    assert done.change == "replaced"
    (sheet,) = all_results.read_accepted(tmp_path / "results").sheets
    assert sheet.entries[0].seeds == (0, 1, 2, 3, 4, 5)


@pytest.mark.parametrize(
    ("predictions", "permitted", "allowed"),
    [
        ("yes", False, True),
        ("no", False, False),
        ("no", True, False),
        ("unknown", False, False),
        ("unknown", True, True),
    ],
)
def test_permissions(
    five: Five, submit: Submit, public: PublicData, tmp_path: Path,
    predictions: Any, permitted: bool, allowed: bool,
) -> None:  # fmt: skip
    data = dataclasses.replace(public, predictions=predictions)
    runs = five("cyborg")
    if allowed:
        submit(runs, data, permitted=permitted)
        return
    with pytest.raises(UserError, match="forbid publishing" if predictions == "no" else "--i-have-permission"):
        submit(runs, data, permitted=permitted)
    assert not (tmp_path / "results").exists()


def test_failed_and_diverged_seeds_are_recorded_and_counted(
    make_published: MakeRun, submit: Submit, tmp_path: Path
) -> None:
    runs = [make_published("cyborg", seed) for seed in (0, 1, 4)]
    runs += [make_published("cyborg", 2, status="failed"), make_published("cyborg", 3, status="diverged")]
    (done,) = submit(runs)
    assert [(one.seed, one.status) for one in done.claim.missing] == [(2, "failed"), (3, "diverged")]
    (sheet,) = all_results.read_accepted(tmp_path / "results").sheets
    assert (sheet.entries[0].failed, sheet.entries[0].diverged) == (1, 1)


def test_a_method_without_a_result_is_refused(five: Five, submit: Submit) -> None:
    with pytest.raises(UserError, match="no seed with a result"):
        submit(five("cyborg", status="failed"))
    with pytest.raises(UserError, match="no runs"):
        submit([])


def changed(run: Run, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Run:
    """Change a run's predictions after the fact, and take its hash of them away, as older records have none."""
    path = run.path / "predictions.parquet"
    change(pd.read_parquet(path)).to_parquet(path)
    record = json.loads((run.path / "run.json").read_text())
    (run.path / "run.json").write_text(json.dumps({**record, "files": {}}))
    return read_run(run.path)


@pytest.mark.parametrize("name", ["predictions.parquet", "model.safetensors"])
def test_files_of_another_seed_are_refused_even_where_their_scores_agree(
    make_published: MakeRun, submit: Submit, name: str
) -> None:
    runs = [make_published("cyborg", seed) for seed in (0, 1)]
    sealed = [read_run(run.path) for run in runs]
    if name not in sealed[0].record.files:  # made without weights
        named = {**sealed[0].record.files, name: hashlib.sha256((runs[0].path / name).read_bytes()).hexdigest()}
        sealed[0] = Run(runs[0].path, sealed[0].record.model_copy(update={"files": named}))
    (runs[0].path / name).write_bytes((runs[1].path / name).read_bytes())
    with pytest.raises(UserError, match=f"{name} is not what run {runs[0].record.run_id} wrote"):
        submit(sealed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.assign(logit1=t["logit1"] + 2 * t["label"]), "run.json says .* its predictions say"),
        (lambda t: t.assign(true_lift=t["true_lift"] * 2), "run.json says true_cam.lift"),
        (lambda t: t.assign(sample_id=t["sample_id"] + "x"), "other samples than the data set"),
        (lambda t: t.assign(label=1 - t["label"]), "other samples than the data set"),
        (lambda t: t.assign(subject="one"), "other samples than the data set"),
        (lambda t: t.assign(condition=t["condition"].replace("b", "c")), "other samples than the data set"),
        (lambda t: t.iloc[:-1], "other samples than the data set"),
        (lambda t: t.assign(logit1=np.nan), "not finite"),
        (lambda t: pd.concat([t, t.iloc[:1]]), "twice"),
        (lambda t: t.drop(columns="logit1"), "logit1"),
    ],
)
def test_predictions_that_do_not_fit_are_refused(
    five: Five, submit: Submit, tmp_path: Path,
    change: Callable[[pd.DataFrame], pd.DataFrame], message: str,
) -> None:  # fmt: skip
    runs = [*five("cross-entropy"), *five("cyborg")]
    runs[5] = changed(runs[5], change)
    with pytest.raises(UserError, match=message) as caught:
        submit(runs)
    assert str(runs[5].path) in str(caught.value)
    assert not (tmp_path / "results").exists(), "something half-written stayed"


def test_edited_metrics_of_a_run_are_refused(make_published: MakeRun, submit: Submit) -> None:
    run = make_published("cyborg", 0)
    record = json.loads((run.path / "run.json").read_text())
    record["scores"]["open_set"] += 0.01
    (run.path / "run.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"run.json says open_set"):
        submit([read_run(run.path)])


def test_numbers_of_an_older_definition_keep_no_run_out(
    make_published: MakeRun, submit: Submit, predictions: Predictions, tmp_path: Path
) -> None:
    """run.json of a run made when ties and species counted otherwise: what is published is computed anew."""
    for metric, refused in (("ece", False), ("d-eer", False), ("ap", True)):
        runs = []
        for seed in range(5):
            table = predictions(1.5, seed)
            scores = score(table, (metric,))
            old = scores.field_metrics[0].model_copy(update={"value": 0.123})
            scores = scores.model_copy(update={"field_metrics": [old, *scores.field_metrics[1:]]})
            runs.append(make_published("cyborg", seed, table=table, record={"scores": scores}, protocol=f"{metric}-v1"))
        if refused:
            with pytest.raises(UserError, match=r"run\.json says field_metrics"):
                submit(runs)
            continue
        (done,) = submit(runs)
        assert all(one.scores.field_metrics[0].value != 0.123 for one in done.claim.seeds)
        all_results.read_accepted(tmp_path / "results")
        shutil.rmtree(tmp_path / "results")


def test_margins_that_float32_cannot_tell_apart_are_refused(
    five: Five, submit: Submit, predictions: Predictions
) -> None:
    table = predictions(1.5, 0)
    table["logit1"] = 1e9 + table["logit1"]
    with pytest.raises(UserError, match=r"in float32 .* too large to publish"):
        submit(five("cyborg", table=table))


def test_weights_are_named_by_their_hash_and_must_be_there(five: Five, submit: Submit) -> None:
    (done,) = submit(five("cyborg"))
    one = done.claim.seeds[0]
    assert one.weights.where == "cyborg/seed0/model.safetensors"
    assert str(one.weights) == f"cyborg/seed0/model.safetensors (sha256 {one.weights.sha256})"
    runs = five("difference")
    (runs[3].path / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"seed3.*a result needs its weights"):
        submit(runs)
    hub = f"https://huggingface.co/org/name/blob/{'a' * 40}/model.safetensors"
    (done,) = submit(five("cyborg"), where=lambda run: hub, force=True)
    assert str(done.claim.seeds[0].weights) == hub


def test_what_no_file_may_hold_is_refused_before_writing(five: Five, submit: Submit, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="submitter"):
        submit(five("cyborg"), by="")
    with pytest.raises(UserError, match="description"):
        submit(five("cyborg"), describe=lambda name: "two\nlines")
    with pytest.raises(UserError, match=r"weights\.where|where"):
        submit(five("cyborg"), where=lambda run: "/root/x")
    assert not (tmp_path / "results").exists()


def test_markup_is_kept_as_text(five: Five, submit: Submit, tmp_path: Path) -> None:
    submit(five("cyborg"), describe=lambda name: "<script>alert(1)</script>")
    (sheet,) = all_results.read_accepted(tmp_path / "results").sheets
    assert sheet.entries[0].standing is not None
    assert sheet.entries[0].standing.description == "<script>alert(1)</script>"


def test_one_seed_twice_is_refused(make_published: MakeRun, submit: Submit) -> None:
    run = make_published("cyborg", 0)
    with pytest.raises(UserError, match="seed 0 is there twice"):
        submit([run, run])


def test_a_full_disk_leaves_what_was_there(
    make_published: MakeRun, submit: Submit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [make_published("cyborg", seed) for seed in range(6)]
    submit(runs[:5])
    before = content(tmp_path / "results")
    replace, calls = Path.replace, []

    def failing(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(UserError, match="No space left"):
        submit(runs, force=True)
    assert len(calls) > 2, "the first was put back"
    assert content(tmp_path / "results") == before


def test_pictures_that_are_there_stay_and_lost_ones_come_back(
    five: Five, submit: Submit, public: PublicData, tmp_path: Path
) -> None:
    (done,) = submit(five("cyborg"))
    path = done.path.parents[2] / "gallery.json"
    before = path.read_bytes()
    (picture,) = public.gallery.pictures
    other = picture.model_copy(update={"key": reading.read_data_set(path.parent).rows["key"].iloc[-1]})
    data = dataclasses.replace(public, gallery=public.gallery.model_copy(update={"pictures": [other, picture]}))
    submit(five("difference"), data)
    assert path.read_bytes() == before
    all_results.read_accepted(tmp_path / "results")
    path.unlink()
    submit(five("cyborg"))
    assert path.read_bytes() == before


def test_a_data_set_without_pictures_says_why(five: Five, submit: Submit, public: PublicData) -> None:
    gallery = public.gallery.model_copy(update={"pictures": [], "absent": "Its owner forbids it."})
    (done,) = submit(five("cyborg"), dataclasses.replace(public, gallery=gallery))
    assert done.claim.cams == {}
    folder = done.path.parents[2]
    found = reading.read_data_set(folder)
    assert found.gallery is not None
    assert found.gallery.absent == "Its owner forbids it."


def test_numbers_in_lists_stand_on_one_line(results: Path) -> None:
    for path in results.rglob("c*.json"):
        assert "[0.12346, -1.0]" in path.read_text()
        assert files.model_json(reading.read_claim(path)) == path.read_bytes()
    path = next(results.rglob("gallery.json"))
    gallery = reading.read_data_set(path.parent).gallery
    assert gallery is not None
    assert "[0.25, 0.5]" in path.read_text()
    assert files.model_json(gallery) == path.read_bytes()
