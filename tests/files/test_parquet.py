"""Parquet files of anybody: what they may be is said once, and looked at before their content is read."""

from __future__ import annotations

import dataclasses
import io
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from divsal_bench.files import parquet
from divsal_bench.files.foreign import RefusedError

pytestmark = pytest.mark.fast

FORM = parquet.Form({"name": parquet.TEXT_TYPES, "size": ("int64",)}, lambda rows, size: 10_000 + 100 * rows)
ROWS = {"name": ["a", "b", "c"], "size": [1, 2, None]}


def written(columns: dict[str, object], **options: object) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, **options)
    return sink.getvalue()


def test_a_file_and_its_bytes_are_read_alike(tmp_path: Path) -> None:
    content = written({"more": [0, 0, 0], "size": ROWS["size"], "name": ROWS["name"]})
    (tmp_path / "x.parquet").write_bytes(content)
    for source in (content, tmp_path / "x.parquet"):
        assert parquet.read_table(source, FORM).to_pydict() == ROWS


def test_types_stay_as_the_file_has_them() -> None:
    large = written({"name": pa.array(ROWS["name"], pa.large_string()), "size": ROWS["size"]})
    assert [str(one) for one in parquet.read_table(large, FORM).schema.types] == ["large_string", "int64"]


BAD = {
    "no column": (written({"name": ["a"]}), {}, "has no column 'size'"),
    "another type": (written(ROWS | {"size": [0.5] * 3}), {}, "column 'size' holds double, int64 belongs there"),
    "more columns": (written(ROWS | {"more": [0] * 3}), {"alone": True}, "has other columns or types than it should"),
    "other rows": (written(ROWS), {"rows": 2}, "has 3 rows, 2 belong there"),
    "empty cells": (written(ROWS), {"filled": ["size"]}, "column 'size' has empty cells"),
    "a long text": (written(ROWS | {"name": ["é" * 9] * 3}), {"longest_text": 17}, "has a name of 18 bytes, 17 are"),
    "texts in all": (written(ROWS | {"name": ["x" * 9_000] * 3}), {}, "its texts take 27,000 bytes, 10,252 are"),
    "pages in all": (written(ROWS | {"name": ["x" * 5_000] * 3}, use_dictionary=False), {},
                     "unpacks to .* bytes, 10,300 are allowed"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_has_another_form_is_refused(case: str) -> None:
    content, changes, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        parquet.read_table(content, dataclasses.replace(FORM, **changes))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x")
    with pytest.raises(RefusedError, match="is not a regular file"):
        parquet.read_table(tmp_path / "x", FORM)
