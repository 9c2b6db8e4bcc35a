"""Rows of stored arrays: read when they are asked for, few at a time, a little ahead."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from counted_rows import CountedRows

from divsal_bench.errors import UserError
from divsal_bench.networks.stored import AHEAD, ChosenRows, chunks

pytestmark = pytest.mark.fast

CPU = torch.device("cpu")
PIXELS = np.random.default_rng(0).integers(0, 256, (23, 1, 4, 4), np.uint8)


def test_some_rows_have_the_face_of_an_array_and_read_what_is_asked_for() -> None:
    stored = CountedRows(PIXELS, most=3)
    some = ChosenRows(stored, np.array([20, 3, 4, 9, 1]))
    assert some.shape == (5, 1, 4, 4)
    assert len(some) == 5
    part = some.part(np.array([True, False, False, True, True])).part([2, 0])
    assert stored.asked == []
    assert (part[:] == PIXELS[[1, 20]]).all()
    assert (some[1:4] == PIXELS[[3, 4, 9]]).all()
    assert stored.read.tolist() == [1, 3, 4, 9, 20]


@pytest.mark.parametrize("count", [0, 1, 4, 5, 20, 23])
def test_chunks_are_all_images_in_order(count: int) -> None:
    rows = np.random.default_rng(1).permutation(23)[:count]
    for images in (ChosenRows(PIXELS, rows), PIXELS[rows], torch.from_numpy(PIXELS[rows])):
        found = list(chunks(images, 4, CPU))
        assert [len(chunk) for chunk in found] == ([4] * (count // 4) + [count % 4] * (count % 4 > 0) or [0])
        assert (torch.cat(found).numpy() == PIXELS[rows]).all()


def test_a_memory_map_is_copied_before_it_becomes_a_tensor(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", PIXELS)
    stored = np.load(tmp_path / "images.npy", mmap_mode="r")
    for chunk in chunks(stored, 4, CPU):
        chunk.zero_()
    assert (stored == PIXELS).all()


def test_reading_runs_ahead_of_the_network_and_not_far() -> None:
    stored, before = CountedRows(PIXELS, most=2), set(threading.enumerate())
    found = chunks(ChosenRows(stored, np.arange(23)), 2, CPU)
    next(found)
    until = time.monotonic() + 5
    while len(stored.asked) < AHEAD and time.monotonic() < until:
        time.sleep(0.005)
    assert len(stored.asked) == AHEAD
    next(found)
    next(found)
    assert len(stored.asked) <= 2 + AHEAD
    found.close()  # type: ignore[attr-defined]
    assert not set(threading.enumerate()) - before


def test_what_reading_says_is_said() -> None:
    class Damaged(CountedRows):
        def __getitem__(self, which: object) -> np.ndarray:
            if 9 in np.arange(23)[which]:  # type: ignore[index]
                raise UserError("row 9 is damaged; delete that folder")
            return super().__getitem__(which)

    found = chunks(ChosenRows(Damaged(PIXELS, 4), np.arange(23)), 4, CPU)
    assert len(next(found)) == 4
    next(found)
    with pytest.raises(UserError, match="row 9 is damaged"):
        next(found)
