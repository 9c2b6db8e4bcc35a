"""The table of predictions: chunk by chunk what it is of the whole split, to the last bit."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from counted_rows import CountedRows
from drawn_evidence import TINY, network

from divsal_bench.contracts import cams
from divsal_bench.data.arrays import DataArrays
from divsal_bench.data.room import Shape
from divsal_bench.errors import DivergedError
from divsal_bench.evaluation.predictions import predictions
from divsal_bench.networks.backbones import CamNet
from divsal_bench.networks.inference import as_input, form_of
from divsal_bench.registry.protocols import Protocol
from divsal_bench.scores import agreement
from divsal_bench.scores.conditions import condition_columns

pytestmark = pytest.mark.fast

COUNT = 700


def drawn_data(seed: int = 0, maps: bool = True) -> DataArrays:
    """Rows of all splits, mixed: of those to be scored, chunks with no human map, with one, and with many."""
    generator = np.random.default_rng(seed)
    label = generator.integers(0, 2, COUNT)
    rows = pd.DataFrame(
        {
            "sample_id": [f"s{number}" for number in range(COUNT)],
            "split": generator.choice(["train", "validation", "test"], COUNT, p=(0.3, 0.2, 0.5)),
            "label": label,
            "source": generator.choice(["a", "b", "c"], COUNT),
            "category": np.where(label == 1, generator.choice(["x", "y"], COUNT), ""),
            "subject": [f"p{number}" for number in range(COUNT)],
            "has_map": generator.random(COUNT) < 0.5,
        }
    )
    scored = np.flatnonzero(rows["split"] != "train")
    rows.loc[scored[128:256], "has_map"] = False
    rows.loc[scored[256:384], "has_map"] = np.arange(128) == 77
    if not maps:
        rows["has_map"] = False
    people = generator.integers(0, 256, (COUNT, 32, 32), np.uint8)
    people[~rows["has_map"].to_numpy()] = 0
    pixels = generator.integers(0, 256, (COUNT, 1, 32, 32), np.uint8)
    return DataArrays(
        rows=rows, images=pixels, maps=people, fingerprint="0" * 64, pixel_hash="0" * 64, path=Path("nowhere"),
        shape=Shape(COUNT, int(rows["has_map"].sum()), 1, 32),
    )  # fmt: skip


def whole(model: CamNet, data: DataArrays, protocol: Protocol) -> pd.DataFrame:
    """Plainly, everything in memory: all images, then the CAMs of all, then the human maps of all."""
    chosen = np.flatnonzero(data.rows["split"] != "train")
    table = data.rows.iloc[chosen][["sample_id", "split", "label", "source", "category", "subject"]]
    table = table.reset_index(drop=True).assign(**condition_columns(data.rows, chosen))
    images = as_input(torch.from_numpy(data.images[chosen]), form_of(protocol))
    with torch.inference_mode():
        passes = [model.forward(batch) for batch in images.split(128)]
        weight = model.classifier()[0]
        maps = torch.cat([cams.class_cams(features, weight) for _, features in passes])
    values = torch.cat([logits for logits, _ in passes]).double().numpy()
    if model.head == "one-logit":
        values = np.stack([np.zeros(len(values)), values[:, 1] - values[:, 0]], 1)
    table = table.assign(logit0=values[:, 0], logit1=values[:, 1])
    mapped = np.flatnonzero(data.rows["has_map"].to_numpy()[chosen])
    labels = torch.from_numpy(table["label"].to_numpy(np.int64, copy=True))
    true, false = cams.select(maps, labels), cams.select(maps, 1 - labels)
    human = cams.pool(torch.from_numpy(data.maps[chosen[mapped]]).float() / 255, (4, 4)).numpy()
    for kind, shown in (("true", true), ("difference", true - false)):
        found = agreement.agreement_with_people(shown[mapped].numpy(), human)
        for name in agreement.COLUMNS:
            column = np.full(len(table), np.nan)
            column[mapped] = found[name]
            table[f"{kind}_{name}"] = column
    return table


@pytest.mark.parametrize("head", ["two-logit", "one-logit"])
def test_the_table_is_that_of_the_whole_split_to_the_last_bit(head: str) -> None:
    data, model = drawn_data(), network(head)  # type: ignore[arg-type]
    images, maps = (CountedRows(array, most=128) for array in (data.images, data.maps))
    stored = dataclasses.replace(data, images=images, maps=maps)  # type: ignore[arg-type]
    done: list[int] = []
    found = predictions(model, stored, TINY, on_batch=lambda: done.append(1))
    pd.testing.assert_frame_equal(found, whole(model, data, TINY), check_exact=True)
    scored = np.flatnonzero(data.rows["split"] != "train")
    assert len(done) == -(-len(scored) // 128)
    # No row twice, and of those without a human map none.
    assert images.read.tolist() == scored.tolist()
    assert maps.read.tolist() == [row for row in scored if data.rows["has_map"].iloc[row]]


def test_without_human_maps_there_is_no_agreement() -> None:
    found = predictions(network(), drawn_data(maps=False), TINY)
    assert found.filter(regex="^(true|difference)_").isna().all(axis=None)


def test_every_score_that_is_not_finite_is_counted() -> None:
    data, model = drawn_data(), network()
    with torch.no_grad():
        model.net.fc.bias[0] = torch.nan
    count = int((data.rows["split"] != "train").sum())
    with pytest.raises(DivergedError, match=f"{count} of {count} scores are not finite"):
        predictions(model, data, TINY)
