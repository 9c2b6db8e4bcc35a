"""The gallery's pictures: chosen by rule, small, and only where they may be shown; the maps come from weights."""

from __future__ import annotations

import dataclasses
import hashlib
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from divsal_bench.contracts.adapter import SourceTerms
from divsal_bench.data import arrays, catalogue
from divsal_bench.data.arrays import DataArrays
from divsal_bench.errors import UserError
from divsal_bench.grid import planning, work
from divsal_bench.networks.trained import load_model
from divsal_bench.publish import gallery
from divsal_bench.registry import method_choice, plugins, protocols
from divsal_bench.runs.reading import Run, read_run
from divsal_bench.runs.store import weights_sha256

YES = SourceTerms("CC BY 4.0", "yes", "yes", "yes")


def key(sample: str) -> str:
    return hashlib.sha256(sample.encode()).hexdigest()[:16]


def opened(task: str, size: int = 64) -> DataArrays:
    found = plugins.tasks().get(task)
    return arrays.load_arrays(found, catalogue.resolve(found, "standin"), size)


@pytest.fixture(scope="module")
def data() -> DataArrays:
    return opened("cxr")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A real run of one epoch."""
    protocol = dataclasses.replace(protocols.find_protocol("quick-v1"), epochs=1)
    out = tmp_path_factory.mktemp("runs")
    grid = planning.Grid(("cxr",), tuple(method_choice.choose_methods("cyborg")), (0,), out, protocol, data="standin")
    (job,) = planning.plan(grid)[0].jobs
    return read_run(work.execute(job))


def test_the_choice_is_a_rule(data: DataArrays) -> None:
    first, second = (gallery.pictures(data, None, key) for _ in range(2))
    assert [one.sample_id for one in first.shown] == [one.sample_id for one in second.shown]
    assert [one.image for one in first.shown] == [one.image for one in second.shown]
    assert len(first.shown) == gallery.COUNT
    assert {one.label for one in first.shown} == {0, 1}
    assert len({one.condition for one in first.shown}) >= 2
    assert sum(one.human is not None for one in first.shown) >= 3
    test = data.rows[data.rows["split"] == "test"]
    positives = test[(test["label"] == 1) & test["has_map"]]
    assert first.shown[0].sample_id == min(positives["sample_id"], key=key)


@pytest.mark.parametrize("task", sorted(plugins.tasks().found))
def test_pictures_are_small_and_readable(task: str) -> None:
    data = opened(task, 128)
    found = gallery.pictures(data, None, key)
    for one in found.shown:
        picture = Image.open(io.BytesIO(one.image))
        assert picture.format == "PNG"
        assert max(picture.size) <= gallery.SIDE
        assert picture.mode == ("L" if data.images.shape[1] == 1 else "RGB")
        assert one.credit == gallery.STANDIN_CREDIT
        if one.human is not None:
            assert one.human.shape == gallery.GRID
            assert one.human.min() >= 0
            assert 0 < one.human.max() <= 1


def test_a_small_picture_is_the_array_itself(data: DataArrays) -> None:
    one = gallery.pictures(data, None, key).shown[0]
    position = data.rows.index[data.rows["sample_id"] == one.sample_id][0]
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(one.image))), data.images[position][0])


@pytest.mark.parametrize("permission", ["no", "unknown"])
def test_only_a_plain_yes_shows_real_images(data: DataArrays, permission: str) -> None:
    sources = sorted(data.rows["source"].unique())
    withheld = dataclasses.replace(YES, redistribute_images=permission)  # type: ignore[arg-type]
    none = gallery.pictures(data, dict.fromkeys(sources, withheld), key)
    assert not none.shown
    assert "do not allow" in none.absent
    assert not gallery.pictures(data, {}, key).shown
    test = data.rows[data.rows["split"] == "test"]
    allowed = str(test["source"].iloc[0])
    some = gallery.pictures(data, {**dict.fromkeys(sources, withheld), allowed: YES}, key)
    by_id = test.set_index("sample_id")["source"]
    assert some.shown
    assert {by_id[one.sample_id] for one in some.shown} == {allowed}
    assert some.shown[0].credit == f"{allowed}, CC BY 4.0"


def rows(*content: tuple[int, bool, str]) -> pd.DataFrame:
    columns = ["label", "has_map", "condition"]
    return pd.DataFrame(content, columns=columns).assign(key=[str(i) for i in range(len(content))])


def test_the_choice_covers_classes_and_conditions_where_it_can() -> None:
    picked = gallery.chosen_rows(rows(*[(1, True, "a")] * 6, (0, False, "a"), (1, False, "b")))
    assert list(picked["key"]) == ["0", "7", "6", "1"]
    picked = gallery.chosen_rows(rows(*[(1, True, "a")] * 6, (0, True, "a"), (0, False, "b")))
    assert set(picked["condition"]) == {"a", "b"}
    assert list(gallery.chosen_rows(rows((0, False, "a"), (0, False, "a")))["key"]) == ["0", "1"]
    assert list(gallery.chosen_rows(rows((1, False, "a")))["key"]) == ["0"]


def test_the_choice_does_not_depend_on_the_order_of_rows() -> None:
    table = rows(*[(i % 2, i % 3 == 0, "ab"[i % 5 == 0]) for i in range(40)])
    expected = list(gallery.chosen_rows(table)["key"])
    for seed in range(3):
        assert list(gallery.chosen_rows(table.sample(frac=1, random_state=seed))["key"]) == expected


def test_maps_come_from_the_weights_and_give_the_logits(run: Run, data: DataArrays) -> None:
    samples = [one.sample_id for one in gallery.pictures(data, None, key).shown]
    maps = gallery.cams_of_samples(run, data, samples)
    assert list(maps) == samples
    bias = load_model(run).classifier()[1].detach().numpy()
    table = run.predictions().set_index("sample_id")
    for sample, found in maps.items():
        assert found.shape == (2, 8, 8)
        logits = table.loc[sample, ["logit0", "logit1"]].to_numpy(float)
        np.testing.assert_allclose(found.mean((1, 2)) + bias, logits, atol=1e-4)
    assert gallery.cams_of_samples(run, data, []) == {}
    with pytest.raises(UserError, match="is not in the data"):
        gallery.cams_of_samples(run, data, ["nobody"])


def test_weights_that_do_not_fit_are_named(run: Run, tmp_path: Path) -> None:
    assert len(weights_sha256(run.path)) == 64
    with pytest.raises(UserError, match=r"model\.safetensors"):
        weights_sha256(tmp_path)
    run = dataclasses.replace(run, record=run.record.model_copy(update={"files": {}}))  # as older ones
    missing = dataclasses.replace(run, path=tmp_path)
    with pytest.raises(UserError, match=r"has no model\.safetensors"):
        load_model(missing)
    (tmp_path / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(UserError, match=r"does not fit the network|not a whole safetensors"):
        load_model(missing)
    other = run.record.model_copy(update={"spec": run.spec.model_copy(update={"head": "one-logit"})})
    with pytest.raises(UserError, match=r"does not fit the network|not a whole safetensors"):
        load_model(dataclasses.replace(run, record=other))
