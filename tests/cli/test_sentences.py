"""What pydantic, the system and strangers' files say, in words of ours."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel, StringConstraints, ValidationError, field_validator

from divsal_bench import cli
from divsal_bench.errors import field_problem, plural
from divsal_bench.leaderboard.accepted import board_file
from divsal_bench.leaderboard.claims.gallery import GalleryPicture

PICTURE = {"key": "k", "label": 1, "condition": "c", "image": "", "human": None, "credit": ""}


@pytest.mark.parametrize(("count", "text"), [(0, "0 runs"), (1, "1 run"), (2, "2 runs"), (1234, "1,234 runs")])
def test_counts_are_said_as_people_say_them(count: int, text: str) -> None:
    assert plural(count, "run") == text


class Example(BaseModel):
    model_config = {"extra": "forbid"}
    name: Annotated[str, StringConstraints(pattern=r"^[^\p{Cc}]*$", max_length=5)] = ""
    count: int = 0
    own: str = ""

    @field_validator("own")
    @classmethod
    def _checked(cls, value: str) -> str:
        if value:
            raise ValueError("is not ours")
        return value


@pytest.mark.parametrize(
    ("content", "field", "problem"),
    [
        ({"name": "a\tb"}, "name", "does not have the form that belongs there"),
        ({"name": "abcdef"}, "name", "has more than 5 characters"),
        ({"own": "x"}, "own", "is not ours"),
        ({"other": 1}, "other", "is not known"),
        ({"count": "x"}, "count", "is wrong: Input should be a valid integer, unable to parse string as an integer"),
        ({"count": 1.5}, "count", "is wrong: Input should be a valid integer, got a number with a fractional part"),
    ],
)
def test_a_validation_error_is_a_sentence(content: dict[str, object], field: str, problem: str) -> None:
    with pytest.raises(ValidationError) as error:
        Example.model_validate(content)
    assert field_problem(error.value.errors()) == (field, problem)


@pytest.mark.parametrize("label", [-1, -3, 2, 10**400, 0.5, None, "1x"])
def test_a_gallery_label_that_is_no_class_is_refused(label: object) -> None:
    """A negative one took the class names from their end."""
    with pytest.raises(ValidationError):
        GalleryPicture.model_validate(PICTURE | {"label": label})
    assert GalleryPicture.model_validate(PICTURE).label == 1


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", "[{}]", "[1]", "null", "9" * 5000, "[" * 5000, '[{"schema_version": 1}]', "\x00",
                '[{"schema_version": ' + "9" * 400 + "}]", '[{"schema_version": -1, "tables": null}]'],
)  # fmt: skip
def test_a_damaged_stored_board_is_one_line(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / board_file.FILE).write_text(content)
    assert cli.main(["board", "--accepted", "--results", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "`divsal-bench board --recompute`" in said.err or "update divsal-bench" in said.err
    assert "validation error" not in said.err


def test_stored_boards_of_ours_are_read_as_before() -> None:
    """The label is checked more strictly, and no accepted board changes by it."""
    results = Path(__file__).resolve().parents[2] / "leaderboard/results"
    for file in results.rglob("gallery.json"):
        for picture in json.loads(file.read_text(encoding="utf-8"))["pictures"]:
            GalleryPicture.model_validate(picture)


def test_a_label_in_a_list_of_images_that_is_no_class_names_both(tmp_path: Path) -> None:
    from divsal_bench.errors import UserError
    from divsal_bench.explanation.examples import class_of

    names = ("bona fide", "attack")
    assert [class_of(name, names, "x") for name in ("Bona Fide", "ATTACK", "0", "1")] == [0, 1, 0, 1]
    with pytest.raises(UserError, match="give 'bona fide' or 'attack'"):
        class_of("live", names, "x")
    assert class_of("1", ("1", "0"), "x") == 0


def test_help_is_as_light_as_it_was() -> None:
    """The streams and the sweeping load nothing before a command needs it."""
    import sys

    code = "import sys; from divsal_bench.cli import main\ntry: main(['--version'])\nexcept SystemExit: pass\n"
    code += "print(*sorted({'pydantic', 'numpy', 'tabulate', 'torch', 'divsal_bench.files.whole'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1:] == [""]
