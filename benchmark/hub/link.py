"""Where a run's weights went: left in its run directory by a push, read when its result is submitted."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from divsal_bench.errors import UserError
from divsal_bench.files import foreign, whole
from divsal_bench.hub.client import PUBLIC, is_commit, parse_id
from divsal_bench.runs.store import weights_sha256

FILE = "hub.json"
LARGEST = 2**16


@dataclass(frozen=True)
class Link:
    """One commit on the Hub.

    Attributes:
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


#: What the types of its values are.
EXAMPLE = Link("", "", "")


def leave_link(run: Path, link: Link) -> None:
    """Write it into a run directory."""
    whole.write(run / FILE, (json.dumps(asdict(link), indent=1) + "\n").encode())


def read_link(run: Path) -> Link | None:
    """The commit that holds a run's weights; None if none does, or they are others now; UserError if it is damaged."""
    file = run / FILE
    try:
        content = foreign.read_json(file, LARGEST)
        if not isinstance(content, dict):
            raise ValueError("it is no JSON object")
        found = Link(**content)
        if any(type(getattr(found, one.name)) is not type(getattr(EXAMPLE, one.name)) for one in fields(found)):
            raise ValueError("a value has another type")
        repo = parse_id(found.repo)
        if repo is None or repo[1] is not None or not is_commit(found.commit):
            raise ValueError(f"{found.repo}@{found.commit} is no commit")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{file} is damaged ({error}); delete it and push again") from error
    return found if found.sha256 == weights_sha256(run) else None
