"""JSON of anybody as a typed model: a newer schema is refused in one way, an older one brought up to date step by step.

A schema is raised when older readers would misread the files; its room then gives a table of steps, as
:mod:`divsal_bench.runs.migrations` says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from divsal_bench.errors import UserError
from divsal_bench.files.foreign import RefusedError, read_json
from divsal_bench.files.texts import first_line

if TYPE_CHECKING:
    from pydantic import BaseModel

Model = TypeVar("Model", bound="BaseModel")
#: Version to the function that makes the content of the next version of it.
Steps = Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]
NO_STEPS: Steps = MappingProxyType({})
#: The field that says by which schema a file was written; content without it is of the first version.
VERSION = "schema_version"


def up_to_date(content: object, newest: int, path: Path, steps: Steps = NO_STEPS) -> object:
    """Content of any version that is known, as the newest has it.

    Args:
        content: As JSON had it. What is no object, or of a version that no step begins with, is the model's to refuse.
        newest: The version that this program writes.
        steps: From each older version that can be read to the next.

    Raises:
        UserError: A newer program wrote it.
        RefusedError: It lacks what its version has.
    """
    if not isinstance(content, dict):
        return content
    version = content.get(VERSION, 1)
    if isinstance(version, int) and version > newest:
        raise UserError(f"{path} has schema version {version}, this program reads {newest}; update divsal-bench")
    while version in steps:
        try:
            content = {**steps[version](content), VERSION: version + 1}
        except (LookupError, TypeError, AttributeError) as error:
            raise RefusedError(f"lacks what schema version {version} has ({first_line(error)})") from error
        version += 1
    return content


def read_model(
    path: Path, model: type[Model], most: int, *, newest: int = 1, steps: Steps = NO_STEPS, finite: bool = False
) -> Model:
    """Read a JSON file into a model.

    Args:
        newest: The version of the schema that this program writes.
        steps: From each older version to the next.

    Raises:
        OSError: It is not there or cannot be read.
        ValueError: It is no regular file, too large, not JSON or nested too deeply.
        pydantic.ValidationError: It has other content than the model; a ValueError, too.
        UserError: A newer program wrote it.
    """
    return model.model_validate(up_to_date(read_json(path, most, finite), newest, path, steps))
