"""The cache of decoded data: what is damaged is never used, what is missing is made once, and no disk is filled."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from delivered import Delivered

from divsal_bench.contracts.task import Task
from divsal_bench.data import arrays, canonical, catalogue, decoding, room
from divsal_bench.data.array_files import store_arrays
from divsal_bench.data.arrays import DataArrays, load_arrays, load_rows, open_cached
from divsal_bench.data.fingerprint import bytes_digest
from divsal_bench.data.prepare import prepare_data_set
from divsal_bench.data.room import Room, Shape
from divsal_bench.errors import UserError
from divsal_bench.tasks.adapters.manifest_csv import ADAPTER

LARGE, SMALL = ("images.npy", "maps.npy"), ("sums.npy", "rows.parquet", "meta.json")
DAMAGED = r"the cached data in .* cannot be read .*; give the command again to decode it anew, or delete that folder"

#: Decodes the data of the home that is set, and stops at the fourth row until a file is there.
DECODE = """
import sys, time
from pathlib import Path
from small_task import small_task
from divsal_bench.data import catalogue
from divsal_bench.data.arrays import load_arrays

def hold(done, total):
    if done == 4:
        print("holding", flush=True)
        while not Path(sys.argv[1]).exists():
            time.sleep(0.01)

task = small_task()
found = load_arrays(task, catalogue.resolve(task, None), 8, hold, lambda text: print(text, flush=True))
print(found.images[:].sum(), flush=True)
"""


@pytest.fixture
def load(task: Task, ready: Path) -> Callable[[], DataArrays]:
    return lambda: load_arrays(task, catalogue.resolve(task, None), 8)


def pixels(data: DataArrays) -> tuple[np.ndarray, np.ndarray]:
    return data.images[:], data.maps[:]


def other_process(release: Path) -> subprocess.Popen[str]:
    """Another process that decodes the same data."""
    builders = Path(__file__).parents[1] / "builders"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(builders), os.environ.get("PYTHONPATH", "")])}
    return subprocess.Popen(
        [sys.executable, "-c", DECODE, str(release)], stdout=subprocess.PIPE, text=True, env=environment
    )


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize("channels", [1, 3])
def test_the_pixel_hash_is_that_of_all_rows_whatever_is_stored(task: Task, ready: Path, channels: Any) -> None:
    """As it was when maps of zeros were stored: records of that time name it."""
    task = SimpleNamespace(**{**vars(task), "channels": channels})  # type: ignore[assignment]
    data = load_arrays(task, catalogue.resolve(task, None), 8)
    parts = [hashlib.sha256(part.tobytes()).hexdigest() for part in pixels(data)]
    assert data.pixel_hash == bytes_digest("".join(parts).encode())
    mapped = int(data.rows["has_map"].sum())
    assert 0 < mapped < len(data.rows)
    assert len(np.load(data.path / "maps.npy")) == mapped
    assert data.shape == Shape(16, mapped, channels, 8)
    assert data.shape.bytes == sum(np.load(data.path / name).nbytes for name in LARGE)


@pytest.mark.parametrize("name", [*LARGE, *SMALL])
@pytest.mark.parametrize("how", ["cut", "deleted", "longer", "empty"])
def test_a_cache_with_a_damaged_file_is_made_again(load: Callable[[], DataArrays], name: str, how: str) -> None:
    first = load()
    expected, file = pixels(first), first.path / name
    content = file.read_bytes()
    file.unlink()
    if how != "deleted":
        file.write_bytes({"cut": content[:-7], "longer": content + b" ", "empty": b""}[how])
    # A space behind JSON says nothing else.
    if (name, how) != ("meta.json", "longer"):
        with pytest.raises(UserError, match=DAMAGED) as caught:
            open_cached(first.path)
        assert "\n" not in str(caught.value)
    again = load()
    assert all((one == other).all() for one, other in zip(pixels(again), expected, strict=True))
    assert again.pixel_hash == first.pixel_hash


@pytest.mark.parametrize("place", ["header", "first value", "last value"])
@pytest.mark.parametrize("name", [*LARGE, *SMALL])
def test_a_flipped_bit_in_the_cache_is_never_read(load: Callable[[], DataArrays], name: str, place: str) -> None:
    first = load()
    expected, rows, file = pixels(first), first.rows, first.path / name
    content, before = bytearray(file.read_bytes()), file.stat()
    content[{"first value": len(content) // 2, "last value": -9, "header": 10}[place]] ^= 1
    file.write_bytes(content)
    with pytest.raises(UserError, match=DAMAGED) as caught:
        pixels(open_cached(first.path))
    assert "\n" not in str(caught.value)
    again = load()
    assert all((one == other).all() for one, other in zip(pixels(again), expected, strict=True))
    assert again.rows.equals(rows)
    assert again.pixel_hash == first.pixel_hash
    assert file.stat().st_ino != before.st_ino


@pytest.mark.parametrize("name", ["images.npy", "maps.npy", *SMALL, "damaged"])
def test_a_pipe_in_the_cache_is_not_waited_for(load: Callable[[], DataArrays], name: str) -> None:
    data = load()
    expected = pixels(data)
    (data.path / name).unlink(missing_ok=True)
    os.mkfifo(data.path / name)
    for found, wanted in zip(pixels(load()), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_a_cache_that_was_put_in_the_place_of_another_is_not_used(task: Task, ready: Path) -> None:
    source = catalogue.resolve(task, None)
    small, large = load_arrays(task, source, 8), load_arrays(task, source, 9)
    expected = small.images[:]
    shutil.rmtree(small.path)
    shutil.copytree(large.path, small.path)
    with pytest.raises(UserError, match="it holds other data"):
        open_cached(small.path)
    np.testing.assert_array_equal(load_arrays(task, source, 8).images[:], expected)


def test_one_command_sees_the_damage_and_the_next_one_mends_it(
    load: Callable[[], DataArrays], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load()
    expected = pixels(first)
    with (first.path / "images.npy").open("r+b") as file:
        file.seek(-3, os.SEEK_END)
        file.write(b"\0\1\2")
    second = load()  # nothing is wrong with what opening looks at
    with pytest.raises(UserError, match=DAMAGED):
        second.images[:]
    with pytest.raises(UserError, match=r"row 15 of images\.npy changed after writing"):
        open_cached(first.path)
    third = load()
    assert all((one == other).all() for one, other in zip(pixels(third), expected, strict=True))
    # Who still has the old one open can read on what is whole there, and is told again what is not.
    assert (second.images[:15] == expected[0][:15]).all()
    with pytest.raises(UserError, match=DAMAGED):
        second.images[15]
    assert (pixels(load())[0] == expected[0]).all()
    assert load().path == third.path


def test_a_cache_that_is_deleted_is_read_on(load: Callable[[], DataArrays]) -> None:
    data = load()
    expected = pixels(load())
    shutil.rmtree(data.path)
    assert all((one == other).all() for one, other in zip(pixels(data), expected, strict=True))


def test_the_second_process_waits_for_the_first_and_says_so(
    load: Callable[[], DataArrays], tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = other_process(tmp_path / "release"), None
    try:
        assert line_of(first) == "holding"
        second = other_process(tmp_path / "never")
        assert "another process is decoding the same data" in line_of(second)
        (tmp_path / "release").touch()
        total = line_of(first)
        # It has not decoded a row itself, or it would hold.
        assert line_of(second) == total
        assert first.wait() == second.wait() == 0
    finally:
        for process in filter(None, (first, second)):
            process.kill()
            process.wait()
    assert list((home / "cache").iterdir()) == [load().path]


def test_a_process_that_dies_while_it_decodes_holds_nobody_up(
    load: Callable[[], DataArrays], tmp_path: Path, home: Path
) -> None:
    first = other_process(tmp_path / "never")
    assert line_of(first) == "holding"
    second = other_process(tmp_path / "release")
    try:
        assert "another process" in line_of(second)
        first.send_signal(signal.SIGKILL)
        first.wait()
        assert line_of(second) == "holding"
        (tmp_path / "release").touch()
        assert line_of(second).isdigit()
        assert second.wait() == 0
    finally:
        second.kill()
        second.wait()
    assert list((home / "cache").iterdir()) == [load().path]


def test_where_there_are_no_locks_both_decode_and_both_are_right(
    task: Task, ready: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, other = catalogue.resolve(task, None), []
    monkeypatch.setattr("divsal_bench.files.locks.fcntl", None)

    def at_half(done: int, total: int) -> None:
        if done == 8 and not other:
            other.append(load_arrays(task, source, 8))

    data = load_arrays(task, source, 8, at_half)
    assert data.path == other[0].path
    assert [path for path in (home / "cache").iterdir() if path.suffix != ".lock"] == [data.path]


def disk(monkeypatch: pytest.MonkeyPatch, *free: int) -> list[int]:
    """A disk with so many bytes free, at one look after another; the last stays."""
    left = list(free)

    def usage(path: Path) -> SimpleNamespace:
        return SimpleNamespace(free=left.pop(0) if len(left) > 1 else left[0])

    monkeypatch.setattr(room.shutil, "disk_usage", usage)
    return left


def test_what_does_not_fit_is_not_begun(task: Task, ready: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = catalogue.resolve(task, None)
    assert source.info is not None
    mapped = sum(count.maps for count in source.info.counts)
    needed = Shape(16, mapped, 1, 100).bytes
    disk(monkeypatch, needed)
    monkeypatch.setattr(decoding, "decode_image", lambda *_: pytest.fail("decoded"))
    with pytest.raises(UserError, match=r"16 images and 4 maps at 100 px take 0\.2 MB, and .* has room for 0\.2 MB"):
        load_arrays(task, source, 100)
    assert not (home / "cache").exists()


def test_ten_percent_stay_free_and_a_gigabyte_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for free, holds in ((1000, 900), (10**12, 10**12 - 2**30)):
        disk(monkeypatch, free)
        Room(tmp_path / "x").require(Shape(holds, 0, 1, 1))
        with pytest.raises(UserError, match="free some space or set DIVSAL_BENCH_HOME to a folder with room"):
            Room(tmp_path / "x").require(Shape(holds + 1, 0, 1, 1))


def test_decoding_stops_before_a_disk_is_full_that_others_fill(
    task: Task, ready: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "LOOK_EVERY", 200)
    disk(monkeypatch, 10**6, 10**6, 10**5 + 1, 10**5 - 1)
    done: list[int] = []
    with pytest.raises(UserError, match=r"before the disk of .* is full: 0\.1 MB are free, and 0\.1 MB stay") as caught:
        load_arrays(task, catalogue.resolve(task, None), 8, lambda *numbers: done.append(numbers[0]))
    assert "\n" not in str(caught.value)
    assert 0 < len(done) < 16
    assert not (home / "cache").exists()


def test_a_home_that_cannot_be_written_is_one_line(task: Task, ready: Path, home: Path) -> None:
    (home / "cache").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*cache.*set DIVSAL_BENCH_HOME"):
        load_arrays(task, catalogue.resolve(task, None), 8)


def test_rows_are_known_without_a_picture(
    task: Task, delivered: Delivered, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blank = next(row for row in delivered.rows if row["saliency"])
    delivered.file(blank["saliency"]).write_bytes(delivered.mask(value=255, fill=255))
    prepare_data_set(task, ADAPTER, delivered.save(), home / "data" / "cxr")
    source, decode = catalogue.resolve(task, None), decoding.decode_image
    monkeypatch.setattr(decoding, "decode_image", lambda *_: pytest.fail("decoded"))
    known = load_rows(task, source, 8)
    assert not known.decoded
    assert not (home / "cache").exists()
    monkeypatch.setattr(decoding, "decode_image", decode)
    data = load_arrays(task, source, 8)
    assert (known.path, known.fingerprint, known.pixel_hash) == (data.path, data.fingerprint, "")
    columns = list(canonical.COLUMNS)
    assert list(known.rows.columns) == columns
    assert known.rows[columns[:-1]].equals(data.rows[columns[:-1]])
    assert known.rows.dtypes.equals(data.rows.dtypes)
    with_file = known.rows["has_map"] & ~data.rows["has_map"]
    assert known.rows.loc[with_file, "sample_id"].tolist() == [blank["image"]]
    assert known.shape == data.shape  # what a data set says of itself knows of blank maps
    found = load_rows(task, source, 8)
    assert isinstance(found, DataArrays)
    assert found.decoded


def test_a_file_that_says_how_many_maps_it_has_is_not_believed(
    task: Task, ready: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = catalogue.resolve(task, None)
    assert source.info is not None
    shape = arrays._shape(task, source.info, 8)
    assert (shape.rows, shape.maps) == (16, 4)
    monkeypatch.setattr(arrays, "_shape", lambda *_: Shape(16, 0, 1, 8))
    data = load_arrays(task, source, 8)
    assert data.shape.maps == 4
    assert data.maps[:].any(axis=(1, 2)).sum() == 4


def test_a_picture_of_another_form_is_refused(tmp_path: Path) -> None:
    for image in (np.zeros((1, 4, 5), np.uint8), np.zeros((1, 4, 4), np.float32)):
        with pytest.raises(UserError, match=r"a picture is .*, where uint8 \(1, 4, 4\) belongs"):
            store_arrays(tmp_path / "made", iter([(image, None)]), Shape(1, 0, 1, 4), lambda _: ([], {}), None)
    assert not list(tmp_path.iterdir())
