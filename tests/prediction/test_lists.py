"""Lists of images in CSV files, and images in folders: none is lost without a word."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from divsal_bench.data.damage import NotAnImage
from divsal_bench.errors import UserError
from divsal_bench.explanation import examples
from divsal_bench.prediction import inputs
from divsal_bench.prediction.decoding import file_bytes

pytestmark = pytest.mark.fast

CLASSES = ("normal", "abnormal")


@pytest.fixture
def hospital(tmp_path: Path) -> Path:
    """Three files whose names have no suffix, as hospitals export them, one called like a heading, and a picture."""
    for name in ("00001280_000", "00001281_000", "00001282_000", "label", "x.png"):
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


LISTS = {
    "no heading": ("00001280_000\n00001281_000\n00001282_000\n", ["00001280_000", "00001281_000", "00001282_000"]),
    "no heading, classes beside": ("00001280_000,normal\n00001281_000,\n", ["00001280_000", "00001281_000"]),
    "no heading, the first is not there": ("first.dcm\n00001281_000\n", ["first.dcm", "00001281_000"]),
    "no heading, none is there": ("a\nb\n", ["a", "b"]),
    "no heading, a picture that is not there": ("gone.png\nx.png\n", ["gone.png", "x.png"]),
    "a file called like a heading": ("label\nx.png\n", ["label", "x.png"]),
    "a heading": ("image\n00001280_000\n", ["00001280_000"]),
    "a heading in capitals": ("Image Index,Finding\nx.png,a\n", ["x.png"]),
    "a heading with a class": ("file,label\n00001280_000,normal\n", ["00001280_000"]),
    "the second column": ("label,path\nnormal,x.png\n", ["x.png"]),
    "a byte-order mark": ("\ufeffimage\nx.png\n", ["x.png"]),
    "blank lines": ("\n\n00001280_000\n\nx.png\n", ["00001280_000", "x.png"]),
}


@pytest.mark.parametrize("kind", LISTS)
def test_the_first_row_is_a_heading_only_if_it_says_so(hospital: Path, kind: str) -> None:
    text, expected = LISTS[kind]
    file = hospital / "list.csv"
    file.write_text(text, encoding="utf-8")
    assert [one.image for one in inputs.collect_images([file])] == expected
    # Classes are read by the same rule.
    assert len(examples.collect_examples([str(file)], CLASSES, None, None)) == len(expected)


def test_classes_belong_to_their_rows(hospital: Path) -> None:
    file = hospital / "list.csv"
    file.write_text("file,label\n00001280_000,normal\nx.png,\n00001281_000,1\n")
    found = examples.collect_examples([str(file)], CLASSES, None, None)
    assert [(one.input.image, one.label) for one in found] == [
        ("00001280_000", 0),
        ("x.png", None),
        ("00001281_000", 1),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"image\n", "lists no image below its heading"),
        (b"\xff\xfe", "cannot be read as a CSV file"),
        (b"image\n" + b"x" * 200_000, "cannot be read as a CSV file"),
        (b"label,image\n1\n", "no image is named in column 2"),
    ],
)
def test_lists_that_cannot_be_read(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "list.csv").write_bytes(content)
    with pytest.raises(UserError, match=message):
        inputs.collect_images([tmp_path / "list.csv"])


def test_files_without_the_suffix_of_an_image_are_counted(hospital: Path) -> None:
    assert [one.image for one in inputs.collect_images([hospital])] == [str(hospital / "x.png")]
    assert inputs.left_out([hospital]) == "; 4 files have no suffix of an image and were left out"
    (hospital / "x.png").rename(hospital / "x")
    with pytest.raises(UserError, match=r"holds no image .*; 5 files have no suffix of an image and were left out"):
        inputs.collect_images([hospital])
    for file in list(hospital.iterdir())[1:]:
        file.unlink()
    assert inputs.left_out([hospital, "x.png"]) == "; 1 file has no suffix of an image and was left out"


def test_a_pipe_in_a_folder_or_as_a_list_is_not_waited_for(hospital: Path) -> None:
    os.mkfifo(hospital / "pipe.png")
    os.mkfifo(hospital / "pipe.csv")
    found = [one.image for one in inputs.collect_images([hospital, hospital / "pipe.csv"])]
    assert str(hospital / "pipe.png") in found  # a row with an error, when it is decoded
    with pytest.raises(NotAnImage, match="is not a file"):
        file_bytes(hospital / "pipe.png")
