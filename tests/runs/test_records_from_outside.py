"""Runs that came from elsewhere: what is beyond reason or cannot be printed is one line, not a traceback."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from unsealed import unsealed

from divsal_bench.errors import UserError
from divsal_bench.files import texts
from divsal_bench.grid import planning, work
from divsal_bench.hub import names
from divsal_bench.registry import method_choice, protocols
from divsal_bench.runs import prediction_table, room
from divsal_bench.runs.reading import Run, read_run
from divsal_bench.runs.records import Record, Spec

TINY = dataclasses.replace(
    protocols.find_protocol("quick-v1"),
    epochs=1,
    input_size=32,
    backbone_args={"channels": [4, 4, 8, 8], "stem_width": 4},
)
#: Whatever is wrong: for what was written here, and for what was pulled.
ADVICE = "run again, or get it again from where it came"
ESCAPE, RIGHT_TO_LEFT, HALF = "\x1b[2J", "\u202e", "\ud800"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A real, tiny run."""
    methods = tuple(method_choice.choose_methods("cross-entropy"))
    asked = planning.Grid(("cxr",), methods, (0,), tmp_path_factory.mktemp("runs"), TINY, data="standin")
    (job,) = planning.plan(asked)[0].jobs
    return read_run(work.execute(job))


@pytest.fixture
def run(made: Run, tmp_path: Path) -> Run:
    """A copy of one's own, whose files may be edited."""
    return read_run(unsealed(Path(shutil.copytree(made.path, tmp_path / "run"))))


def refusal(read: Callable[[], object], path: Path) -> str:
    """What a reader says: one line that can be printed anywhere, and names the file and the remedy."""
    with pytest.raises(UserError) as caught:
        read()
    said = str(caught.value)
    assert str(path) in said
    assert ADVICE in said
    assert said.isprintable()
    assert len(said) < 1000
    return said


def test_predictions_are_those_that_pandas_reads(run: Run) -> None:
    file = run.path / "predictions.parquet"
    expected = pd.read_parquet(file)
    assert tuple(expected.columns) == prediction_table.PREDICTIONS
    for codec in ("snappy", "zstd"):
        expected.to_parquet(file, index=False, compression=codec)  # type: ignore[call-overload]
        found = run.predictions()
        pd.testing.assert_frame_equal(found, expected, check_exact=True, check_column_type="exact")
        assert repr(found.dtypes) == repr(expected.dtypes)
        assert type(found.index) is type(expected.index)
    pq.write_table(pa.Table.from_pandas(expected, preserve_index=False).slice(0, 0), file)
    assert len(run.predictions()) == 0


def test_an_index_and_further_columns_are_passed_by(run: Run) -> None:
    table = run.predictions()
    table[::-1].assign(more=1).to_parquet(run.path / "predictions.parquet")
    pd.testing.assert_frame_equal(run.predictions(), table[::-1].reset_index(drop=True))


def parquet(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def with_column(table: pa.Table, name: str, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)


def with_bytes(table: pa.Table, name: str, text: bytes) -> pa.Table:
    """Bytes where text belongs, without asking whether they are any."""
    raw = pa.array([text] * len(table), pa.binary())
    return with_column(table, name, pa.Array.from_buffers(pa.string(), len(table), raw.buffers()))


def shared(text: str, rows: int) -> pa.DictionaryArray:
    """One text in memory and in the file, whatever the number of rows."""
    return pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), [text])


def many(table: pa.Table, rows: int, **constants: str) -> pa.Table:
    """One row, a million times."""
    indices = pa.array([0] * rows, pa.int32())
    columns = {name: table[name].combine_chunks().take(indices) for name in table.column_names}
    for name, text in constants.items():
        columns[name] = shared(text, rows)
    return pa.table(columns)


def with_metadata(table: pa.Table, text: bytes) -> bytes:
    return parquet(table.replace_schema_metadata({b"pandas": text}))


BAD_PREDICTIONS: dict[str, tuple[Callable[[pa.Table], bytes], str]] = {
    "nothing": (lambda t: b"", "cannot be read"),
    "no Parquet": (lambda t: b"PAR1" * 9, "cannot be read"),
    "cut off": (lambda t: parquet(t)[:-9], "cannot be read"),
    "damaged pages": (lambda t: b"PAR1" + b"\xff" * 5000 + parquet(t)[5004:], "cannot be read"),
    "text in logit0": (
        lambda t: parquet(with_column(t, "logit0", pa.array(["1"] * len(t)))),
        "column 'logit0' holds string, double belongs there",
    ),
    "numbers in sample_id": (lambda t: parquet(with_column(t, "sample_id", t["label"])), "'sample_id' holds int64"),
    "lists in logit1": (lambda t: parquet(with_column(t, "logit1", pa.array([[1.0]] * len(t)))), "'logit1' holds"),
    "ids that are no text": (lambda t: parquet(with_bytes(t, "sample_id", b"\xff\xfe")), "(?i)utf-?8"),
    "no logit1": (lambda t: parquet(t.drop_columns(["logit1"])), "it has no column 'logit1'"),
    "a column twice": (lambda t: parquet(t.append_column("label", t["label"])), "more than one column 'label'"),
    "empty ids": (
        lambda t: parquet(with_column(t, "sample_id", pa.nulls(len(t), pa.string()))),
        "'sample_id' has empty cells",
    ),
    "empty labels": (lambda t: parquet(with_column(t, "label", pa.nulls(len(t), pa.int64()))), "has empty cells"),
    "a long text that all rows share": (
        lambda t: parquet(with_column(t, "condition", shared("x" * 20_000, len(t))), store_schema=False),
        r"its texts take \d+,\d+,\d+ bytes, .* are allowed",
    ),
    "zeros that unpack": (
        lambda t: parquet(many(t, 10, condition="x" * 9_000_000), compression="zstd", store_schema=False),
        r"it unpacks to .* bytes, .* are allowed",
    ),
    "one row a million times": (lambda t: parquet(many(t, 1_000_000)), r"it unpacks to .* bytes, .* are allowed"),
    "too many rows": (
        lambda t: parquet(many(t, 2_000_001)),
        "2,000,001 rows, 2,000,000 are allowed",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD_PREDICTIONS)
def test_bad_predictions_are_one_line(run: Run, kind: str) -> None:
    change, message = BAD_PREDICTIONS[kind]
    file = run.path / "predictions.parquet"
    file.write_bytes(change(pq.read_table(file)))
    before = pa.default_memory_pool().bytes_allocated()
    with pytest.raises(UserError, match=message):
        run.predictions()
    refusal(run.predictions, file)
    assert pa.default_memory_pool().bytes_allocated() - before < 2**20


def test_what_pandas_noted_in_the_file_is_passed_by(run: Run) -> None:
    file = run.path / "predictions.parquet"
    table, expected = pq.read_table(file), run.predictions()
    for text in (b"", b"{", b"\xff", b"[]", b'{"index_columns": ["nobody"], "columns": [{}]}'):
        file.write_bytes(with_metadata(table, text))
        pd.testing.assert_frame_equal(run.predictions(), expected)


def rewrite(run: Run, change: Callable[[dict[str, Any]], object]) -> None:
    """Change run.json; a forger can hash, too."""
    path = run.path / "run.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def long(text: str) -> str:
    return text * 10_000


BAD_TEXTS: dict[str, Callable[[dict[str, Any], str], object]] = {
    "method_label": lambda c, text: c.update(method_label=text),
    "run_id": lambda c, text: c.update(run_id=text),
    "error": lambda c, text: c.update(error=text),
    "notices": lambda c, text: c.update(notices=["fine", text]),
    "versions": lambda c, text: c.update(versions={"torch": text}),
    "a name in versions": lambda c, text: c.update(versions={text: "2"}),
    "spec": lambda c, text: c["spec"].update(data=text),
    "data": lambda c, text: c["data"].update(revision=text),
    "scores": lambda c, text: c["scores"]["conditions"][0].update(name=text),
    "a name": lambda c, text: c.update({text: 1}),
    "model_args": lambda c, text: c.update(model_args={"a": [{"b": [text]}]}),
}


@pytest.mark.parametrize("text", [ESCAPE, "\x9b2J", "\0", "\x7f", RIGHT_TO_LEFT, "\u2066", HALF, "\r"], ids=ascii)
@pytest.mark.parametrize("field", BAD_TEXTS)
def test_text_that_a_terminal_would_obey_is_refused(run: Run, field: str, text: str) -> None:
    rewrite(run, lambda content: BAD_TEXTS[field](content, f"a{text}b"))
    said = refusal(lambda: read_run(run.path), run.path / "run.json")
    assert f"is damaged: field {field!r} has control characters".replace('"', "'") in said.replace('"', "'")


@pytest.mark.parametrize("field", BAD_TEXTS)
def test_text_beyond_reason_is_refused(run: Run, field: str) -> None:
    rewrite(run, lambda content: BAD_TEXTS[field](content, long("a")))
    said = refusal(lambda: read_run(run.path), run.path / "run.json")
    longest = {"error": "2,000", "notices": "8,000"}.get(field, "400")
    assert f"has a text of 10,000 characters, {longest} are allowed" in said


def test_only_messages_have_several_lines(run: Run) -> None:
    text = "Traceback:\n\tline\n"
    rewrite(run, lambda content: content.update(error=text, notices=[text], method_label="Größe 胸 🙂"))
    found = read_run(run.path).record
    assert (found.error, found.notices, found.method_label) == (text, [text], "Größe 胸 🙂")
    rewrite(run, lambda content: content.update(method_label=text))
    assert "'method_label' has control characters" in refusal(lambda: read_run(run.path), run.path)


def test_what_an_exception_quotes_never_makes_a_record_unreadable(made: Run, tmp_path: Path) -> None:
    text = f"Error:\n\t{ESCAPE}{RIGHT_TO_LEFT}{HALF}"
    content = made.record.model_dump() | {"status": "failed", "error": text, "notices": [text], "scores": None}
    (tmp_path / "run.json").write_text(json.dumps(Record(**content).model_dump(mode="json")))
    found = read_run(tmp_path).record
    assert found.error == found.notices[0] == "Error:\n\t?[2J??"


def test_long_messages_are_cut_before_they_are_written_and_never_refused_later(made: Run, tmp_path: Path) -> None:
    notices = ["first " + "n" * 9_000 + " last", *["again"] * 150]
    content = made.record.model_dump() | {"error": "why " + "e" * 5_000 + " where", "notices": notices}
    (tmp_path / "run.json").write_text(json.dumps(Record(**content).model_dump(mode="json")))
    found = read_run(tmp_path).record
    assert (len(found.error), len(found.notices), len(found.notices[0])) == (2_000, 100, 8_000)
    assert found.error.startswith("why e")
    assert found.error.endswith("e where")
    assert found.notices[0].startswith("first n")
    assert found.notices[0].endswith("n last")
    assert texts.shortened_middle("short", 5) == "short"


def test_a_name_of_data_that_no_record_can_hold_is_said_before_the_work(made: Run) -> None:
    with pytest.raises(UserError, match=r"the name of the data .* rename its folder"):
        Spec(**made.spec.model_dump() | {"data": f"a{ESCAPE}"})


NESTED = sys.getrecursionlimit() * 100
BAD_RECORDS: dict[str, tuple[Callable[[str], str], str]] = {
    "large": (lambda text: text + " " * 2**22, "cannot be read .has more than 4,194,304 bytes"),
    "lists in lists": (lambda text: "[" * NESTED + "]" * NESTED, "cannot be read .is nested too deeply"),
    "objects in objects": (lambda text: '{"a":' * NESTED + "1" + "}" * NESTED, "cannot be read .is nested too deeply"),
    "deep fields": (
        lambda text: text.replace('"fields": {}', '"fields": {"a": ' + "[" * 300 + "]" * 300 + "}"),
        "field 'spec' holds too much, or is nested too deeply",
    ),
    "as many values as fit": (
        lambda text: text.replace('"notices": []', '"notices": [' + "0, " * 1_000_000 + "0]"),
        "field 'notices' holds too much",
    ),
    "a number of many digits": (lambda text: text.replace('"seed": 0', '"seed": ' + "9" * 9999), "cannot be read"),
    **{
        f"{field} is {name}": (
            lambda text, field=field, number=number: re.sub(f'"{field}": [0-9.]+', f'"{field}": {number}', text),
            "has a number that none of ours can be",
        )
        for field in ("seed", "train", "epochs", "learning_rate", "seconds", "negatives")
        for name, number in (("of 400 digits", "9" * 400), ("NaN", "NaN"), ("infinite", "-1e999"))
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD_RECORDS)
def test_a_record_beyond_reason_is_one_line(run: Run, kind: str) -> None:
    change, message = BAD_RECORDS[kind]
    file = run.path / "run.json"
    text = file.read_text()
    file.write_text(change(text))
    assert file.read_text() != text
    with pytest.raises(UserError, match=message):
        read_run(run.path)
    refusal(lambda: read_run(run.path), file)


def test_errors_can_be_printed_whatever_they_quote() -> None:
    quoted = str(UserError(f"a\n\tb {ESCAPE}{RIGHT_TO_LEFT}\x9b\0{HALF} Größe 胸"))
    assert quoted == "a b ?[2J???? Größe 胸"
    quoted.encode()


def test_data_in_a_folder_called_like_a_stand_in_is_not_published_under_that_name(made: Run) -> None:
    assert names.data_name(made.record) == "standin"
    spec = made.spec.model_copy(update={"data": "standin"})
    facts = made.record.data.model_copy(update={"kind": "folder"})
    there = made.record.model_copy(update={"spec": spec, "data": facts})
    assert names.data_name(there) == made.spec.data_fingerprint[:8]


ROOM = {
    "many conditions": ({f"c{number}": {"x"} for number in range(1_300)}, {"a"}),
    "many sources": ({"c": {"x"}}, {f"s{number}" for number in range(12_000)}),
    "many categories in each of many conditions": (
        {f"c{number}": {f"x{k}" for k in range(300)} for number in range(300)}, {"a"},
    ),
    "long names": ({f"{number}" + "\U0001f642" * 300: {"x"} for number in range(200)}, {"a"}),
    "a name that is too long": ({"x" * 401: {"x"}}, {"a"}),
    "a name that acts": ({ESCAPE: {"x"}}, {"a"}),
}  # fmt: skip


@pytest.mark.parametrize("kind", ROOM)
def test_what_a_record_has_no_room_for_is_known_before_the_work(kind: str) -> None:
    conditions, sources = ROOM[kind]
    assert room.room_problem(conditions, sources)


@pytest.mark.parametrize("count", [1, 100, 1_000])
def test_what_it_has_room_for_can_be_read_back(made: Run, tmp_path: Path, count: int) -> None:
    """The largest record that the rule lets pass, with every field metric of every condition."""
    found = {f"condition {number}": {f"category {number % 7}"} for number in range(count)}
    sources = {f"source {number}" for number in range(count)}
    assert not room.room_problem(found, sources)
    scores = made.record.scores
    assert scores is not None
    one, field = scores.conditions[0], scores.field_metrics[0]
    changed = scores.model_copy(update={
        "conditions": [one.model_copy(update={"name": name}) for name in found],
        "field_metrics": [
            field.model_copy(update={"condition": name, "species": dict.fromkeys(species, 0.123456789)})
            for name, species in found.items() for _ in range(room.FIELD_METRICS)
        ],
    })  # fmt: skip
    terms = {name: dict.fromkeys(("images", "weights", "predictions"), "unknown") for name in sources}
    facts = made.record.data.model_copy(update={"terms": terms})
    noisy = ["\u80f8" * 9_000] * 200  # as long as notices can be
    record = Record(**made.record.model_dump() | {"scores": changed, "data": facts, "notices": noisy})
    (tmp_path / "run.json").write_text(json.dumps(record.model_dump(mode="json"), indent=1))
    assert read_run(tmp_path).record == record


def test_texts_of_predictions_that_pass_the_rule_can_be_read(run: Run) -> None:
    file, table = run.path / "predictions.parquet", run.predictions()
    rows = len(table)
    fixed = sum(len(text) for name in prediction_table.PREDICTION_TEXTS[1:] for text in table[name])
    left = room.text_room(rows) - fixed
    ids = [f"{number:0{left // rows}d}" for number in range(rows)]
    assert room.table_problem(rows, fixed + sum(map(len, ids))) == ""
    table.assign(sample_id=ids).to_parquet(file, index=False)
    assert list(run.predictions()["sample_id"]) == ids
    more = [text + "x" * 400 for text in ids]
    assert "bytes a row, about" in room.table_problem(rows, fixed + sum(map(len, more)))
    assert "more than a run holds" in room.table_problem(2_000_001, 0)
