"""Where a run's weights went: left in its run directory by a push, read when its result is submitted."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from divsal_bench import whole
from divsal_bench.errors import UserError, field_problem
from divsal_bench.hub.client import is_commit, parse_id
from divsal_bench.trained import weights_sha256

FILE = "hub.json"
#: Bytes of it; ours have some hundred.
LARGEST = 100_000
PUBLIC = "https://huggingface.co"


@dataclass(frozen=True)
class Link:
    """One commit on the Hub.

    Attributes:
        repo: ``org/name``.
        commit: 40 digits.
        sha256: Of the weights that were pushed.
        endpoint: Of the Hub they were pushed to.
        private: Whether only some may read it.
    """

    repo: str
    commit: str
    sha256: str
    endpoint: str = PUBLIC
    private: bool = False

    @property
    def problem(self) -> str:
        """Why a result cannot link there; "" if it can."""
        if self.endpoint.rstrip("/") != PUBLIC:
            return f"{self.repo} is on another Hub ({self.endpoint})"
        return f"{self.repo} is private" if self.private else ""


def leave(run: Path, link: Link) -> None:
    """Write it into a run directory."""
    whole.write(run / FILE, (json.dumps(asdict(link), indent=1) + "\n").encode())


def read(run: Path) -> Link | None:
    """The commit that holds a run's weights; None if they were not pushed, or are others now.

    Raises:
        UserError: The file is damaged.
    """
    file = run / FILE
    if not os.path.lexists(file):
        return None
    try:
        if not file.is_file() or file.stat().st_size > LARGEST:
            raise ValueError("it is no file, or too large")
        found = TypeAdapter(Link).validate_json(file.read_bytes(), strict=True)
        repo = parse_id(found.repo)
        if repo is None or repo[1] is not None or not is_commit(found.commit):
            raise ValueError(f"{found.repo}@{found.commit} is no commit")
    except ValidationError as error:
        field, problem = field_problem(error.errors())
        raise UserError(f"{file} is damaged ({field or 'it'} {problem}); delete it and push again") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{file} is damaged ({error}); delete it and push again") from error
    return found if found.sha256 == weights_sha256(run) else None
