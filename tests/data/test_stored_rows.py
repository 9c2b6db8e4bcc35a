"""Rows on the disk with the face of an array: whatever is asked for, it is what numpy would give."""

from __future__ import annotations

import os
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from divsal_bench.data import stored_rows
from divsal_bench.data.stored_rows import DAMAGE_NOTE, HEADER_BYTES, DamagedCacheError, StoredRows, npy_header

ROWS = 40


def written(folder: Path, values: np.ndarray, mapped: np.ndarray | None = None) -> StoredRows:
    """Those rows, of which only the mapped ones are in the file."""
    kept = values if mapped is None else values[mapped]
    (folder / "rows.npy").write_bytes(npy_header(kept.shape) + kept.tobytes())
    sums = np.array([zlib.crc32(row.tobytes()) for row in kept], np.uint32)
    return StoredRows(folder / "rows.npy", values.shape, sums, mapped)


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (ROWS, 3, 5, 4), dtype=np.uint8)


def some_indices() -> list[Any]:
    """What people and programs index arrays with."""
    draws = np.random.default_rng(1)
    return [
        0, 7, -1, -ROWS, np.int64(3), np.uint8(5),
        slice(None), slice(3, 9), slice(9, 3), slice(None, None, -1), slice(2, None, 7), slice(-5, 100),
        [], np.array([], int), [4], [4, 4, 4], [-1, 39, 0], range(5, 11), np.array([[1, 2], [2, -3]]),
        np.arange(ROWS) % 3 == 0, np.zeros(ROWS, bool),
        (slice(None), 2), (3, 1, 2), ([5, 1, 5], 0, slice(1, 3)), (slice(0, 0), 1),
        *[draws.integers(-ROWS, ROWS, draws.integers(0, 3 * ROWS)) for _ in range(40)],
        *[draws.permutation(ROWS)[: draws.integers(0, ROWS)].astype(kind) for kind in ("int32", "uint16")],
    ]  # fmt: skip


@pytest.mark.parametrize("share", [None, 0.0, 0.5, 1.0])
@pytest.mark.parametrize("most", [1, 3, 512])
def test_every_index_gives_what_numpy_gives(
    tmp_path: Path, values: np.ndarray, share: float | None, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_rows, "MOST_ROWS_A_READ", most)
    mapped = None if share is None else np.random.default_rng(2).random(ROWS) < share
    if mapped is not None:
        values[~mapped] = 0
    rows = written(tmp_path, values, mapped)
    assert (len(rows), rows.shape, rows.ndim, rows.dtype) == (ROWS, values.shape, 4, np.dtype(np.uint8))
    for index in some_indices():
        found, expected = rows[index], values[index]
        assert found.shape == expected.shape, index
        assert found.dtype == np.uint8
        assert (found == expected).all(), index
        assert found.flags.c_contiguous
        assert found.flags.writeable
        found[...] = 1  # it is the caller's own
    assert (np.asarray(rows) == values).all()
    assert all((one == other).all() for one, other in zip(rows, values, strict=True))
    assert np.zeros_like(rows).shape == values.shape


@pytest.mark.parametrize("index", [ROWS, -ROWS - 1, [0, ROWS], 1.0, [0.5], np.ones(ROWS - 1, bool), "1", None])
def test_what_is_no_row_is_refused(tmp_path: Path, values: np.ndarray, index: Any) -> None:
    with pytest.raises(IndexError):
        written(tmp_path, values)[index]


def test_rows_go_into_memory_of_the_callers(tmp_path: Path, values: np.ndarray) -> None:
    mapped = np.arange(ROWS) % 3 == 0
    values[~mapped] = 0
    rows, wanted = written(tmp_path, values, mapped), np.array([1, 3, -1, 0, 3, 2])
    out = np.full((6, 3, 5, 4), 9, np.uint8)
    assert rows.read(wanted, out) is out
    assert (out == values[wanted]).all()
    for wrong in (out[:5], out[:, :2], out.astype(np.int8), np.empty((12, 3, 5, 4), np.uint8)[::2]):
        with pytest.raises(ValueError, match="C-contiguous uint8 array"):
            rows.read(wanted, wrong)


def test_reads_that_the_system_cuts_short_are_finished(
    tmp_path: Path, values: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, preadv = written(tmp_path, values), os.preadv

    def stingy(descriptor: int, views: list[memoryview], offset: int) -> int:
        return preadv(descriptor, [views[0][:7]], offset)

    monkeypatch.setattr(os, "preadv", stingy)
    assert (rows[:] == values).all()


def test_where_the_system_reads_from_no_place_the_file_is_moved(
    tmp_path: Path, values: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = written(tmp_path, values)
    monkeypatch.delattr(os, "preadv")
    assert (rows[[7, 3, 4, 3]] == values[[7, 3, 4, 3]]).all()


def test_threads_and_forks_read_at_once(tmp_path: Path, values: np.ndarray) -> None:
    """As a feeder beside training does, and as the runs of a grid."""
    rows, wrong = written(tmp_path, values), []

    def read(seed: int) -> bool:
        draws = np.random.default_rng(seed)
        wanted = [draws.integers(0, ROWS, 16) for _ in range(200)]
        return all((rows[some] == values[some]).all() for some in wanted)

    threads = [threading.Thread(target=lambda seed=seed: read(seed) or wrong.append(seed)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    children = []
    for seed in range(4):
        child = os.fork()
        if not child:
            os._exit(0 if read(seed) else 1)
        children.append(child)
    assert read(9)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0, 0]


def test_the_file_is_one_that_numpy_reads(tmp_path: Path, values: np.ndarray) -> None:
    written(tmp_path, values)
    assert (np.load(tmp_path / "rows.npy") == values).all()
    assert len(npy_header((5_000_000, 3, 2048, 2048))) == HEADER_BYTES


@pytest.mark.parametrize("place", range(0, HEADER_BYTES, 9))
def test_a_flipped_bit_in_the_header_is_seen_at_once(tmp_path: Path, values: np.ndarray, place: int) -> None:
    sums = written(tmp_path, values)._sums
    flip(tmp_path / "rows.npy", place)
    with pytest.raises(ValueError, match=r"rows\.npy is not as it was written"):
        StoredRows(tmp_path / "rows.npy", values.shape, sums)


def flip(file: Path, place: int) -> None:
    """Change one bit where the file lies."""
    with file.open("r+b") as opened:
        opened.seek(place)
        (byte,) = opened.read(1)
        opened.seek(place)
        opened.write(bytes([byte ^ 1]))


@pytest.mark.parametrize("read_before", [False, True])
def test_a_flipped_bit_is_seen_when_its_row_is_read(tmp_path: Path, values: np.ndarray, read_before: bool) -> None:
    rows = written(tmp_path, values)
    if read_before:
        assert (rows[:] == values).all()
        os.utime(rows.path, (0, 0))  # so that the write below changes its time, however fast this is
        assert (rows[:] == values).all()
    flip(rows.path, HEADER_BYTES + 12 * 60 + 5)
    assert (rows[[*range(12), *range(13, ROWS)]] == np.delete(values, 12, 0)).all()
    assert not (tmp_path / DAMAGE_NOTE).exists()
    for _ in range(2):
        with pytest.raises(DamagedCacheError, match=r"row 12 of rows\.npy changed after writing\); .*delete") as caught:
            rows.read(np.array([3, 12, 12]))
        assert "\n" not in str(caught.value)
        assert str(tmp_path) in str(caught.value)
    assert (tmp_path / DAMAGE_NOTE).read_text() == "row 12 of rows.npy changed after writing"


def test_rows_beyond_the_end_of_a_file_that_was_cut_are_missing(tmp_path: Path, values: np.ndarray) -> None:
    mapped = np.arange(ROWS) >= 20
    values[~mapped] = 0
    rows = written(tmp_path, values, mapped)
    os.truncate(rows.path, HEADER_BYTES + 10 * 60 + 30)
    assert (rows[:30] == values[:30]).all()
    for index in (slice(None), 30, [39, 2]):
        with pytest.raises(DamagedCacheError, match=r"row \d+ of rows\.npy is missing"):
            rows[index]


def test_a_deleted_file_is_read_on_and_what_took_its_place_is_not_blamed(tmp_path: Path, values: np.ndarray) -> None:
    rows = written(tmp_path, values)
    flip(rows.path, HEADER_BYTES + 1)
    rows.path.unlink()
    written(tmp_path, values)
    assert (rows[1:] == values[1:]).all()
    with pytest.raises(DamagedCacheError):
        rows[0]
    assert not (tmp_path / DAMAGE_NOTE).exists()
