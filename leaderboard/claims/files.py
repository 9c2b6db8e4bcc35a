"""Files of a results folder: where they belong, read with suspicion, and written all or none.

``results/<task>/<fingerprint-8>/<protocol>/<backbone>/<method>.json`` claims the numbers of one method; beside it
lies ``<method>.parquet`` with its margins, and in ``<task>/<fingerprint-8>/`` are ``key.parquet`` (what each row is)
and ``gallery.json`` (the pictures that maps are shown on). All of it may come from a stranger's pull request.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from divsal_bench.errors import UserError, field_problem
from divsal_bench.files import foreign
from divsal_bench.leaderboard.claims.claim import SCHEMA_VERSION

#: Files of the results folder that are no results.
BESIDES = ("board.json", "README.md")
KEYS, GALLERY = "key.parquet", "gallery.json"
MARGINS, NEW_MARGINS = ".parquet", ".reproduction.parquet"
#: A larger JSON file is refused unread.
MOST_JSON = 4_000_000
#: Parts of a result's path: task, fingerprint, protocol, backbone, file.
DEPTH = 5
#: Names of files that a command has not finished.
ASIDE = re.compile(r"\.(?:.+\.)?partial-")
#: A list of numbers that JSON's indentation spread over lines; no line break can be inside a text.
SPREAD = re.compile(r"\[\n\s*(-?[0-9][0-9.eE+-]*(?:,\s*-?[0-9][0-9.eE+-]*)*)\s*\]")

Model = TypeVar("Model", bound=BaseModel)


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
                    if ASIDE.match(path.name)
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


def read_bytes(path: Path, most: int) -> bytes:
    """A file's bytes; a missing or too large one is a UserError."""
    try:
        if path.stat().st_size > most:
            raise UserError(f"{path} has {path.stat().st_size:,} bytes, {most:,} are allowed; remove it")
        return foreign.read_bytes(path, most)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}); submit it again") from error
    except ValueError as error:
        raise UserError(f"{path} {error}; remove it") from None


def read_model(path: Path, model: type[Model]) -> Model:
    """Read JSON of a closed schema; NaN is no number here."""
    try:
        content = json.loads(read_bytes(path, MOST_JSON), parse_constant=no_number)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no JSON that can be read ({str(error)[:200]}); submit it again") from None
    version = content.get("schema_version") if isinstance(content, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise UserError(
            f"{path} has schema version {version}, this program reads {SCHEMA_VERSION}; update divsal-bench"
        )
    try:
        return model.model_validate(content)
    except ValidationError as error:
        field, problem = field_problem(error.errors())
        raise UserError(f"{path}: field {field!r} {problem}; submit it again") from None


def no_number(text: str) -> float:
    """Refuse NaN and infinities, which JSON lacks and Python reads."""
    raise ValueError(f"it holds {text}, scores must be finite numbers")


def as_json(model: BaseModel) -> bytes:
    """A model as indented JSON, the same bytes for the same content; lists of numbers stay on one line."""
    text = json.dumps(model.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False)
    return (SPREAD.sub(lambda found: f"[{', '.join(found[1].replace(',', ' ').split())}]", text) + "\n").encode()


def write_all(files: Mapping[Path, bytes], mark: str = "") -> None:
    """Write files all or none; each appears whole, and one that is there with this content is not touched.

    All are written aside before the first is put in place, and what was there is kept until the last is: going back
    needs no space, only renames.

    Args:
        files: Path to content, in the order in which they are put in place.
        mark: Says whose unfinished files these are, so that what a killed process leaves can be swept.

    Raises:
        UserError: One cannot be written; then all are as before.
    """
    files = {path: content for path, content in files.items() if not holds(path, content)}
    mark = mark or secrets.token_hex(4)
    aside = {path: path.with_name(f".partial-{mark}-{number}") for number, path in enumerate(files)}
    before = {path: path.with_name(f".before.partial-{mark}-{number}") for number, path in enumerate(files)}
    put: list[Path] = []
    made: list[Path] = []
    try:
        for path, content in files.items():
            made += [parent for parent in path.parents if not parent.exists()]
            path.parent.mkdir(parents=True, exist_ok=True)
            with aside[path].open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for path in files:
            if path.exists():
                keep(path, before[path])
        for path in files:
            put.append(path)  # before it is: an interruption may come right after
            aside[path].replace(path)
    except BaseException as error:
        for done in put:
            with suppress(OSError):
                before[done].replace(done) if before[done].exists() else done.unlink()
        remove([*aside.values(), *before.values()])
        for folder in made:
            with suppress(OSError):  # not empty: another process uses it
                folder.rmdir()
        if isinstance(error, OSError):
            raise UserError(
                f"{path} cannot be written ({error.strerror or error}); free some space or give another --results"
            ) from error
        raise
    remove(before.values())


def keep(path: Path, copy: Path) -> None:
    """Give a file a second name; where the file system has no links, a copy."""
    try:
        os.link(path, copy)
    except OSError:
        shutil.copy2(path, copy)


def remove(paths: Iterable[Path]) -> None:
    """Remove files that may not be there."""
    for path in paths:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def holds(path: Path, content: bytes) -> bool:
    """Whether a file has this content already."""
    try:
        return path.read_bytes() == content
    except OSError:
        return False
