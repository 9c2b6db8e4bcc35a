"""Push: files to a branch, idempotent and resumable. What to push is decided elsewhere."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from divsal_bench.errors import UserError
from divsal_bench.hub.client import Kind, api, patiently, plain_push_errors


@dataclass(frozen=True)
class Pushed:
    """What lies on a branch now.

    Attributes:
        commit: 40 digits.
        changed: False where the branch held just these files.
    """

    repo: str
    branch: str
    commit: str
    changed: bool


def open_repository(repo: str, kind: Kind, private: bool) -> dict[str, str]:
    """Create a repository, or find it.

    Args:
        repo: ``org/name``.
        kind: Of repository.
        private: For a new one; one that is there keeps its setting, unless this asks for more privacy.

    Returns:
        Branch to its commit.

    Raises:
        UserError: No right to write there, the Hub cannot be reached, or it is public and was to be private.
    """
    with plain_push_errors(repo):
        patiently(lambda: api().create_repo(repo, repo_type=kind, private=private, exist_ok=True))
        if private and not patiently(lambda: api().repo_info(repo, repo_type=kind)).private:
            raise UserError(f"{repo} is there already and public; make it private on the Hub first, or leave --private")
        refs = patiently(lambda: api().list_repo_refs(repo, repo_type=kind))
    return {one.name: one.target_commit for one in refs.branches}


def push(
    repo: str, kind: Kind, branch: str, files: Mapping[str, bytes | Path], message: str, heads: dict[str, str]
) -> Pushed:
    """Put files on a branch in one commit; files that are there unchanged are not sent, and if all are, none is made.

    Args:
        repo: ``org/name``.
        kind: Of repository.
        branch: Made from ``main`` if it is not there.
        files: Path in the repository to bytes, or to the file that holds them.
        message: Of the commit.
        heads: Branch to commit, from :func:`open_repository`; updated.

    Raises:
        UserError: It broke off; the same again goes on.
    """
    from huggingface_hub import CommitOperationAdd

    with plain_push_errors(repo), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*about to commit a data file")  # the predictions, on purpose
        if branch not in heads:
            patiently(lambda: api().create_branch(repo, branch=branch, repo_type=kind, exist_ok=True))
            heads[branch] = heads["main"]
        done = patiently(
            lambda: api().create_commit(
                repo,
                # Made anew for each try: the client marks operations that it has dealt with.
                [CommitOperationAdd(path, given) for path, given in sorted(files.items())],
                commit_message=message,
                repo_type=kind,
                revision=branch,
            )
        )
    changed = done.oid != heads[branch]
    heads[branch] = done.oid
    return Pushed(repo, branch, done.oid, changed)
