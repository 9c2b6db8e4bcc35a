"""Pull: a repository at a commit, its bytes checked, nothing in it trusted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from divsal_bench.errors import UserError
from divsal_bench.hub.client import broken_connection, is_commit, parse_id
from divsal_bench.hub.fetch import Offer, cached_snapshot, fetch, offer
from divsal_bench.hub.guard import UnreachableError
from divsal_bench.hub.refusals import plain_errors
from divsal_bench.runs.bounds import LARGEST_RECORD
from divsal_bench.runs.names import (
    CONFIG_FILE,
    LARGEST_CONFIG,
    PICKLES,
    PREDICTIONS_FILE,
    PUBLISHED,
    RUN_FILE,
    WEIGHTS_FILE,
)
from divsal_bench.runs.reading import read_run

#: Bytes that each file may have; timm's largest network has some five thousand million.
LARGEST = {CONFIG_FILE: LARGEST_CONFIG, RUN_FILE: LARGEST_RECORD, PREDICTIONS_FILE: 2**30, WEIGHTS_FILE: 2**33}
INSTEAD = "use a run directory on this machine"


@dataclass(frozen=True)
class Snapshot:
    """One commit of a model repository, in the local cache.

    Attributes:
        commit: 40 digits.
        folder: Where its files lie; they belong to the cache, do not change them.
    """

    repo: str
    commit: str
    folder: Path
    notice: str = ""

    @property
    def origin(self) -> str:
        """The pinned id."""
        return f"{self.repo}@{self.commit}"


def snapshot(text: str, files: Sequence[str] = PUBLISHED) -> Snapshot:
    """Fetch a model repository, or find it in the local cache.

    Args:
        text: ``org/name[@revision]``; without a revision ``main``.
        files: Which of its files; those it lacks are not missed here.

    Raises:
        UserError: No such id, no access, no network and nothing cached, a pickle in it, no weights, or bytes that
            are not those the Hub names.
    """
    found = parse_id(text)
    if found is None:
        raise UserError(f"{text!r} is neither a folder nor a Hub id; write org/name or org/name@revision")
    repo, revision = found
    with plain_errors("model", repo, revision, f"no {WEIGHTS_FILE}: it is no divsal-bench or timm repository", INSTEAD):
        offered, notice = offered_model(repo, revision, files)
        if offered is None:
            folder = cached_snapshot("model", repo, revision, WEIGHTS_FILE, files)
        else:
            folder = fetch("model", repo, revision, offered)
    pinned = Snapshot(repo, folder.name, folder, notice)
    if not (folder / WEIGHTS_FILE).is_file() or not ((folder / CONFIG_FILE).is_file() or (folder / RUN_FILE).is_file()):
        raise UserError(no_network_text(pinned.origin))
    require_seed(pinned, revision)
    return pinned


def no_network_text(origin: str) -> str:
    """What to say of a repository that holds no network."""
    return f"{origin} is neither a divsal-bench nor a timm repository: it lacks {WEIGHTS_FILE} or {CONFIG_FILE}"


def require_seed(found: Snapshot, revision: str | None) -> None:
    """Refuse a branch ``seed-N`` that holds another seed's run."""
    asked = re.fullmatch(r"seed-(\d+)", revision or "")
    if asked is None or not (found.folder / RUN_FILE).is_file():
        return
    seed = read_run(found.folder).spec.seed
    if seed != int(asked[1]):
        raise UserError(f"{found.origin}: the branch {revision} holds seed {seed}; ask its owner to push it again")


def offered_model(repo: str, revision: str | None, files: Sequence[str]) -> tuple[Offer | None, str]:
    """What a repository offers of these files; None offline, and a notice.

    Raises:
        UserError: It offers a pickle, or no network.
        Exception: What the client raises.
    """
    from huggingface_hub import errors

    # Exact names, no patterns: a repository must not choose where its files go.
    limits = {name: LARGEST[name] for name in files}
    try:
        found = offer("model", repo, revision, limits.get)
    except errors.OfflineModeIsEnabled:
        return None, ""
    except (UnreachableError, broken_connection()) as error:
        if getattr(error, "response", None) is not None:
            raise
        moved = "" if is_commit(revision) else ", it may have moved on since"
        return None, f"the Hub cannot be reached; {repo} is taken from the local cache{moved}"
    for name in found.names:
        if name.lower().endswith(PICKLES):
            raise UserError(
                f"{repo} offers {name[:100]!r}, a pickle, which can run any code when it is loaded; only "
                "repositories with safetensors alone are accepted"
            )
    if WEIGHTS_FILE not in found.files or not (CONFIG_FILE in found.files or RUN_FILE in found.files):
        raise UserError(no_network_text(f"{repo}@{found.commit}"))
    return found, ""
