"""The look at what methods are handed finds what must not be there, however deep it lies."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from divsal_bench.conformance import specimens
from divsal_bench.conformance.handover import leaks
from divsal_bench.conformance.specimens import MARK, ORDINARY, PROTOCOL, SIDE
from divsal_bench.contracts.method import Batch
from divsal_bench.networks.inference import as_input, form_of

pytestmark = pytest.mark.fast

HELD_OUT = torch.full((1, SIDE, SIDE), MARK, dtype=torch.uint8)


def batch(**changes: Any) -> Batch:
    """A batch of the made-up data."""
    return dataclasses.replace(specimens.batch_of(specimens.train_split(), ORDINARY), **changes)


def closing_over(value: object) -> Any:
    """A warp that holds something."""
    return lambda maps: (maps, value)


def test_what_training_hands_over_is_clean() -> None:
    assert not list(leaks(specimens.handed(specimens.train_split()), "train"))
    assert not list(leaks(batch(), "batch"))
    assert not list(leaks(specimens.outputs_for(batch(), ORDINARY), "out"))


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (Path("data"), "a path (batch.warp.value)"),
        ("/data/images", "the text '/data/images' (batch.warp.value)"),
        ([{"task": "specimen"}], "the text 'specimen' (batch.warp.value[0]['task'])"),
        (pd.DataFrame({"sample_id": ["specimen-40"]}), "specimen-40"),
        (np.array(["specimen-40"]), "specimen-40"),
        (HELD_OUT, "validation or test pixels"),
        (HELD_OUT.float() / 255, "validation or test pixels"),
        (as_input(HELD_OUT[:, None], form_of(PROTOCOL)), "validation or test pixels"),
        (HELD_OUT.numpy(), "validation or test pixels"),
        (torch.zeros(48), "more rows than training has"),
    ],
)
def test_a_leak_in_a_closure_is_found(value: object, what: str) -> None:
    found = list(leaks(batch(warp=closing_over(value)), "batch"))
    assert any(what in text for text in found), found


def test_rows_beyond_the_training_split_are_found() -> None:
    assert list(leaks(batch(rows=torch.tensor([31, 32])), "batch")) == [
        "row numbers beyond the training split (batch.rows)"
    ]
