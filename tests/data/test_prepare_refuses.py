import dataclasses
import os
import re
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from divsal_bench.contracts.adapter import Adapter, Delivery, Row
from divsal_bench.data.prepare import prepare_data_set
from divsal_bench.errors import UserError
from divsal_bench.tasks.adapters.manifest_csv import ADAPTER

pytestmark = pytest.mark.fast


def run(task, delivered, **options):
    return prepare_data_set(task, ADAPTER, delivered.save(), delivered.folder.parent / "out", **options)


def cut(delivered, row):
    file = delivered.file(row["image"])
    file.write_bytes(delivered.picture(7, (64, 64), kind="JPEG")[:-300])


def replace_with(content: bytes, which: str = "image"):
    return lambda delivered, row: delivered.file(row[which]).write_bytes(content)


def other_size(delivered, row):
    delivered.file(row["saliency"]).write_bytes(delivered.mask((10, 12)))


def change(**cells):
    return lambda delivered, row: row.update(cells)


def outside_link(delivered, row):
    other = delivered.folder.parent / "elsewhere.png"
    other.write_bytes(delivered.picture(50))
    delivered.file(row["image"]).unlink()
    delivered.file(row["image"]).symlink_to(other)


def outside_path(delivered, row):
    (delivered.folder.parent / "elsewhere.png").write_bytes(delivered.picture(50))
    row["image"] = "../elsewhere.png"


def copy_into_other_split(delivered, row):
    delivered.file(delivered.rows[4]["image"]).write_bytes(delivered.file(row["image"]).read_bytes())


def two_spellings(delivered, row):
    row["subject"] = "Jose\u0301"
    for other in delivered.rows:
        if other["image"] == "img/val-a-0.png":
            other["subject"] = "Jos\u00e9"


def irregular(make, which="image"):
    def spoil(delivered, row):
        delivered.file(row[which]).unlink()
        make(delivered.file(row[which]))

    return spoil


def saved_again(kind, **save):
    def spoil(delivered, row):
        with Image.open(delivered.file(row["image"])) as image:
            image.save(delivered.file(delivered.rows[4]["image"]), format=kind, **save)

    return spoil


def gaze(delivered, row):
    delivered.file("gaze.csv").write_text("x,y\n")
    row["saliency"] = "gaze.csv"


def socket_at(path):
    """Bound by a short name, as they must be."""
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(before)


def copy_with_the_other_label(delivered, row):
    delivered.file(delivered.rows[2]["image"]).write_bytes(delivered.file(row["image"]).read_bytes())


def flipped_bit(which):
    def spoil(delivered, row):
        data = bytearray(delivered.file(row[which]).read_bytes())
        data[-30] ^= 4
        delivered.file(row[which]).write_bytes(data)

    return spoil


def pages(kind):
    def spoil(delivered, row):
        page = Image.fromarray(np.ones((10, 12), np.uint8))
        other = Image.fromarray(np.zeros((10, 12), np.uint8))
        page.save(delivered.file(row["image"]), format=kind, save_all=True, append_images=[other])

    return spoil


def float_tiff(delivered, row):
    Image.fromarray(np.ones((10, 12), np.float32)).save(delivered.file(row["image"]), format="TIFF")


BAD = {
    "missing image": (lambda delivered, row: delivered.file(row["image"]).unlink(), "there is no image"),
    "missing map": (lambda delivered, row: delivered.file(row["saliency"]).unlink(), "there is no map"),
    "empty image": (replace_with(b""), "is empty"),
    "empty map": (replace_with(b"", "saliency"), "the map .*is empty"),
    "truncated image": (cut, "truncated or damaged"),
    "text instead of an image": (replace_with(b"<html>not found</html>"), "is not an image"),
    "text instead of a map": (replace_with(b"hello", "saliency"), "the map .*is not an image"),
    "floating point image": (float_tiff, "floating point"),
    "map of another size": (other_size, "10 x 12 pixels, but its image is 12 x 10"),
    "image is a folder": (change(image="img"), "cannot be read"),
    "link out of the folder": (outside_link, r"lies outside .*is a link to .*elsewhere\.png"),
    "path out of the folder": (outside_path, "lies outside"),
    "absolute path": (change(image="/etc/hostname"), "lies outside"),
    "map out of the folder": (change(saliency="../x.png"), "the map .*lies outside"),
    "same id twice": (change(sample_id="img/train-a-0.png"), r"also that of manifest\.csv row 2"),
    "subject in two splits": (change(subject="person val-a-0"), r"subject 'person val-a-0' .*train.*put all"),
    "same image in two splits": (copy_into_other_split, r"the pixels of the one of manifest\.csv row 3"),
    "same picture as TIFF in another split": (saved_again("TIFF"), r"the pixels of the one of manifest\.csv row 3"),
    "same picture, compressed otherwise": (saved_again("PNG", compress_level=1), r"the pixels of the one of manifest"),
    "same picture with both labels": (
        copy_with_the_other_label,
        r"row 4 .* is normal, but its copy manifest\.csv row 3 .* abnormal; remove the row that is wrong",
    ),
    "image with a wrong checksum": (flipped_bit("image"), "its checksum is wrong"),
    "map with a wrong checksum": (flipped_bit("saliency"), "the map .*its checksum is wrong"),
    "TIFF of two pages": (pages("TIFF"), "has pages or frames 1 to 2"),
    "animation": (pages("GIF"), "has pages or frames 1 to 2"),
    "negative with a category": (
        change(label="normal", category="tumour"),
        "normal row has category 'tumour'",
    ),
    "line break in a name": (change(source="two\nlines"), "line break"),
    "invisible source": (
        change(source="NIH\u200b"),
        r"source 'NIH\\u200b' holds the invisible character U\+200B; retype it",
    ),
    "direction mark in a category": (
        change(category="\u202eprint"),
        r"category '\\u202eprint' holds the invisible .*U\+202E",
    ),
    "escape in a subject": (
        change(subject="p\x1b[2J"),
        r"subject 'p\\x1b\[2J' holds a line break or control character",
    ),
    "isolate in an id": (change(sample_id="a\u2066b"), r"sample_id 'a\\u2066b' holds the invisible character U\+2066"),
    "category of a sentence": (
        change(category="opacity, " * 50),
        "category 'opacity.* has 449 characters, 380 are allowed",
    ),
    "subject of megabytes": (change(subject="p" * 120_000), "has 120,000 characters, 380 are allowed; shorten it"),
    "subject in two splits, decomposed": (two_spellings, "subject 'José' is in validation, but in train too"),
    "image is a pipe": (irregular(os.mkfifo), r"the image .* cannot be read \(it is not a regular file\)"),
    "map is a pipe": (irregular(os.mkfifo, "saliency"), r"the map .* cannot be read \(it is not a regular file\)"),
    "image is a device": (
        irregular(lambda path: path.symlink_to("/dev/zero")),
        "lies outside .*is a link to /dev/zero",
    ),
    "image is a socket": (irregular(socket_at), "is not a regular file"),
    "map is a box": (change(saliency="30 20 44 34"), "the map '30 20 44 34' is no file; draw boxes as images"),
    "map is a list of gaze points": (gaze, r"the map .*gaze\.csv is a table; draw its points as an image"),
    "image in capitals": (change(image="IMG/TRAIN-A-1.PNG"), "there is no image"),
    "name in capitals": (change(image="img/TRAIN-A-1.PNG"), r"there is no image .* \(there is 'train-a-1\.png'\)"),
    "a name of 300 bytes": (change(image="img/" + "x" * 300), "File name too long"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_rows_are_refused_with_row_and_file(task, delivered, name):
    spoil, message = BAD[name]
    row = delivered.rows[1]
    spoil(delivered, row)
    with pytest.raises(UserError, match=message) as caught:
        run(task, delivered)
    text = str(caught.value)
    assert "\n" not in text
    # Row 3 of the file: the header is row 1. A copy is noticed at the later row, and both are named.
    assert "manifest.csv row 3 " in text
    assert row["image"] in text
    assert text.isprintable()
    assert len(text) < 1000
    assert {path.name for path in delivered.folder.parent.iterdir()} <= {"delivered", "elsewhere.png"}


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        (lambda row: row["split"] != "train", "no rows in the train split"),
        (lambda row: row["split"] != "test", "no rows in the test split"),
        (lambda row: (row["split"], row["label"]) != ("train", "normal"), "train split has no normal rows"),
        (
            lambda row: (row["split"], row["label"]) != ("val", "abnormal"),
            "validation split has no abnormal rows",
        ),
        (lambda row: False, "no rows in the train split"),
    ],
)
def test_splits_need_rows_and_classes(task, delivered, keep, message):
    delivered.rows = [row for row in delivered.rows if keep(row)] or [dict.fromkeys(delivered.rows[0], "")]
    with pytest.raises(UserError, match=message):
        run(task, delivered)


def test_the_test_split_may_have_one_class(task, delivered):
    delivered.rows = [row for row in delivered.rows if (row["split"], row["label"]) != ("test", "normal")]
    assert run(task, delivered).counts[-1].negatives == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": 2}, "label 2 is neither 0"),
        ({"split": "dev"}, "unknown split"),
        ({"saliency_kind": "mask"}, "it has no map"),
        ({"saliency": Path("x.png")}, "it has a map"),
        ({"saliency": Path("x.png"), "saliency_kind": "heat"}, "unknown saliency_kind"),
        ({"subject": ""}, "subject is empty"),
        ({"source": ""}, "source is empty"),
        ({"sample_id": ""}, "sample_id is empty"),
    ],
)
def test_rows_of_any_adapter_are_checked(task, tmp_path, changes, message):
    row = Row("list row 1", "x", tmp_path / "x.png", 1, "train", "a", "print", "p")
    adapter = Adapter("list", "", lambda *_: Delivery([dataclasses.replace(row, **changes)], {}))
    with pytest.raises(UserError, match=message) as caught:
        prepare_data_set(task, adapter, tmp_path, tmp_path / "out")
    assert "list row 1" in str(caught.value)


def test_unknown_option_and_missing_source(task, delivered, tmp_path):
    with pytest.raises(UserError, match="Did you mean 'label-conflict'"):
        prepare_data_set(task, ADAPTER, delivered.save(), tmp_path / "out", {"label-conflicts": "keep"})
    with pytest.raises(UserError, match="there is no file or folder"):
        prepare_data_set(task, ADAPTER, tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(UserError, match="needs --source"):
        prepare_data_set(task, ADAPTER, None, tmp_path / "out")


def test_all_mistakes_are_told_at_once_by_kind(task, delivered):
    rows = delivered.rows
    rows[0].update(subject="")
    rows[1].update(label="broken")
    rows[2].update(split="dev")
    rows[3].update(saliency="", saliency_kind="mask")
    for row in rows[4:9]:
        row.update(source="")
    rows[9].update(category="tumour", label="normal")
    rows[10].update(image="img/nobody.png")
    rows[11].update(sample_id=rows[13]["image"])
    rows[12].update(category="two\u200bwords", label="abnormal")
    with pytest.raises(UserError) as caught:
        run(task, delivered)
    head, *lines = str(caught.value).splitlines()
    assert head == "13 mistakes of 9 kinds:"
    assert len(lines) == 9
    for number, words in enumerate(
        [
            "row 2 .*: subject is empty", "row 3 .*: unknown label 'broken'", "row 4 .*unknown split 'dev'",
            "row 5 .*it says saliency_kind 'mask' but names no map",
            r"row 6 .*source is empty; every row .*\(4 more like this: manifest.csv row 7, manifest.csv row 8, …\)",
            "row 11 .*a normal row has category 'tumour'", r"row 14 .*'two\\u200bwords' holds the invisible character",
            "row 15 .*is also that of manifest.csv row 13", "row 12 .*there is no image",
        ]
    ):  # fmt: skip
        assert any(re.search(words.replace("(img", r"\(img").replace("png)", r"png\)"), line) for line in lines), (
            number,
            lines,
        )
    assert not (delivered.folder.parent / "out").exists()


def test_many_distinct_names_that_no_record_holds_are_refused_before_any_training(task, delivered, tmp_path):
    def rows(sources, text, where="test"):
        base = delivered.rows
        delivered.save()
        found = []
        for number, row in enumerate(base):
            split = {"val": "validation"}.get(row["split"], row["split"])
            label = int(row["label"] == "abnormal")
            names = ("a", "c" * label, f"p{number}")
            found.append(Row(f"row {number}", f"s{number}", delivered.file(row["image"]), label, split, *names))
        for number in range(sources):
            sample, source = (
                (text if where == "id" else "s") + f"x{number}",
                (text if where != "id" else "") + f"{number}",
            )
            picture = delivered.picture(100 + number % 100)
            found.append(
                Row(f"more {number}", sample, picture, number % 2, "test", source, "c" * (number % 2), f"q{number}")
            )
        return found

    cases = {
        "7,000 test sources": (rows(7_000, "h"), r"7,001 conditions, 7,001 sources .* more than a run's record holds"),
        "long names of 1,000 sources": (rows(1_000, "胸" * 370), "more than a run's record holds"),
        "ids of 380 emoji": (
            [dataclasses.replace(row, source="a") for row in rows(6_000, "🙂" * 370, "id")],
            "names of validation and test rows take .* bytes a row, about .* are allowed; shorten the sample_ids",
        ),
    }
    for name, (content, message) in cases.items():
        adapter = Adapter("list", "", lambda *_, content=content: Delivery(content, {}))
        with pytest.raises(UserError, match=message):
            prepare_data_set(task, adapter, delivered.folder, tmp_path / name)


def test_mistakes_in_files_are_said_all_at_once(task, delivered):
    for number in (0, 3, 5, 9):
        delivered.file(delivered.rows[number]["image"]).write_bytes(b"no image")
    delivered.file(delivered.rows[1]["saliency"]).write_bytes(b"")
    with pytest.raises(UserError) as caught:
        run(task, delivered)
    head, image, saliency = str(caught.value).splitlines()
    assert head == "5 mistakes of 2 kinds:"
    assert "is not an image" in image
    assert "(3 more like this: manifest.csv row " in image
    assert "the map" in saliency
    assert "is empty" in saliency


def test_files_that_change_while_they_are_read(task, delivered, monkeypatch):
    from divsal_bench.data import delivered_rows

    monkeypatch.setattr(delivered_rows, "KEPT_BYTES", 0)
    whole = run(task, delivered).fingerprint

    def change(done, total):
        if done == total:
            delivered.file(delivered.rows[3]["image"]).write_bytes(delivered.picture(99))

    with pytest.raises(UserError, match="were changed while they were being prepared"):
        run(task, delivered, force=True, progress=change)
    delivered.file(delivered.rows[3]["image"]).write_bytes(delivered.picture(3))
    monkeypatch.undo()
    assert run(task, delivered, force=True).fingerprint == whole


def test_a_folder_is_looked_through_once_however_many_files_are_not_there(task, delivered, monkeypatch):
    for row in delivered.rows:
        row["image"] = row["image"].replace("train", "TRAIN").replace("test", "TEST")
    listed = []
    usual = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda folder: listed.append(folder) or usual(folder))
    with pytest.raises(UserError, match=r"there is no image .* \(there is .* more like this"):
        run(task, delivered)
    assert len(listed) == 1
