"""Data sets on the Hugging Face Hub, always at a commit."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from divsal_bench.data.canonical import INFO_FILE, Info, parse_info
from divsal_bench.errors import UserError

_ID = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")


def parse_id(text: str) -> tuple[str, str | None] | None:
    """Split ``org/name[@revision]`` into repository and revision; None where the text is no such id."""
    match = _ID.fullmatch(text)
    return (match["repo"], match["revision"]) if match else None


def commit_of(repo: str, revision: str | None) -> str:
    """Return the commit that a branch, tag or commit of a data set names now.

    A full commit is returned as it is, so that a pinned data set in the local cache needs no network.

    Args:
        repo: ``org/name``.
        revision: Branch, tag or commit; None is the default branch.

    Raises:
        UserError: No network, or the Hub does not know it or does not grant access.
    """
    from huggingface_hub import HfApi

    if revision is not None and _COMMIT.fullmatch(revision):
        return revision
    with _plain_errors(repo, revision):
        # The library reads HF_ENDPOINT only when it is imported.
        sha = HfApi(endpoint=os.environ.get("HF_ENDPOINT")).dataset_info(repo, revision=revision, timeout=20).sha
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
        path = hf_hub_download(
            repo, INFO_FILE, repo_type="dataset", revision=commit, endpoint=os.environ.get("HF_ENDPOINT")
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
        folder = snapshot_download(
            repo,
            repo_type="dataset",
            revision=commit,
            allow_patterns=[INFO_FILE, "data/*.parquet"],
            endpoint=os.environ.get("HF_ENDPOINT"),
        )
    return Path(folder)


@contextmanager
def _plain_errors(repo: str, revision: str | None) -> Iterator[None]:
    """Turn what the Hub's client raises into one line that says what to do."""
    from huggingface_hub import errors

    # Connection errors of the client's HTTP library; older clients raise OSError for them.
    broken_connection: type[Exception] = getattr(errors, "HTTPError", OSError)
    page = f"https://huggingface.co/datasets/{repo}"
    at = f" at {revision}" if revision else ""
    try:
        yield
    except errors.GatedRepoError as error:
        raise UserError(
            f"the data set {repo} is gated: ask for access at {page}, then log in with `hf auth login`"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(
            f"there is no folder {repo}, and the Hub has no such data set or it is private: "
            "check the name, or log in with `hf auth login`"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise UserError(f"the data set {repo} has no revision {revision!r}; see {page}/commits") from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        raise UserError(
            f"cannot reach the Hub for {repo}{at}, and it is not in the local cache; "
            "connect, or use data on this machine: a prepared folder or --data standin"
        ) from error
    except errors.EntryNotFoundError as error:
        raise UserError(
            f"the Hub data set {repo}{at} has no {INFO_FILE}: it was not made by divsal-bench data prepare"
        ) from error
    except errors.HFValidationError as error:
        raise UserError(f"{repo!r} is not a Hub id; write org/name or org/name@revision") from error
    except (broken_connection, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"cannot get {repo}{at} from the Hub ({reason}); try again, "
            "or use data on this machine: a prepared folder or --data standin"
        ) from error
