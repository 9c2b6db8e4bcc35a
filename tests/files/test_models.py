"""JSON as typed models: a schema can be raised, and no file is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from divsal_bench.errors import UserError
from divsal_bench.files.models import Steps, read_model, up_to_date

pytestmark = pytest.mark.fast


class Note(BaseModel):
    """A small file whose schema was raised twice: its text got a language, and then was split into lines."""

    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[3] = 3
    lines: list[str]
    language: str = "en"


def with_language(content: dict[str, Any]) -> dict[str, Any]:
    return {"language": content.pop("lang", "en"), **content}


def in_lines(content: dict[str, Any]) -> dict[str, Any]:
    return {"lines": content["text"].split("\n"), "language": content["language"]}


STEPS: Steps = {1: with_language, 2: in_lines}


def read(path: Path, content: object) -> Note:
    path.write_text(json.dumps(content))
    return read_model(path, Note, 1000, newest=3, steps=STEPS)


@pytest.mark.parametrize(
    "content",
    [
        {"text": "a\nb", "lang": "de"},  # the first version said nothing of itself
        {"schema_version": 1, "text": "a\nb", "lang": "de"},
        {"schema_version": 2, "text": "a\nb", "language": "de"},
        {"schema_version": 3, "lines": ["a", "b"], "language": "de"},
    ],
)
def test_a_file_of_any_version_is_read_as_the_newest(tmp_path: Path, content: dict[str, Any]) -> None:
    assert read(tmp_path / "note.json", content) == Note(lines=["a", "b"], language="de")


def test_a_newer_version_is_refused_with_what_helps(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"note\.json has schema version 4, this program reads 3; update divsal-bench"):
        read(tmp_path / "note.json", {"schema_version": 4, "pages": []})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"schema_version": 1}, r"lacks what schema version 2 has \('text'\)"),
        ({"schema_version": 2, "text": 5, "language": "de"}, "lacks what schema version 2 has"),
        ({"schema_version": 0, "text": ""}, "schema_version"),
        ({"schema_version": "x", "text": ""}, "schema_version"),
        ([], "dictionary"),
    ],
)
def test_what_no_step_can_read_is_one_kind_of_error(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "note.json", content)


def test_without_steps_content_stays_as_it_is(tmp_path: Path) -> None:
    for content in ({"schema_version": 1, "a": 2}, {"a": 2}, [1], None):
        assert up_to_date(content, 1, tmp_path) is content


def test_what_is_read_is_what_the_model_allows(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="more"):
        read(tmp_path / "note.json", {"schema_version": 3, "lines": [], "more": 1})
    with pytest.raises(ValueError, match="has more than 1,000 bytes"):
        read(tmp_path / "note.json", {"schema_version": 3, "lines": ["x" * 1000]})
    with pytest.raises(FileNotFoundError):
        read_model(tmp_path / "other.json", Note, 1000)
