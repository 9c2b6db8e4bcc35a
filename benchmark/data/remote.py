"""Data sets on the Hugging Face Hub, always at a commit."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from divsal_bench.data.canonical import INFO_FILE, Info, parse_info
from divsal_bench.errors import UserError
from divsal_bench.hub.client import api, endpoint, is_commit, parse_id, patiently, plain_errors


def commit_of(repo: str, revision: str | None) -> str:
    """Return the commit that a branch, tag or commit of a data set names now.

    A full commit is returned as it is, so that a pinned data set in the local cache needs no network.

    Args:
        repo: ``org/name``.
        revision: Branch, tag or commit; None is the default branch.

    Raises:
        UserError: No network, or the Hub does not know it or does not grant access.
    """
    if revision is not None and is_commit(revision):
        return revision
    with _plain_errors(repo, revision):
        sha = patiently(lambda: api().dataset_info(repo, revision=revision, timeout=20).sha)
    if not sha:
        raise UserError(f"the Hub names no commit for the data set {repo}; give one as {repo}@COMMIT")
    return sha


def info_of(repo: str, commit: str) -> Info:
    """Download ``divsal.json`` of a data set and read it.

    Args:
        repo: ``org/name``.
        commit: A full commit.

    Raises:
        UserError: As :func:`commit_of`, or it is not a data set that this program wrote.
    """
    from huggingface_hub import hf_hub_download

    with _plain_errors(repo, commit):
        path = patiently(
            lambda: hf_hub_download(repo, INFO_FILE, repo_type="dataset", revision=commit, endpoint=endpoint())
        )
    return parse_info(Path(path))


def download(repo: str, commit: str) -> Path:
    """Download a data set, or find it in the local cache.

    Args:
        repo: ``org/name``.
        commit: A full commit.

    Returns:
        The folder of the copy, as complete as the Hub's.

    Raises:
        UserError: As :func:`info_of`.
    """
    from huggingface_hub import snapshot_download

    with _plain_errors(repo, commit):
        folder = patiently(
            lambda: snapshot_download(
                repo,
                repo_type="dataset",
                revision=commit,
                allow_patterns=[INFO_FILE, "data/*.parquet"],
                endpoint=endpoint(),
            )
        )
    return Path(folder)


def _plain_errors(repo: str, revision: str | None) -> AbstractContextManager[None]:
    return plain_errors(
        "dataset",
        repo,
        revision,
        lacking=f"no {INFO_FILE}: it was not made by divsal-bench data prepare",
        instead="use data on this machine: a prepared folder or --data standin",
    )


__all__ = ["commit_of", "download", "info_of", "parse_id"]
