"""Fetch files of a repository: announced by the Hub, of a bounded size, and compared with the Hub's checksum."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from divsal_bench.errors import UserError
from divsal_bench.files import foreign, whole
from divsal_bench.hub.client import RepoKind, address, api, broken_connection, endpoint, is_commit, patiently
from divsal_bench.hub.guard import Guard, MisbehavedError, UnreachableError

#: Inside a repository's folder of the client's cache: what the Hub said of the files that were fetched.
KEPT = "divsal-bench"
LARGEST_LIST = 2**22
#: A file's name in a repository that is also one here, on every system.
NAME = re.compile(r"[A-Za-z0-9_][\w.-]{0,200}(/[A-Za-z0-9_][\w.-]{0,200}){0,3}", re.ASCII)
#: Bytes that errors and redirects may take beside a small file.
SPARE = 2**16


@dataclass(frozen=True)
class Announced:
    """What the Hub says of a file.

    Attributes:
        size: Bytes.
        checksum: sha256 (64 digits) of a large file, sha1 of a small one's git blob (40 digits).
    """

    size: int
    checksum: str

    def holds(self, path: Path) -> bool:
        """Whether these bytes are in a file."""
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size != self.size:
                    return False
                kind = "sha256" if len(self.checksum) == 64 else "sha1"
                start = b"" if kind == "sha256" else b"blob %d\0" % size
                digest = hashlib.new(kind, start, usedforsecurity=False)
                while piece := file.read(2**20):
                    digest.update(piece)
        except OSError:
            return False
        return digest.hexdigest() == self.checksum


@dataclass(frozen=True)
class Offer:
    """What a repository holds at a commit.

    Attributes:
        commit: 40 digits.
        names: Of all its files.
        files: Those that were asked for.
    """

    commit: str
    names: tuple[str, ...]
    files: Mapping[str, Announced]


#: A file's name to the bytes it may have; None for one that is left there.
Limits = Callable[[str], int | None]


def offer(kind: RepoKind, repo: str, revision: str | None, limits: Limits) -> Offer:
    """Ask the Hub what a repository holds.

    Raises:
        UserError: A file is larger than it may be.
        Exception: What the client raises.
    """
    ask = api().model_info if kind == "model" else api().dataset_info

    def answer() -> Offer:
        info = ask(repo, revision=revision, timeout=10, files_metadata=True)
        commit = info.sha
        if not isinstance(commit, str) or not is_commit(commit):
            raise MisbehavedError(f"names no commit of {repo}")
        if is_commit(revision) and commit != revision:
            raise MisbehavedError(f"names {commit[:8]} when asked for the commit {str(revision)[:8]}")
        files = {}
        for one in info.siblings or []:
            limit = limits(one.rfilename)
            if limit is None:
                continue
            if not NAME.fullmatch(one.rfilename):
                raise MisbehavedError(f"offers a file {one.rfilename[:60]!r}, which is no name here")
            checksum = one.lfs.sha256 if one.lfs else one.blob_id
            size = one.lfs.size if one.lfs else one.size
            if type(size) is not int or size < 0 or not re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", str(checksum)):
                raise MisbehavedError(f"names no size and checksum of {one.rfilename}")
            if size > limit:
                raise UserError(
                    f"{one.rfilename} of {repo} has {size:,} bytes, {limit:,} are allowed; it is none that this "
                    "program wrote"
                )
            files[one.rfilename] = Announced(size, str(checksum))
        return Offer(commit, tuple(str(one.rfilename) for one in info.siblings or []), files)

    return patiently(answer)


def fetch(kind: RepoKind, repo: str, revision: str | None, offered: Offer, whole: bool = True) -> Path:
    """Bring the offered files into the client's cache, or find them there, and check every byte.

    Args:
        revision: By which it was asked for, so that the cache knows offline what the name stood for.
        offered: From :func:`offer`.
        whole: These are all files that will ever be asked for; they are remembered with their checksums.

    Returns:
        The folder that holds them.

    Raises:
        UserError: Damaged twice, no room on the disk, or damaged in the cache and no network.
        Exception: What the client raises.
    """
    folder = None
    asked = revision
    for name, announced in sorted(offered.files.items()):
        path = get_file(kind, repo, asked, name, announced)
        place = snapshot_folder(path, name)
        if place.name != offered.commit:  # the branch has moved between two questions
            path = get_file(kind, repo, offered.commit, name, announced)
            place = snapshot_folder(path, name)
            if place.name != offered.commit:
                raise MisbehavedError(f"names another commit than {offered.commit[:8]} for {name}")
        asked, folder = offered.commit, place
        if not announced.holds(path):
            fetch_again(kind, repo, offered.commit, path, name, announced)
    if folder is None:
        raise MisbehavedError(f"offers no file of {repo} that is looked for")
    if whole:
        remember_checksums(folder, offered.files)
    return folder


def get_file(
    kind: RepoKind, repo: str, revision: str | None, name: str, announced: Announced, force: bool = False
) -> Path:
    """One file through the client, not checked."""
    from huggingface_hub import constants, hf_hub_download

    cache = Path(constants.HF_HUB_CACHE)
    with suppress(OSError):
        cache.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(cache).free
        if announced.size > free:
            raise UserError(f"{name} of {repo} has {announced.size:,} bytes, {cache} has room for {free:,}; make room")
    most = announced.size + SPARE
    guard = Guard(address(), largest=most, all=3 * most, question=False)
    fetched = partial(
        hf_hub_download, repo, name, repo_type=kind, revision=revision, endpoint=endpoint(), force_download=force
    )
    return Path(patiently(fetched, guard))


def snapshot_folder(path: Path, name: str) -> Path:
    """The snapshot's folder that a file lies in."""
    return path.parents[name.count("/")]


def fetch_again(kind: RepoKind, repo: str, commit: str, path: Path, name: str, announced: Announced) -> None:
    """Fetch a damaged file anew, which stays until there is a better one; UserError if that is damaged, or offline."""
    from huggingface_hub import errors

    # Where there are no links the client would keep the file that is there.
    aside = whole.aside_of(path)
    path.replace(aside)
    try:
        get_file(kind, repo, commit, name, announced, force=True)
    except (errors.OfflineModeIsEnabled, UnreachableError) as error:
        raise UserError(damaged_text(repo, commit, name)) from error
    except (errors.LocalEntryNotFoundError, broken_connection(), OSError) as error:
        if getattr(error, "response", None) is not None:
            raise
        raise UserError(damaged_text(repo, commit, name)) from error
    finally:
        if os.path.lexists(path):
            aside.unlink()
        else:
            aside.replace(path)
    if announced.holds(path):
        return
    for one in (path.resolve(), path):
        one.unlink(missing_ok=True)
    raise UserError(
        f"{name} of {repo}@{commit} arrived damaged twice: its checksum is not the Hub's; it was deleted, try again "
        "later"
    )


def damaged_text(repo: str, commit: str, name: str) -> str:
    """What to say of a damaged file and no network."""
    return (
        f"{name} of {repo}@{commit} is damaged in the local cache, and the Hub cannot be reached; connect and give the "
        "command again"
    )


def cached_snapshot(kind: RepoKind, repo: str, revision: str | None, needed: str, others: Iterable[str] = ()) -> Path:
    """The folder of the cache that holds a repository, without asking the Hub; what lies there is checked.

    Args:
        needed: A file that must be there.
        others: More files to check, where the cache has them.

    Raises:
        UserError: A file is damaged, was never fetched whole, or has nothing to be compared with.
        LocalEntryNotFoundError: It is not there.
    """
    from huggingface_hub import hf_hub_download

    path = Path(hf_hub_download(repo, needed, repo_type=kind, revision=revision, local_files_only=True))
    folder = snapshot_folder(path, needed)
    known = remembered(folder)
    here = [name for name in dict.fromkeys((needed, *others)) if os.path.lexists(folder / name)]
    for name in known or here:
        expected = known.get(name) or by_name(folder / name)
        if expected is None:
            raise UserError(
                f"nothing says what {name} of {repo}@{folder.name} in the local cache must be, and the Hub cannot be "
                "reached; connect and give the command again"
            )
        if not expected.holds(folder / name):
            raise UserError(damaged_text(repo, folder.name, name))
    return folder


def is_cached(kind: RepoKind, repo: str, commit: str, name: str | None = None) -> Path | None:
    """The folder that holds what was fetched of a commit, if every file is there and whole.

    Args:
        name: Look at this file alone.
    """
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    folder = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repo, repo_type=kind) / "snapshots" / commit
    known = remembered(folder)
    names = [name] if name is not None else list(known)
    if not known or any(one not in known or not known[one].holds(folder / one) for one in names):
        return None
    return folder


def by_name(path: Path) -> Announced | None:
    """What a file in the cache must be, by the name under which the client stores what a link there shows."""
    stored = path.resolve()
    if not path.is_symlink() or re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", stored.name) is None:
        return None
    size = stored.stat().st_size if stored.is_file() else 0
    return Announced(size, stored.name)


def remember_checksums(folder: Path, files: Mapping[str, Announced]) -> None:
    """Keep checksums beside the cached files: without links nothing else there knows them."""
    if remembered(folder) == files:
        return
    place = list_of(folder)
    content = {name: [one.size, one.checksum] for name, one in sorted(files.items())}
    with suppress(OSError, UserError):  # a cache may be read-only
        place.parent.mkdir(exist_ok=True)
        whole.sweep([place.parent])
        whole.write(place, json.dumps(content).encode())


def remembered(folder: Path) -> dict[str, Announced]:
    """What was kept of a commit; nothing where that is missing or damaged, for the Hub can be asked again."""
    try:
        content = foreign.read_json(list_of(folder), LARGEST_LIST)
        if not isinstance(content, dict):
            return {}
        return {
            name: Announced(int(size), str(checksum))
            for name, (size, checksum) in content.items()
            if NAME.fullmatch(name)
        }
    except (OSError, ValueError, TypeError):
        return {}


def list_of(folder: Path) -> Path:
    """Where the checksums of a snapshot are kept."""
    return folder.parent.parent / KEPT / f"{folder.name}.json"
