"""Data sets on the Hugging Face Hub, always at a commit."""

from __future__ import annotations

from contextlib import AbstractContextManager
from fnmatch import fnmatchcase
from pathlib import Path

from divsal_bench.data.canonical import INFO_FILE, Info, parse_info
from divsal_bench.errors import UserError
from divsal_bench.hub.client import broken_connection, is_commit
from divsal_bench.hub.fetch import Limits, Offer, cached_snapshot, fetch, is_cached, offer
from divsal_bench.hub.guard import UnreachableError
from divsal_bench.hub.refusals import plain_errors

#: Bytes of ``divsal.json``, and of one Parquet file, of which this program makes some 256 MB.
LARGEST_INFO, LARGEST_SHARD = 2**26, 2**33
LACKING = f"no {INFO_FILE}: it was not made by divsal-bench data prepare"


def commit_of(repo: str, revision: str | None) -> str:
    """Return the commit that a branch, tag or commit of a data set names now.

    A full commit is returned as it is, so that a pinned data set in the local cache needs no network.

    Args:
        revision: Branch, tag or commit; None is the default branch.

    Raises:
        UserError: No network, or the Hub does not know it or does not grant access.
    """
    if revision is not None and is_commit(revision):
        return revision
    with _plain_errors(repo, revision):
        return offer("dataset", repo, revision, lambda name: None).commit


def info_of(repo: str, commit: str) -> Info:
    """Download ``divsal.json`` of a data set and read it.

    Raises:
        UserError: As :func:`commit_of`, or it is not a data set that this program wrote.
    """
    folder = is_cached("dataset", repo, commit, INFO_FILE)
    if folder is None:
        with _plain_errors(repo, commit):
            offered = _offered(repo, commit, lambda name: LARGEST_INFO if name == INFO_FILE else None)
            folder = (
                cached_snapshot("dataset", repo, commit, INFO_FILE)
                if offered is None
                else fetch("dataset", repo, commit, offered, whole=False)
            )
    return parse_info(folder / INFO_FILE)


def download(repo: str, commit: str) -> Path:
    """Download a data set, or find it in the local cache.

    Returns:
        The folder of the copy, as complete as the Hub's.

    Raises:
        UserError: As :func:`info_of`.
    """
    folder = is_cached("dataset", repo, commit)
    if folder is not None:
        return folder
    with _plain_errors(repo, commit):
        offered = _offered(repo, commit, _limit)
        if offered is not None:
            return fetch("dataset", repo, commit, offered)
        folder = cached_snapshot("dataset", repo, commit, INFO_FILE)
        shards = parse_info(folder / INFO_FILE).files
        folder = cached_snapshot("dataset", repo, commit, INFO_FILE, shards)
    lacking = [name for name in shards if not (folder / name).is_file()]
    if lacking:
        raise UserError(f"{lacking[0]} of {repo}@{commit} is not in the local cache, and the Hub cannot be reached")
    return folder


def _limit(name: str) -> int | None:
    if name == INFO_FILE:
        return LARGEST_INFO
    return LARGEST_SHARD if fnmatchcase(name, "data/*.parquet") else None


def _offered(repo: str, commit: str, limits: Limits) -> Offer | None:
    """What the Hub has; None where it cannot be reached."""
    from huggingface_hub import errors

    try:
        found = offer("dataset", repo, commit, limits)
    except errors.OfflineModeIsEnabled:
        return None
    except (UnreachableError, broken_connection()) as error:
        if getattr(error, "response", None) is not None:
            raise
        return None
    if INFO_FILE not in found.files:
        raise UserError(f"the Hub data set {repo} at {commit} has {LACKING}")
    return found


def _plain_errors(repo: str, revision: str | None) -> AbstractContextManager[None]:
    return plain_errors(
        "dataset",
        repo,
        revision,
        lacking=LACKING,
        instead="use data on this machine: a prepared folder or --data standin",
    )
