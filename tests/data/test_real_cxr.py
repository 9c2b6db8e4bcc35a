"""The real chest X-ray set beside the project; it is not part of the repository."""

from pathlib import Path

import pytest

from divsal_bench.data import arrays, catalogue
from divsal_bench.data.check import check_data_set
from divsal_bench.data.prepare import prepare_data_set
from divsal_bench.scores.conditions import conditions
from divsal_bench.tasks.adapters.manifest_csv import ADAPTER

SOURCE = Path(__file__).parents[2].parent / "shared" / "data" / "cxr"

pytestmark = pytest.mark.skipif(not SOURCE.is_dir(), reason=f"there is no {SOURCE}")


def test_from_the_delivered_files_to_arrays(task, home, tmp_path):
    import datasets

    result = prepare_data_set(task, ADAPTER, SOURCE, catalogue.default_folder("cxr"))
    assert {
        split: sum(c.negatives + c.positives for c in result.counts if c.split == split)
        for split in ("train", "validation", "test")
    } == {"train": 632, "validation": 120, "test": 1053}
    assert {c.split: c.maps for c in result.counts if c.source == "nih_cxr14"} == {
        "train": 104,
        "validation": 22,
        "test": 27,
    }
    assert result.notices[0].startswith("62 rows with label_conflict=1 were left out")

    report = check_data_set(result.path)
    assert report.problems == ()
    assert report.warnings == ("7 images are copies of another one in the same split",)

    data = arrays.load_arrays(task, catalogue.resolve(task, None), 32)
    assert data.rows.loc[data.rows["has_map"], "split"].value_counts().to_dict() == {
        "train": 104,
        "validation": 22,
        "test": 27,
    }
    assert (data.maps[:].reshape(len(data.maps), -1).any(axis=1) == data.rows["has_map"]).all()
    found = {c.name: (c.kind, int(c.positives.sum()), int(c.negatives.sum())) for c in conditions(data.rows)}
    assert found == {
        "in-domain": ("scored", 87, 99),
        "hannover_covid": ("cross-source", 243, 99),
        "kermany_pediatric": ("scored", 390, 234),
    }

    loaded = datasets.load_dataset(str(result.path), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in loaded.items()} == {
        "train": 632,
        "validation": 120,
        "test": 1053,
    }
    assert loaded["test"].features["label"].names == ["normal", "abnormal"]


def test_conflicting_labels_can_be_kept(task, tmp_path):
    rows = list(ADAPTER.read(SOURCE, task, {"label-conflict": "keep"}).rows)
    assert len(rows) == 1867
    assert sum(row.saliency is not None for row in rows) == 160
