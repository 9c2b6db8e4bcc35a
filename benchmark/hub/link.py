"""Where a run's weights went: left in its run directory by a push, read when its result is submitted."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from divsal_bench import whole
from divsal_bench.errors import UserError
from divsal_bench.hub.client import is_commit, parse_id
from divsal_bench.trained import weights_sha256

FILE = "hub.json"
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
    if not file.exists():
        return None
    try:
        found = Link(**json.loads(file.read_text(encoding="utf-8")))
        repo = parse_id(found.repo)
        if repo is None or repo[1] is not None or not is_commit(found.commit):
            raise ValueError(f"{found.repo}@{found.commit} is no commit")
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{file} is damaged ({error}); delete it and push again") from error
    return found if found.sha256 == weights_sha256(run) else None
