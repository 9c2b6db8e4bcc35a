"""Files of a results folder: where they belong, read with suspicion, and written all or none.

``results/<task>/<fingerprint-8>/<protocol>/<backbone>/<method>.json`` claims the numbers of one method; beside it
lies ``<method>.parquet`` with its margins, and in ``<task>/<fingerprint-8>/`` are ``key.parquet`` (what each row is)
and ``gallery.json`` (the pictures that maps are shown on). All of it may come from a stranger's pull request.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ValidationError

from divsal_bench.errors import UserError, field_problem
from divsal_bench.files import foreign, whole
from divsal_bench.files.models import NO_STEPS, Model, Steps, up_to_date
from divsal_bench.leaderboard.claims.claim import SCHEMA_VERSION

#: Files of the results folder that are no results.
BESIDES = ("board.json", "README.md")
KEYS, GALLERY = "key.parquet", "gallery.json"
MARGINS, NEW_MARGINS = ".parquet", ".reproduction.parquet"
#: A larger JSON file is refused unread.
MOST_JSON = 4_000_000
#: Parts of a result's path: task, fingerprint, protocol, backbone, file.
DEPTH = 5
#: A list of numbers that JSON's indentation spread over lines; no line break can be inside a text.
SPREAD = re.compile(r"\[\n\s*(-?[0-9][0-9.eE+-]*(?:,\s*-?[0-9][0-9.eE+-]*)*)\s*\]")


def listing(root: Path) -> list[PurePosixPath]:
    """Every file below the results folder, relative to it, sorted.

    Raises:
        UserError: There is no such folder, a link leads who knows where, a name is not plain, or a file is hidden:
            it would be committed with the results, unread.
    """
    if not root.is_dir():
        raise UserError(f"there is no results folder {root}; give it with --results")
    found: list[PurePosixPath] = []
    waiting = [root]
    while waiting:
        for path in sorted(waiting.pop().iterdir()):
            if path.is_symlink():
                raise UserError(f"{path} is a link; accepted results are plain files and folders, remove it")
            if not path.name.isprintable():  # it would act on the terminal that shows it
                raise UserError(f"{path.parent} has a file with the name {path.name!r}; remove it")
            if path.name.startswith("."):
                what = (
                    "unfinished: a command writes it now, or was ended before it had"
                    if whole.is_aside(path.name)
                    else ("hidden, and accepted results hold no hidden files")
                )
                raise UserError(f"{path} is {what}; remove it")
            if path.is_dir():
                waiting.append(path)
            else:
                found.append(PurePosixPath(path.relative_to(root).as_posix()))
    return sorted(found)


def check_strays(
    root: Path, files: Iterable[PurePosixPath], folders: Mapping[PurePosixPath, Iterable[PurePosixPath]]
) -> None:
    """Refuse files that no result names: a margins file without its JSON, say, would ship unread."""
    results = {file for members in folders.values() for file in members}
    expected = {PurePosixPath(name) for name in BESIDES} | results
    expected |= {folder / name for folder in folders for name in (KEYS, GALLERY)}
    expected |= {file.with_name(file.stem + end) for file in results for end in (MARGINS, NEW_MARGINS)}
    for file in files:
        if file not in expected:
            raise UserError(
                f"{root / file} belongs to no accepted result; results are "
                "<task>/<fingerprint-8>/<protocol>/<backbone>/<method>.json with <method>.parquet; remove it"
            )


def read_submitted(path: Path, most: int) -> bytes:
    """A file's bytes; a missing or too large one is a UserError."""
    try:
        if path.stat().st_size > most:
            raise UserError(f"{path} has {path.stat().st_size:,} bytes, {most:,} are allowed; remove it")
        return foreign.read_bytes(path, most)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}); submit it again") from error
    except ValueError as error:
        raise UserError(f"{path} {error}; remove it") from None


def read_claimed(path: Path, model: type[Model], steps: Steps = NO_STEPS) -> Model:
    """Read JSON of a closed schema; NaN is no number here.

    Args:
        steps: From each older version of its schema to the next.

    Raises:
        UserError: It cannot be read, holds something else, or a newer program wrote it.
    """
    content = read_submitted(path, MOST_JSON)
    try:
        found = foreign.json_of(content, finite=True)
    except ValueError as error:
        raise UserError(f"{path} is no JSON that can be read ({str(error)[:200]}); submit it again") from None
    try:
        return model.model_validate(up_to_date(found, SCHEMA_VERSION, path, steps))
    except foreign.RefusedError as error:
        raise UserError(f"{path} {error}; submit it again") from None
    except ValidationError as error:
        field, problem = field_problem(error.errors())
        raise UserError(f"{path}: field {field!r} {problem}; submit it again") from None


def model_json(model: BaseModel) -> bytes:
    """A model as indented JSON, the same bytes for the same content; lists of numbers stay on one line."""
    text = json.dumps(model.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False)
    return (SPREAD.sub(lambda found: f"[{', '.join(found[1].replace(',', ' ').split())}]", text) + "\n").encode()


def write_all(files: Mapping[Path, bytes]) -> None:
    """Write files of a results folder all or none, in this order; UserError if one cannot be: all are as before."""
    whole.write_files(files, "give another --results")
