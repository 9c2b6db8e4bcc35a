import dataclasses
import io
import json

import numpy as np
import pytest
from depths import encoded
from PIL import Image

from divsal_bench.contracts.adapter import SourceTerms
from divsal_bench.data import writer
from divsal_bench.data.canonical import Sample, read_info, read_samples
from divsal_bench.data.check import check_data_set
from divsal_bench.errors import UserError

pytestmark = pytest.mark.fast


@pytest.fixture
def changed(ready, tmp_path):
    """Write the small data set again with changed rows, past all checks of prepare."""
    info = read_info(ready)
    entries = list(read_samples(ready, info))

    def write(change, folder="changed"):
        rows = [row for row in map(change, entries) if row is not None]
        out = tmp_path / folder
        writer.write_data_set(
            out,
            sorted(rows, key=lambda row: (("train", "validation", "test").index(row.split), row.sample_id)),
            task="cxr",
            class_names=info.class_names,
            adapter="test",
            sources=info.sources,
        )
        return out

    return write


def only(name, **values):
    return lambda entry: dataclasses.replace(entry, **values) if entry.sample_id == name else entry


def test_a_good_set(ready):
    done = []
    report = check_data_set(ready, progress=lambda *numbers: done.append(numbers))
    assert report.ok
    assert report.problems == ()
    assert report.warnings == ()
    assert report.fingerprint == report.stored_fingerprint == read_info(ready).fingerprint
    assert report.counts == read_info(ready).counts
    assert report.categories == {"abnormal": {"train": 2, "validation": 2, "test": 4}}
    assert done[-1] == (16, 16)
    head, body = report.table()
    assert head == ["split", "source", "normal", "abnormal", "maps"]
    assert body == [
        ["train", "a", "2", "2", "2"],
        ["validation", "a", "2", "2", "2"],
        ["test", "a", "2", "2", "0"],
        ["test", "b", "2", "2", "0"],
    ]
    lines = report.lines()
    assert "validation  a            2         2     2" in lines
    assert "category abnormal: train 2, validation 2, test 4" in lines
    assert lines[-1] == "0 problems, 0 warnings"


def test_rows_say_which_conditions_there_are(ready):
    from divsal_bench.scores.conditions import conditions

    assert [c.name for c in conditions(check_data_set(ready).rows)] == ["in-domain", "b"]


PROBLEMS = {
    "no category for negatives": ({"category": "x"}, "'img/train-a-0.png': a normal row has category 'x'"),
    "subject twice": (
        {"subject": "person val-a-0"},
        "subject 'person val-a-0' is in validation, but in train too ('img/train-a-0.png')",
    ),
    "unreadable": ({"image": b"no"}, "the image of 'img/train-a-0.png' is not an image"),
    "no image": ({"image": b""}, "the image of 'img/train-a-0.png' is empty"),
    "kind without map": ({"saliency_kind": "mask"}, "saliency_kind is 'mask', but it has no map"),
    "unknown kind": ({"saliency_kind": "blob"}, "unknown saliency_kind 'blob'"),
    "empty source": ({"source": ""}, "'img/train-a-0.png': source is empty"),
    "empty subject": ({"subject": ""}, "'img/train-a-0.png': subject is empty"),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_problems_in_a_row(changed, name):
    values, message = PROBLEMS[name]
    report = check_data_set(changed(only("img/train-a-0.png", **values)))
    assert not report.ok
    (problem,) = report.problems
    assert message in problem
    assert f"problem: {problem}" in report.lines()


def test_map_problems(changed, delivered):
    out = changed(only("img/train-a-1.png", saliency=delivered.mask((10, 12))))
    assert "10 x 12 pixels, but its image is 12 x 10" in check_data_set(out).problems[0]
    out = changed(only("img/train-a-1.png", saliency=b"no"), "second")
    assert "the map of 'img/train-a-1.png' is not an image" in check_data_set(out).problems[0]
    out = changed(only("img/train-a-1.png", saliency_kind="none"), "third")
    assert "'none', but it has a map" in check_data_set(out).problems[0]


def test_images_in_two_splits_are_problems_and_in_one_a_warning(changed, delivered):
    copy = delivered.file("img/train-a-0.png").read_bytes()
    (problem,) = check_data_set(changed(only("img/test-a-0.png", image=copy))).problems
    assert problem == "'img/test-a-0.png' in test is the same image as 'img/train-a-0.png' in train"
    report = check_data_set(changed(only("img/train-a-2.png", image=copy), "second"))
    assert report.ok
    assert report.warnings == ("1 images are copies of another one in the same split",)


def again(data: bytes, kind: str = "TIFF", **save) -> bytes:
    sink = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image:
        image.save(sink, kind, **save)
    return sink.getvalue()


def test_a_picture_saved_again_is_a_copy(changed, delivered):
    copy = again(delivered.file("img/train-a-0.png").read_bytes())
    (problem,) = check_data_set(changed(only("img/test-a-0.png", image=copy))).problems
    assert problem == "'img/test-a-0.png' in test is the same image as 'img/train-a-0.png' in train"


def test_a_picture_with_both_labels_is_a_problem(changed, delivered):
    copy = delivered.file("img/train-a-0.png").read_bytes()
    (problem,) = check_data_set(changed(only("img/train-a-1.png", image=copy))).problems
    assert problem == "'img/train-a-1.png' in train is abnormal, its copy 'img/train-a-0.png' normal"


def test_a_picture_saved_with_loss_in_another_split_is_a_warning(changed, delivered):
    noise = np.random.default_rng(5).integers(0, 256, (12, 14), np.uint8)
    large = again(encoded(Image.fromarray(noise).resize((280, 240), Image.Resampling.BICUBIC)), "PNG")
    lossy = again(large, "JPEG", quality=60)

    def change(entry):
        entry = only("img/train-a-0.png", image=large)(entry)
        return only("img/test-a-0.png", image=lossy)(entry)

    report = check_data_set(changed(change))
    assert report.ok
    (warning,) = report.warnings
    assert warning.startswith("1 image looks like one of another split")
    assert warning.endswith("e.g. 'img/test-a-0.png' in test and 'img/train-a-0.png' in train")


def test_transparent_parts_are_a_warning(changed, delivered):
    pixels = np.dstack([np.full((10, 12), 80, np.uint8), np.tile(np.array([0, 255], np.uint8), (10, 6))])
    report = check_data_set(changed(only("img/train-a-0.png", image=encoded(pixels))))
    assert report.warnings == ("1 images have transparent parts; they are read over black",)


def test_grey_maps_that_a_run_would_read_as_nearly_empty(changed, delivered):
    faint = encoded(np.arange(120, dtype=np.uint16).reshape(10, 12) * 8)
    report = check_data_set(changed(lambda entry: dataclasses.replace(entry, saliency=entry.saliency and faint)))
    assert report.warnings == (
        "source a: its grey maps reach no more than 952 of 65535, so they are nearly empty in training; "
        "prepare the data again",
    )


def test_an_id_in_two_splits(changed):
    out = changed(only("img/test-a-0.png", sample_id="img/train-a-0.png"))
    assert any("sample_id 'img/train-a-0.png' is also that of" in problem for problem in check_data_set(out).problems)


def test_classes_and_splits(changed):
    def drop(split, labels):
        return lambda entry: None if entry.split == split and entry.label in labels else entry

    assert check_data_set(changed(drop("train", {1}))).problems == (
        "the train split has no abnormal rows (of 2); it needs both classes",
    )
    assert check_data_set(changed(drop("validation", {0}), "2")).problems == (
        "the validation split has no normal rows (of 2); it needs both classes",
    )
    (problem,) = check_data_set(changed(drop("test", {0, 1}), "3")).problems
    assert problem.startswith("there are no rows in the test split")
    assert check_data_set(changed(drop("test", {0}), "4")).ok


def test_many_findings_of_a_kind_are_counted(changed):
    report = check_data_set(changed(lambda entry: dataclasses.replace(entry, source="")))
    assert len(report.problems) == 4
    assert report.problems[-1] == "… and 13 more like this"


def test_warnings(changed, delivered):
    def change(entry: Sample):
        if entry.split == "train":
            entry = dataclasses.replace(entry, saliency=None, saliency_kind="none")
        if entry.sample_id == "img/val-a-1.png":
            entry = dataclasses.replace(entry, saliency=delivered.mask(value=9, fill=9))
        return dataclasses.replace(entry, category="", source={"b": "unknown hospital"}.get(entry.source, entry.source))

    report = check_data_set(changed(change))
    assert report.ok
    assert report.warnings == (
        "8 abnormal rows have no category",
        "no training image has a map: guided methods have nothing to be guided by",
        "1 maps have the same value everywhere; methods treat them as no map",
        "source unknown hospital: it is not known what may be published",
    )
    assert SourceTerms().redistribute_images == "unknown"
    assert "category (none): train 2, validation 2, test 4" in report.lines()


def test_a_changed_file(ready, changed):
    other = changed(only("img/train-a-0.png", source="elsewhere"))
    name = "data/train-00000-of-00001.parquet"
    (ready / name).write_bytes((other / name).read_bytes())
    report = check_data_set(ready)
    assert any("was changed after preparing" in problem and name in problem for problem in report.problems)
    assert any("fingerprint" in problem for problem in report.problems)
    assert report.fingerprint != report.stored_fingerprint


def test_missing_extra_and_damaged_files(ready):
    data = ready / "data"
    (data / "test-00000-of-00001.parquet").unlink()
    (data / "test-extra.parquet").write_bytes(b"")
    file = data / "train-00000-of-00001.parquet"
    file.write_bytes(b"x" * file.stat().st_size)
    problems = "\n".join(check_data_set(ready).problems)
    assert "test-00000-of-00001.parquet is missing" in problems
    assert "test-extra.parquet is not listed" in problems
    assert "train-00000-of-00001.parquet is damaged" in problems
    assert "there are no rows in the train split" in problems


def test_other_columns(ready):
    import pyarrow.parquet as pq

    file = ready / "data/train-00000-of-00001.parquet"
    pq.write_table(pq.read_table(file).drop(["subject"]), file)
    assert any("has other columns" in problem for problem in check_data_set(ready).problems)


def test_values_that_are_missing(ready):
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = ready / "data/train-00000-of-00001.parquet"
    table = pq.read_table(file)
    for column, value in {"label": -1, "subject": None}.items():
        index = table.schema.get_field_index(column)
        field = table.schema.field(index)
        table = table.set_column(index, field, pa.array([value, *table[column].to_pylist()[1:]], field.type))
    pq.write_table(table, file)
    problems = check_data_set(ready).problems
    assert any("'img/train-a-0.png': a value is missing" in problem for problem in problems)


@pytest.mark.parametrize("data", ["nowhere", "./nowhere", "/no/where", "a/b/c", "~nobody-here/x", ""])
def test_nothing_there(data):
    with pytest.raises(UserError, match="there is no data set"):
        check_data_set(data)


def test_not_prepared(delivered):
    with pytest.raises(UserError, match="not a prepared data set"):
        check_data_set(delivered.save())


def source(name, *splits):
    return lambda entry: dataclasses.replace(entry, source=name) if entry.split in splits else entry


def one_subject(entry):
    names = {"img/train-a-0.png": "Jos\u00e9", "img/test-a-0.png": "Jose\u0301"}
    return dataclasses.replace(entry, subject=names.get(entry.sample_id, entry.subject))


NO_RUN_CAN_KEEP = {
    "empty source": (only("img/test-a-0.png", source=""), "source is empty"),
    "empty subject": (only("img/train-a-0.png", subject=""), "subject is empty"),
    "empty id": (only("img/train-a-0.png", sample_id=""), "sample_id is empty"),
    "direction mark": (source("\u202bab\u202c", "test"), "holds the invisible character U+202B; retype it"),
    "zero-width space": (source("NIH\u200b", "test"), "holds the invisible character U+200B"),
    "escape in a category": (only("img/train-a-1.png", category="\x1b[2J"), "holds a line break or control character"),
    "long category": (only("img/train-a-1.png", category="x" * 439), "has 439 characters, 380 are allowed"),
    "subject of megabytes": (only("img/train-a-0.png", subject="p" * 10**6), "has 1,000,000 characters"),
    "two spellings of a source": (
        lambda entry: source("Zu\u0308rich" if "3" in entry.sample_id else "Z\u00fcrich", "test")(entry),
        "source 'Zu\\u0308rich' reads the same as 'Z\\xfcrich'",
    ),
    "a subject in two spellings": (one_subject, "is in test, but in train too"),
    "an id twice": (only("img/test-a-0.png", sample_id="img/train-a-0.png"), "is also that of"),
    "a category of a negative": (only("img/train-a-0.png", category="x"), "a normal row has category 'x'"),
    "unknown kind of map": (only("img/train-a-1.png", saliency_kind="blob"), "unknown saliency_kind 'blob'"),
}


@pytest.mark.parametrize("decode", [True, False])
@pytest.mark.parametrize("kind", NO_RUN_CAN_KEEP)
def test_what_check_refuses_no_run_starts_on(changed, kind, decode):
    from divsal_bench.grid import planning
    from divsal_bench.registry import method_choice, protocols

    change, message = NO_RUN_CAN_KEEP[kind]
    out = changed(change)
    report = check_data_set(out)
    assert any(message in problem for problem in report.problems)
    assert all(line.isprintable() for line in report.lines())
    tiny = dataclasses.replace(protocols.find_protocol("quick-v1"), epochs=1, input_size=32)
    methods = tuple(method_choice.choose_methods("cross-entropy"))
    grid = planning.Grid(("cxr",), methods, (0,), out.parent / "runs", tiny, data=str(out))
    with pytest.raises(UserError) as caught:
        planning.plan(grid, decode=decode)
    said = str(caught.value)
    # Reading the data looks for subjects and ids of two splits first.
    assert message in said or "is in two splits" in said or "occurs twice" in said
    assert "divsal-bench data check" in said
    assert said.isprintable()


def test_names_that_look_alike_are_warned_of(changed):
    def change(entry):
        names = {"train": "NIH", "validation": "NIH", "test": {"a": "nih", "b": "other"}[entry.source]}
        category = {"train": "print", "validation": "print", "test": "Print"}[entry.split] if entry.label else ""
        entry = dataclasses.replace(entry, source=names[entry.split], category=category)
        number = {
            "img/train-a-0.png": "100",
            "img/test-a-0.png": "100.0",
            "img/test-a-2.png": "7",
            "img/val-a-0.png": "007",
        }
        return dataclasses.replace(entry, subject=number.get(entry.sample_id, entry.subject))

    report = check_data_set(changed(change))
    assert report.ok
    sources, categories, subjects, *_ = report.warnings
    assert sources == (
        "the sources NIH (train 4, validation 4 rows) and nih (test 4 rows) differ only in capitals; is that an unseen "
        "source? If not, write both alike"
    )
    assert categories.startswith(
        "the categories print (train 2, validation 2 rows) and Print (test 4 rows) differ only"
    )
    assert subjects.startswith(
        "2 subjects may stand in several splits, under names that differ only in capitals, punctuation"
    )
    assert "as '100' (train) and '100.0' (test)" in subjects


def test_names_that_look_alike_in_training_alone_are_two_seen_ones(changed):
    report = check_data_set(changed(lambda entry: dataclasses.replace(entry, source="NIH" if entry.label else "nih")))
    assert not any("differ only" in warning for warning in report.warnings)


def test_positives_without_a_category_among_others_are_counted(changed):
    report = check_data_set(changed(only("img/test-a-1.png", category="")))
    assert report.warnings[0].startswith(
        "1 abnormal rows have no category (test 1 rows), 7 have one: those without count"
    )


def test_conditions_are_printed_with_their_subjects(changed, capsys):
    from divsal_bench import cli

    names = {"img/test-a-0.png": "one", "img/test-a-2.png": "one", "img/test-b-1.png": "two", "img/test-b-3.png": "two"}
    out = changed(lambda entry: dataclasses.replace(entry, subject=names.get(entry.sample_id, entry.subject)))
    assert cli.main(["data", "check", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    alone = "an image without a known person counts as a subject of its own"
    assert lines[lines.index("conditions of the test split:") + 1 :] == [
        "  in-domain (scored): 2 normal of 1 subject, 2 abnormal of 2 subjects",
        "  b (unseen source, scored): 2 normal of 2 subjects, 2 abnormal of 1 subject",
        f"  4 of 8 test rows are their subject's only one; {alone}",
    ]


@pytest.mark.parametrize("text", ["\x1b[2J\x1b[H", "\x9b2J", "\u202e", "a\rb", "\x07"], ids=ascii)
def test_nothing_of_strange_data_moves_the_terminal(changed, capsys, home, text):
    from divsal_bench import cli

    out = changed(lambda e: dataclasses.replace(e, source=text, category=text * e.label, subject=text + e.subject))
    info = json.loads((out / "divsal.json").read_text())
    (out / "divsal.json").write_text(json.dumps(info | {"notices": [text], "task": "cxr" + text}))
    cli.main(["data", "check", str(out)])
    out.rename(home / "data" / "cxr2")
    cli.main(["data", "list"])
    said = capsys.readouterr()
    assert "problem: " in said.out
    assert all(line.isprintable() for line in (said.out + said.err).split("\n"))
