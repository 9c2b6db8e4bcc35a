"""A run of an older schema is read as one of today's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from divsal_bench.errors import UserError
from divsal_bench.runs import migrations, reading
from divsal_bench.runs.reading import read_run
from divsal_bench.runs.records import SCHEMA_VERSION, DataFacts, Record, Spec

pytestmark = pytest.mark.fast

SPEC = Spec(
    task="cxr", task_version=1, data="standin", data_fingerprint="f" * 64, method="cyborg", method_version=1,
    fields={"alpha": 0.5}, backbone="resnet10t", weights="scratch", head="two-logit", protocol="quick-v1",
    protocol_settings={"epochs": 3}, seed=0,
)  # fmt: skip
FACTS = DataFacts(kind="standin", revision="", pixel_hash="a" * 16, train=2, validation=2, test=2, train_maps=1)
RECORD = Record(
    run_id=SPEC.run_id, status="failed", method_label="cyborg", method_kind="one-cam", spec=SPEC, data=FACTS,
    selected_epoch=7,
)  # fmt: skip


def renamed(content: dict[str, Any]) -> dict[str, Any]:
    """An imaginary first version called the selected epoch ``best_epoch``."""
    return {"selected_epoch": content.pop("best_epoch"), **content}


def write_old(folder: Path) -> Path:
    content = RECORD.model_dump(mode="json")
    content |= {"schema_version": 0, "best_epoch": content.pop("selected_epoch")}
    (folder / "run.json").write_text(json.dumps(content))
    return folder


def test_an_older_record_is_brought_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_old(tmp_path)
    with pytest.raises(UserError, match=r"run\.json is damaged: field"):
        read_run(tmp_path)
    monkeypatch.setattr(reading, "RECORD_STEPS", {0: renamed})
    assert read_run(tmp_path).record == RECORD
    assert read_run(tmp_path).record.run_id == SPEC.run_id


def test_an_older_record_that_lacks_something_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_old(tmp_path) / "run.json"
    file.write_text(file.read_text().replace("best_epoch", "worst_epoch"))
    monkeypatch.setattr(reading, "RECORD_STEPS", {0: renamed})
    with pytest.raises(UserError, match=r"run\.json is damaged: lacks what schema version 0 has \('best_epoch'\); del"):
        read_run(tmp_path)


def test_there_is_a_step_from_every_version_to_the_newest() -> None:
    assert sorted(migrations.RECORD_STEPS) == list(range(1, SCHEMA_VERSION))
