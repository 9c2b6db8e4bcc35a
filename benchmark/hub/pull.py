"""Pull: a repository at a commit, its bytes checked, nothing in it trusted."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from divsal_bench.errors import UserError
from divsal_bench.hub.client import (
    api,
    broken_connection,
    endpoint,
    is_commit,
    parse_id,
    patiently,
    plain_errors,
)  # fmt: skip
from divsal_bench.hub.contents import CONFIG, FILES, RECORD, WEIGHTS
from divsal_bench.records import read_run
from divsal_bench.trained import PICKLES

INSTEAD = "use a run directory on this machine"


@dataclass(frozen=True)
class Snapshot:
    """One commit of a model repository, in the local cache.

    Attributes:
        repo: ``org/name``.
        commit: 40 digits.
        folder: Where its files lie; they belong to the cache, do not change them.
        notice: What the user should know, in plain language.
    """

    repo: str
    commit: str
    folder: Path
    notice: str = ""

    @property
    def origin(self) -> str:
        """The pinned id."""
        return f"{self.repo}@{self.commit}"


def snapshot(text: str, files: Sequence[str] = FILES) -> Snapshot:
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
    errors = plain_errors("model", repo, revision, f"no {WEIGHTS}: it is no divsal-bench or timm repository", INSTEAD)
    with errors:
        commit, notice = commit_of(repo, revision)
        # By its name first: the cache then knows offline what the name stood for.
        folder = download(repo, revision, files, offline=commit is None)
        if commit is not None and folder.name != commit:
            folder = download(repo, commit, files)
    pinned = Snapshot(repo, folder.name, folder, notice)
    if not is_commit(pinned.commit):
        raise UserError(f"the Hub names no commit for {text}; give one as {repo}@COMMIT")
    if not (folder / WEIGHTS).is_file() or not ((folder / CONFIG).is_file() or (folder / RECORD).is_file()):
        raise UserError(
            f"{pinned.origin} is neither a divsal-bench nor a timm repository: it lacks {WEIGHTS} or {CONFIG}"
        )
    damaged = [name for name in files if not is_whole(folder / name)]
    if damaged:
        # One more try: a download is damaged more often than a disk.
        with plain_errors("model", repo, revision, "", INSTEAD):
            again(repo, folder.name, folder, damaged)
        damaged = [name for name in files if not is_whole(folder / name)]
    if damaged:
        for name in damaged:
            (folder / name).resolve().unlink(missing_ok=True)
        raise UserError(
            f"{damaged[0]} of {pinned.origin} arrived damaged twice: its checksum is not the Hub's; it was deleted, "
            "try again later"
        )
    require_seed(pinned, revision)
    return pinned


def require_seed(found: Snapshot, revision: str | None) -> None:
    """Refuse a branch ``seed-N`` that holds another seed's run.

    Raises:
        UserError: It does.
    """
    asked = re.fullmatch(r"seed-(\d+)", revision or "")
    if asked is None or not (found.folder / RECORD).is_file():
        return
    seed = read_run(found.folder).spec.seed
    if seed != int(asked[1]):
        raise UserError(f"{found.origin}: the branch {revision} holds seed {seed}; ask its owner to push it again")


def commit_of(repo: str, revision: str | None) -> tuple[str | None, str]:
    """The commit a revision names now, after a look at what the repository offers; None offline, and a notice.

    Raises:
        UserError: It offers a pickle.
        Exception: What the client raises.
    """
    from huggingface_hub import errors

    try:
        info = patiently(lambda: api().model_info(repo, revision=revision, timeout=20))
    except errors.OfflineModeIsEnabled:
        return None, ""
    except broken_connection() as error:
        if getattr(error, "response", None) is not None:
            raise
        moved = "" if is_commit(revision) else ", it may have moved on since"
        return None, f"the Hub cannot be reached; {repo} is taken from the local cache{moved}"
    for one in info.siblings or []:
        if one.rfilename.lower().endswith(PICKLES):
            raise UserError(
                f"{repo} offers {one.rfilename[:100]!r}, a pickle, which can run any code when it is loaded; only "
                "repositories with safetensors alone are accepted"
            )
    return info.sha, ""


def download(repo: str, revision: str | None, files: Sequence[str], offline: bool = False) -> Path:
    """The folder of the client's cache that holds these files."""
    from huggingface_hub import snapshot_download

    # Exact names, no patterns: a repository must not choose where its files go.
    return Path(
        patiently(
            lambda: snapshot_download(
                repo, revision=revision, allow_patterns=list(files), local_files_only=offline, endpoint=endpoint()
            )
        )
    )


def again(repo: str, commit: str, folder: Path, names: Sequence[str]) -> None:
    """Fetch some files anew."""
    from huggingface_hub import hf_hub_download

    for name in names:
        (folder / name).resolve().unlink(missing_ok=True)
        fetch = partial(hf_hub_download, repo, name, revision=commit, endpoint=endpoint(), force_download=True)
        patiently(fetch)


def is_whole(path: Path) -> bool:
    """Whether a cached file has the checksum that the cache files it under; True where there is none to compare.

    The client compares lengths only. It names what it stores by the Hub's own checksum: sha256 for large files, the
    git blob's sha1 for small ones.
    """
    if not path.is_symlink():
        return True
    stored = path.resolve()
    try:
        with stored.open("rb") as file:
            if re.fullmatch("[0-9a-f]{64}", stored.name):
                return hashlib.file_digest(file, "sha256").hexdigest() == stored.name
            if re.fullmatch("[0-9a-f]{40}", stored.name):
                content = file.read()
                return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == stored.name
    except OSError:
        return False
    return True
