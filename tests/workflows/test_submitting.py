"""Submitting from Python: where weights and results are, and what is shown."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from divsal_bench.errors import UserError
from divsal_bench.leaderboard.accepted.publishing import PublicData
from divsal_bench.leaderboard.claims.gallery import Gallery, Picture
from divsal_bench.runs.reading import Run
from divsal_bench.runs.records import DataFacts, Record, Spec
from divsal_bench.workflows.submitting import results_place, weights_place, without_pictures

pytestmark = pytest.mark.fast

COMMIT = "0123456789" * 4


def a_run(seed: int) -> Run:
    """A run that was never written."""
    spec = Spec(
        task="cxr", task_version=1, data="standin", data_fingerprint="f" * 64, method="cyborg", method_version=1,
        fields={}, backbone="resnet10t", weights="scratch", head="two-logit", protocol="quick-v1",
        protocol_settings={}, seed=seed,
    )  # fmt: skip
    facts = DataFacts(kind="standin", revision="", pixel_hash="", train=1, validation=1, test=1, train_maps=0)
    record = Record(
        run_id=spec.run_id, status="failed", method_label="cyborg", method_kind="one-cam", spec=spec, data=facts
    )
    return Run(Path(f"runs/cxr/cyborg/seed{seed}-{spec.run_id}"), record)


def test_weights_are_named_by_place_path_or_commit() -> None:
    run = a_run(seed=3)
    own = f"cxr/cyborg/seed3-{run.record.run_id}/model.safetensors"
    assert weights_place([])(run) == own
    assert weights_place(["store/mine"])(run) == f"store/mine/{own}"
    hub = f"https://huggingface.co/org/name/blob/{COMMIT}"
    assert weights_place([f"org/name@{COMMIT}"])(run) == f"{hub}/{own}"
    assert weights_place([f"3=org/name@{COMMIT}", "store"])(run) == f"{hub}/model.safetensors"
    assert weights_place([f"2=org/name@{COMMIT}"])(run) == own


@pytest.mark.parametrize("given", ["org/name@main", "org/name@", "/absolute", "../up", f"3=name@{COMMIT}"])
def test_weights_that_name_no_place(given: str) -> None:
    with pytest.raises(UserError, match="--weights"):
        weights_place([given])


def test_results_are_written_into_a_checkout_or_where_one_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert results_place(Path("mine")) == Path("mine")
    for content in (None, "", "[project]", "[project]\nname = 'other'", "project = 1", "\0", "[project"):
        if content is not None:
            Path("pyproject.toml").write_text(content)
        with pytest.raises(UserError, match=r"no checkout of divsal-bench; .* --results DIR"):
            results_place(None)
    shutil.copy(Path(__file__).parents[2] / "pyproject.toml", tmp_path)
    assert results_place(None) == Path("leaderboard/results")
    assert not Path("leaderboard").exists()


def test_pictures_can_be_left_out_of_what_is_published() -> None:
    picture = Picture(key="0" * 16, label=0, condition="in-domain", image="", human=None, credit="")
    gallery = Gallery(class_names=("normal", "abnormal"), pictures=[picture])
    found = without_pictures(PublicData(pd.DataFrame(), "yes", gallery, lambda run: {}))
    assert found.gallery.pictures == []
    assert "left the pictures out" in found.gallery.absent
    assert found.predictions == "yes"
