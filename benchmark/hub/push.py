"""Push: files to a branch, idempotent and resumable. What to push is decided elsewhere."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from divsal_bench.errors import UserError
from divsal_bench.hub.client import RepoKind, address, api, is_commit, patiently
from divsal_bench.hub.guard import Guard, MisbehavedError
from divsal_bench.hub.refusals import plain_push_errors

#: Files that the Hub itself puts into a repository.
KEPT = {".gitattributes"}


@dataclass(frozen=True)
class Repository:
    """One repository that may be written.

    Attributes:
        heads: Branch to its commit; kept up to date.
        first: Its first commit, which holds no file of ours.
        private: Whether only some may read it.
    """

    name: str
    kind: RepoKind
    heads: dict[str, str]
    first: str
    private: bool


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


def open_repository(repo: str, kind: RepoKind, private: bool) -> Repository:
    """Create a repository, or find it.

    Args:
        private: For a new one; one that is there keeps its setting, unless this asks for more privacy.

    Raises:
        UserError: No right to write there, the Hub cannot be reached, or it is public and was to be private.
    """
    with plain_push_errors(repo):
        patiently(lambda: api().create_repo(repo, repo_type=kind, private=private, exist_ok=True))
        is_private = bool(patiently(lambda: api().repo_info(repo, repo_type=kind).private))
        if private and not is_private:
            raise UserError(f"{repo} is there already and public; make it private on the Hub first, or leave --private")
        heads = patiently(lambda: heads_of(repo, kind))
        first = patiently(lambda: commit(api().list_repo_commits(repo, repo_type=kind)[-1].commit_id))
    return Repository(repo, kind, heads, first, is_private)


def heads_of(repo: str, kind: RepoKind) -> dict[str, str]:
    """Branch to its commit."""
    return {str(one.name): commit(one.target_commit) for one in api().list_repo_refs(repo, repo_type=kind).branches}


def commit(found: object) -> str:
    """What the Hub calls a commit, if it is one."""
    if not isinstance(found, str) or not is_commit(found):
        raise MisbehavedError(f"names the commit {str(found)[:60]!r}, which is none")
    return found


def push_branch(to: Repository, branch: str, files: Mapping[str, bytes | Path], message: str) -> Pushed:
    """Let a branch hold just these files, in one commit; what is there unchanged is not sent; if all is, none is made.

    Args:
        to: From :func:`open_repository`.
        branch: Made from the first commit if need be, so that a push that breaks off leaves no other seed there.
        files: Path in the repository to bytes, or to the file that holds them.

    Raises:
        UserError: It broke off; the same again goes on.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    repo, kind = to.name, to.kind
    with plain_push_errors(repo), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*about to commit a data file")  # the predictions, on purpose
        if branch not in to.heads:
            patiently(
                lambda: api().create_branch(repo, branch=branch, revision=to.first, repo_type=kind, exist_ok=True)
            )
            to.heads[branch] = to.first
        there = patiently(lambda: set(api().list_repo_files(repo, revision=branch, repo_type=kind)))
        left = sorted(there - set(files) - KEPT)
        made = patiently(
            lambda: commit(
                api()
                .create_commit(
                    repo,
                    # Made anew for each try: the client marks operations that it has dealt with.
                    [CommitOperationAdd(path, given) for path, given in sorted(files.items())]
                    + [CommitOperationDelete(path) for path in left],
                    commit_message=message,
                    repo_type=kind,
                    revision=branch,
                )
                .oid
            ),
            Guard(address(), question=False, sending=True),
        )
    changed = made != to.heads[branch]
    to.heads[branch] = made
    return Pushed(repo, branch, made, changed)
