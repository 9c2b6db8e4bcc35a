"""Prepared data that may be anybody's: what unpacks to more than images can is refused before it takes memory."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from divsal_bench.data import canonical
from divsal_bench.data.canonical import canonical_features, parse_info
from divsal_bench.data.check import check_data_set
from divsal_bench.errors import UserError

SCHEMA = canonical_features(("normal", "abnormal")).arrow_schema
TRAIN = "data/train-00000-of-00001.parquet"
#: Megabytes of address space beyond what Python and its libraries take; the bombs ask for far more.
ROOM = 900


def parquet(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, store_schema=False, **options)
    return sink.getvalue()


def rows(count: int, **columns: pa.Array) -> pa.Table:
    """Rows of one small image, with columns of one's choice instead."""
    image = {"bytes": b"\x89PNG" + b"0" * 60, "path": None}
    plain: dict[str, Any] = {
        "image": image, "label": 0, "saliency": None, "saliency_kind": "none", "source": "a", "category": "",
        "subject": "p",
    }  # fmt: skip
    one = pa.Table.from_pylist([{"sample_id": "s", **plain}], schema=SCHEMA)
    zeros = pa.array([0] * count, pa.int32())
    found = {name: one[name].combine_chunks().take(zeros) for name in SCHEMA.names}
    return pa.table({**found, "sample_id": pa.array([f"s{number}" for number in range(count)]), **columns})


def shared(value: bytes | str, count: int) -> pa.DictionaryArray:
    """One value in memory and in the file, whatever the number of rows."""
    return pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), pa.array([value]))


def pictures(value: bytes, count: int) -> pa.StructArray:
    return pa.StructArray.from_arrays([shared(value, count), pa.nulls(count, pa.string())], ["bytes", "path"])


def lying(data: bytes) -> bytes:
    """The same file, whose header says that its rows take almost nothing."""
    with pq.ParquetFile(io.BytesIO(data)) as file:
        size = file.metadata.row_group(0).total_byte_size
    number, zigzag = b"", size * 2
    while zigzag:
        number += bytes([zigzag % 128 | (128 if zigzag >= 128 else 0)])
        zigzag //= 128
    at = data.rindex(number)
    return data[:at] + b"\x82" + b"\x80" * (len(number) - 2) + b"\0" + data[at + len(number) :]


MB = 10**6
BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "an image of zeros": (
        lambda: parquet(rows(1, image=pictures(bytes(300 * MB), 1)), compression="zstd"),
        "it unpacks to 300,.* bytes, .* are allowed",
    ),
    "an image of zeros, denied": (
        lambda: lying(parquet(rows(1, image=pictures(bytes(100 * MB), 1)), compression="zstd", use_dictionary=False)),
        "its rows unpack to more than",
    ),
    "one image for many rows": (
        lambda: parquet(rows(900, image=pictures(bytes(8 * MB), 900)), compression="snappy"),
        "its rows unpack to more than",
    ),
    "one image for many rows, denied": (
        lambda: lying(parquet(rows(900, image=pictures(bytes(4 * MB), 900)), compression="zstd")),
        "its rows unpack to more than",
    ),
    "one map for many rows": (
        lambda: parquet(rows(900, saliency=pictures(bytes(8 * MB), 900)), compression="snappy"),
        "its rows unpack to more than",
    ),
    "one subject for many rows": (
        lambda: parquet(rows(900, subject=shared("x" * 8 * MB, 900)), compression="snappy"),
        "its rows unpack to more than",
    ),
    "one source for many rows": (
        lambda: parquet(rows(900, source=shared("x" * MB, 900)), compression="zstd"),
        "its rows unpack to more than",
    ),
    "a million rows": (
        lambda: parquet(rows(1_000_000, sample_id=shared("", 1_000_000), image=pictures(b"", 1_000_000))),
        "it has 1,000,000 rows in .* bytes",
    ),
}  # fmt: skip

CHECK = """
import resource, sys
from divsal_bench.data.check import check_data_set
import datasets, pandas, pyarrow.parquet, divsal_bench.scores.conditions, PIL.Image
from divsal_bench.data.canonical import canonical_features
canonical_features(("a", "b")).arrow_schema
size = int(next(line for line in open("/proc/self/status") if line.startswith("VmSize")).split()[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (size + int(sys.argv[2]) * 2**20,) * 2)
print("\\n".join(check_data_set(sys.argv[1]).problems))
"""


def with_train(folder: Path, data: bytes) -> Path:
    """A prepared set whose training file is another, of the size that divsal.json says."""
    (folder / TRAIN).write_bytes(data)
    info = json.loads((folder / "divsal.json").read_text())
    info["files"][TRAIN] = len(data)
    (folder / "divsal.json").write_text(json.dumps(info))
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="limits a process's memory")
@pytest.mark.parametrize("kind", BOMBS)
def test_a_small_file_that_unpacks_to_much_is_one_line_and_little_memory(ready: Path, kind: str) -> None:
    make, message = BOMBS[kind]
    data = make()
    assert len(data) < 2 * MB
    with_train(ready, data)
    done = subprocess.run(
        [sys.executable, "-c", CHECK, str(ready), str(ROOM)],
        capture_output=True, text=True, check=False, env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    with pytest.raises(UserError, match=message):
        list(canonical.read_shard(ready / TRAIN, parse_info(ready / "divsal.json")))
    assert "is damaged" in done.stdout.splitlines()[0]


def change(**values: Any) -> Callable[[str], str]:
    return lambda text: json.dumps(json.loads(text) | values)


COUNT = {"split": "train", "source": "a", "negatives": 1, "positives": 1, "maps": 0}
BAD_INFO: dict[str, tuple[Callable[[str], str], str]] = {
    "nothing": (lambda text: "", "cannot be read"),
    "a list": (lambda text: "[]", "cannot be read"),
    "a number": (lambda text: "3", "cannot be read"),
    "deep lists": (lambda text: "[" * 100_000, "nested too deeply"),
    "deep objects": (lambda text: '{"a":' * 100_000, "nested too deeply"),
    "deep notices": (lambda text: text.replace('"notices": []', '"notices": ' + "[" * 5000 + "]" * 5000), "cannot"),
    "megabytes": (lambda text: text + " " * 2**24, "has more than 16,777,216 bytes"),
    "a number of many digits": (lambda text: text.replace('"negatives": 2', '"negatives": ' + "9" * 9999), "cannot"),
    "rows without end": (change(counts=[COUNT | {"negatives": 10**15}]), "it counts 1,000,000,000,000,001 rows"),
    "fewer rows than none": (change(counts=[COUNT | {"negatives": -5}]), "it counts -4 rows"),
    "parts without end": (change(counts=[COUNT] * 20_001), "in 20,001 parts"),
    "no classes": (change(class_names=[]), "cannot be read"),
    "a version that is no number": (change(schema_version="9"), "cannot be read"),
    "no JSON number": (lambda text: text.replace("1", "NaN", 1), "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD_INFO)
def test_a_description_beyond_reason_is_one_short_line(ready: Path, kind: str) -> None:
    make, message = BAD_INFO[kind]
    file = ready / "divsal.json"
    text = file.read_text()
    file.write_text(make(text))
    assert file.read_text() != text
    for read in (lambda: parse_info(file), lambda: check_data_set(ready)):
        with pytest.raises(UserError, match=message) as caught:
            read()
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 600


@pytest.mark.parametrize("name", ["divsal.json", TRAIN])
def test_a_pipe_in_prepared_data_is_not_waited_for(ready: Path, name: str) -> None:
    (ready / name).unlink()
    os.mkfifo(ready / name)
    if name == "divsal.json":
        with pytest.raises(UserError, match="is not a prepared data set"):
            check_data_set(ready)
        with pytest.raises(UserError, match="is not a regular file"):
            parse_info(ready / name)
    else:
        assert f"{TRAIN} is missing" in check_data_set(ready).problems
        with pytest.raises(UserError, match="is not a regular file"):
            list(canonical.read_shard(ready / name, parse_info(ready / "divsal.json")))


def test_a_folder_whose_name_is_no_text_is_one_line(ready: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from divsal_bench import cli

    place = os.fsdecode(os.fsencode(ready.parent) + b"/caf\xe9")
    ready.rename(place)
    assert cli.main(["data", "check", place]) == 0
    assert cli.main(["data", "list"]) == 0
    assert cli.main(["run", "--task", "cxr", "--data", place, "--plan"]) == 2
    said = capsys.readouterr()
    assert "caf?" in said.out
    assert "rename its folder" in said.err
    (said.out + said.err).encode()


@pytest.mark.parametrize("names", [["a", "a"], ["", ""], ["", "a"], ["a" * 5000, "b"]])
def test_classes_without_two_names_are_refused_in_one_line(ready, names):
    file = ready / canonical.INFO_FILE
    file.write_text(json.dumps({**json.loads(file.read_text()), "class_names": names}))
    with pytest.raises(UserError, match="cannot be read \\(its classes have no two names\\)"):
        check_data_set(ready)


@pytest.mark.parametrize("counts", [[], [{"split": "train", "source": "a", "negatives": 5, "positives": 7, "maps": 0}]])
def test_counts_that_are_not_those_of_the_rows_are_a_problem(ready, counts):
    file = ready / canonical.INFO_FILE
    file.write_text(json.dumps({**json.loads(file.read_text()), "counts": counts}))
    assert check_data_set(ready).problems == (
        "divsal.json counts other rows per split and source than there are; prepare the data again",
    )
