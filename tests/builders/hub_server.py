"""A server on this machine that speaks the protocol of the Hugging Face Hub, for tests with the real clients.

`HubServer` runs in threads of the test, `HubProcess` in a process of its own that can be killed. Everything lies
in a folder, so that a server started again on the same folder goes on where the last one ended.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import parse_qs, unquote, urlsplit
from urllib.request import ProxyHandler, Request, build_opener

KINDS = {"model": "models", "dataset": "datasets", "space": "spaces"}
LFS_SUFFIXES = (".safetensors", ".parquet", ".bin", ".pt", ".png")
LFS_ABOVE = 1_000_000  # bytes
PIECE = 65_536  # bytes read or written at once
MAIN = "refs/heads/main"
FIRST_FILES = {".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"}
COMMIT_ID = re.compile(r"[0-9a-f]{5,40}")
NAME = re.compile(r"\w[\w.-]{0,95}")
CARD_FIELD = re.compile(r"^(\w+):[ ]*(.*)\n?((?:[ ]*- [^:\n]+\n?)*)", re.MULTILINE)

Json = dict[str, Any]


@dataclass(frozen=True)
class User:
    """Whose token it is, in which organisations, and whether the token may write."""

    name: str
    orgs: tuple[str, ...] = ()
    writes: bool = True

    def belongs_to(self, namespace: str) -> bool:
        return namespace == self.name or namespace in self.orgs


USERS = {
    "hf_ann": User("ann", ("lab",)),
    "hf_bob": User("bob"),
    "hf_ann_reads": User("ann", ("lab",), writes=False),
}


@dataclass
class Logged:
    """One request that was made. `status` is None where the connection was dropped without an answer."""

    method: str
    path: str
    query: str = ""
    status: int | None = None
    authorized: bool = False
    user: str | None = None
    bytes_in: int = 0
    bytes_out: int = 0


@dataclass
class Fault:
    """What goes wrong with the next `times` requests whose method and path match the two patterns."""

    kind: str  # fail, cut, lose, corrupt or delay; answer, endless, silent or drip for a server that is hostile
    method: str
    path: str
    times: int = 1
    status: int = 500
    retry_after: int | None = None
    after_bytes: int = 0
    reset: bool = False
    seconds: float = 0
    at: int | None = None
    body: str | None = None
    headers: dict[str, str | None] = field(default_factory=dict)

    def fits(self, method: str, path: str) -> bool:
        return self.times > 0 and bool(re.fullmatch(self.method, method)) and bool(re.search(self.path, path))


class RefusedError(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, message: str, code: str | None = None, **content: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.headers: dict[str, str] = {}
        self.content = content


class DroppedError(Exception):
    """The connection ends here."""


@dataclass
class Answer:
    """Status, headers and a body, which is in memory or a part of a file."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    file: Path | None = None
    start: int = 0
    size: int | None = None

    @property
    def length(self) -> int:
        return len(self.body) if self.size is None else self.size

    def pieces(self) -> Iterator[bytes]:
        """The body in the order it is sent."""
        if self.file is None:
            yield from (self.body[start : start + PIECE] for start in range(0, len(self.body), PIECE))
            return
        with self.file.open("rb") as file:
            file.seek(self.start)
            left = self.length
            while left:
                piece = file.read(min(left, PIECE))
                left -= len(piece)
                yield piece


def as_json(content: object, status: int = 200) -> Answer:
    return Answer(status, {"Content-Type": "application/json; charset=utf-8"}, json.dumps(content).encode())


# --- repositories on disk -----------------------------------------------------------------------------------------


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that nobody ever sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{uuid.uuid4().hex}")
    aside.write_bytes(data)
    aside.replace(path)


def git_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def pointer(sha256: str, size: int) -> bytes:
    """What git holds of a large file."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def is_large(path: str, size: int) -> bool:
    """Whether a file goes to the large file storage. An empty one never does."""
    return size > 0 and (size > LFS_ABOVE or path.lower().endswith(LFS_SUFFIXES))


def card_fields(readme: bytes) -> Json:
    """The plain values and lists at the top level of a card's header, without nested ones."""
    header = re.match(r"---\n(.*?)\n---", readme.decode(errors="replace"), re.DOTALL)
    fields: Json = {}
    for name, value, items in CARD_FIELD.findall(header[1] if header else ""):
        if items:
            fields[name] = [item.strip().strip("'\"") for item in re.findall(r"- (.+)", items)]
        elif value:
            fields[name] = value.strip().strip("'\"")
    return fields


class Repository:
    """One repository: its settings, references, commits and contents."""

    def __init__(self, folder: Path, kind: str, name: str) -> None:
        self.folder = folder / kind / name
        self.kind = kind
        self.name = name

    @property
    def namespace(self) -> str:
        return self.name.split("/")[0]

    @property
    def exists(self) -> bool:
        return (self.folder / "settings.json").is_file()

    @property
    def web_path(self) -> str:
        return self.name if self.kind == "models" else f"{self.kind}/{self.name}"

    def read(self, file: str) -> Json:
        content: Json = json.loads((self.folder / file).read_bytes())
        return content

    @property
    def settings(self) -> Json:
        return self.read("settings.json")

    def change(self, **settings: object) -> None:
        earlier = self.settings if self.exists else {}
        write_whole(self.folder / "settings.json", json.dumps({**earlier, **settings}).encode())

    @property
    def refs(self) -> dict[str, str]:
        return self.read("refs.json")

    def point(self, ref: str, commit: str | None) -> None:
        """Let a branch, a tag or a pull request name a commit, or take it away."""
        refs = {**self.refs, ref: commit} if (self.folder / "refs.json").exists() else {ref: commit}
        kept = {name: target for name, target in refs.items() if target is not None}
        write_whole(self.folder / "refs.json", json.dumps(kept).encode())

    def commit_of(self, revision: str) -> str | None:
        """The full id of the commit that a branch, a tag or the beginning of an id names."""
        refs = self.refs
        for ref in (f"refs/heads/{revision}", f"refs/tags/{revision}", revision):
            if ref in refs:
                return refs[ref]
        if not COMMIT_ID.fullmatch(revision):
            return None
        return next((path.stem for path in (self.folder / "commits").glob(f"{revision}*.json")), None)

    def commit(self, commit: str) -> Json:
        return self.read(f"commits/{commit}.json")

    def history(self, commit: str | None) -> Iterator[Json]:
        """The commits from the newest to the first."""
        while commit is not None:
            found = self.commit(commit)
            yield found
            commit = found["parent"]

    def add_commit(self, ref: str, parent: str | None, files: Json, title: str, message: str, author: str) -> str:
        commit = {"parent": parent, "files": files, "title": title, "message": message, "author": author, "date": now()}
        made = hashlib.sha1(json.dumps(commit).encode() + uuid.uuid4().bytes).hexdigest()
        write_whole(self.folder / "commits" / f"{made}.json", json.dumps({"id": made, **commit}).encode())
        self.point(ref, made)
        return made

    def large(self, sha256: str) -> Path:
        return self.folder / "large" / sha256

    def small(self, sha1: str) -> Path:
        return self.folder / "small" / sha1

    def keep(self, path: str, data: bytes) -> Json:
        """Store contents as an upload of that path would."""
        if not is_large(path, len(data)):
            return self.keep_small(data)
        sha256 = hashlib.sha256(data).hexdigest()
        write_whole(self.large(sha256), data)
        return {"oid": sha256, "size": len(data), "lfs": True}

    def keep_small(self, data: bytes) -> Json:
        write_whole(self.small(git_id(data)), data)
        return {"oid": git_id(data), "size": len(data), "lfs": False}

    def content(self, entry: Json) -> Path:
        return self.large(entry["oid"]) if entry["lfs"] else self.small(entry["oid"])

    def listed(self, path: str, entry: Json, commit: Json | None = None) -> Json:
        """A file as listings give it."""
        found = {"type": "file", "path": path, "size": entry["size"], "oid": entry["oid"]}
        if entry["lfs"]:
            small = pointer(entry["oid"], entry["size"])
            lfs = {"oid": entry["oid"], "size": entry["size"], "pointerSize": len(small)}
            found.update(oid=git_id(small), lfs=lfs)
        if commit is not None:
            found["lastCommit"] = {key: commit[key] for key in ("id", "title", "date")}
        return found

    def tree(self, commit: Json, below: str, recursive: bool, expand: bool) -> list[Json]:
        """The files and folders below a folder."""
        shown = commit if expand else None
        start = f"{below}/" if below else ""
        inside = {path: entry for path, entry in commit["files"].items() if path.startswith(start)}
        deep = {path: path[len(start) :].split("/") for path in inside}
        folders = {start + "/".join(parts[:n]) for parts in deep.values() for n in range(1, len(parts))}
        listed = [folder_entry(path, shown) for path in folders]
        listed += [self.listed(path, entry, shown) for path, entry in inside.items()]
        kept = [entry for entry in listed if recursive or "/" not in entry["path"][len(start) :]]
        return sorted(kept, key=lambda entry: entry["path"])


def folder_entry(path: str, commit: Json | None = None) -> Json:
    entry: Json = {"type": "directory", "path": path, "size": 0, "oid": git_id(path.encode())}
    if commit is not None:
        entry["lastCommit"] = {key: commit[key] for key in ("id", "title", "date")}
    return entry


class Store:
    """All repositories below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.incoming = folder / "incoming"
        self.lock = threading.RLock()
        self.incoming.mkdir(parents=True, exist_ok=True)

    def repository(self, kind: str, name: str) -> Repository:
        return Repository(self.folder / "repositories", kind, name)

    def all(self, kind: str) -> list[Repository]:
        places = sorted((self.folder / "repositories" / kind).glob("*/*/settings.json"))
        return [self.repository(kind, f"{place.parts[-3]}/{place.parts[-2]}") for place in places]

    def create(self, kind: str, name: str, private: bool = False) -> Repository:
        """A repository with its first commit. The settings come last: they make it exist."""
        repository = self.repository(kind, name)
        files = {path: repository.keep_small(data) for path, data in FIRST_FILES.items()}
        repository.add_commit(MAIN, None, files, "initial commit", "", repository.namespace)
        repository.change(private=private, gated=False, granted=[], created=now())
        return repository

    def delete(self, repository: Repository) -> None:
        aside = self.incoming / uuid.uuid4().hex
        repository.folder.rename(aside)
        shutil.rmtree(aside)

    def secret(self) -> bytes:
        """What signs the addresses that files are uploaded to."""
        place = self.folder / "secret"
        if not place.exists():
            write_whole(place, secrets.token_bytes(32))
        return place.read_bytes()

    def sweep(self) -> None:
        """Remove what a killed server was receiving."""
        shutil.rmtree(self.incoming)
        self.incoming.mkdir()


# --- the protocol -------------------------------------------------------------------------------------------------


@dataclass
class Call:
    """A request, received in full."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: Message
    user: User | None
    body: Path | None = None
    sha256: str = ""

    def data(self) -> bytes:
        return self.body.read_bytes() if self.body else b""

    def json(self) -> Json:
        content: Json = json.loads(self.data() or b"{}")
        return content

    def lines(self) -> Iterator[Json]:
        if self.body:
            with self.body.open("rb") as file:
                yield from (json.loads(line) for line in file if line.strip())

    def asks(self, name: str) -> bool:
        return self.query.get(name, [""])[0].lower() in ("1", "true")


Route = Callable[["Protocol", Call, dict[str, str]], Answer]
ROUTES: list[tuple[str, re.Pattern[str], Route]] = []
API = r"/api/(?P<kind>models|datasets|spaces)/(?P<name>[^/]+/[^/]+)"
WEB = r"/(?:(?P<kind>datasets|spaces)/)?(?P<name>[^/]+/[^/]+?)"
# The clients quote the slashes of a revision, a browser leaves those of refs/pr/1.
REVISION = r"(?P<revision>refs/\w+/[^/]+|[^/]+)"


def route(method: str, pattern: str) -> Callable[[Route], Route]:
    def add(function: Route) -> Route:
        ROUTES.append((method, re.compile(pattern), function))
        return function

    return add


class Protocol:
    """Answers requests from what is stored."""

    def __init__(self, store: Store, users: Mapping[str, User], url: Callable[[], str]) -> None:
        self.store = store
        self.users = users
        self.url = url
        self.key = store.secret()

    def answer(self, call: Call, authorization: str | None) -> Answer:
        """Find who asks and for what."""
        token = authorization.removeprefix("Bearer ") if authorization else None
        if token is not None and token not in self.users:
            raise RefusedError(401, "Invalid credentials in Authorization header")
        for method, pattern, function in ROUTES:
            found = pattern.fullmatch(call.path)
            if found and method in (call.method, "GET" if call.method == "HEAD" else ""):
                parts = {name: unquote(value) for name, value in found.groupdict().items() if value}
                return function(self, call, {"kind": "models", **parts})
        raise RefusedError(404, "Sorry, we can't find the page you are looking for.")

    def readable(self, call: Call, parts: dict[str, str]) -> Repository:
        """The repository, which to those who may not read it does not exist."""
        repository = self.store.repository(parts["kind"], parts["name"])
        found = all(NAME.fullmatch(part) for part in parts["name"].split("/")) and repository.exists
        if found and (not repository.settings["private"] or self.belongs(call.user, repository)):
            return repository
        if call.user is None:
            raise self.login_needed()
        raise RefusedError(404, "Repository not found", "RepoNotFound")

    def writable(self, call: Call, parts: dict[str, str]) -> Repository:
        repository = self.readable(call, parts)
        if call.user is None:
            raise self.login_needed()
        if not self.belongs(call.user, repository):
            raise RefusedError(403, "Authorization error.")
        self.check_token_writes(call.user)
        return repository

    def check_namespace(self, user: User | None, namespace: str, what: str) -> User:
        """Whether someone may create or delete there."""
        if user is None:
            raise RefusedError(401, "Invalid username or password.")
        if not user.belongs_to(namespace):
            raise RefusedError(403, f'You don\'t have the rights to {what} under the namespace "{namespace}"')
        self.check_token_writes(user)
        return user

    @staticmethod
    def check_token_writes(user: User) -> None:
        if not user.writes:
            raise RefusedError(403, "You must use a write token to upload to a repository.")

    @staticmethod
    def belongs(user: User | None, repository: Repository) -> bool:
        return user is not None and user.belongs_to(repository.namespace)

    @staticmethod
    def login_needed() -> RefusedError:
        # Over https the client takes any 401 below /api/models and the like for a repository that it may not see.
        # Over http, as here, only the code tells it.
        return RefusedError(401, "Invalid username or password.", "RepoNotFound")

    def check_gate(self, user: User | None, repository: Repository) -> None:
        """Whether someone may have the contents of a gated repository; its listings are open to all."""
        settings = repository.settings
        if not settings["gated"] or self.belongs(user, repository):
            return
        what = f"Access to {repository.kind[:-1]} {repository.name} is restricted"
        if user is None:
            log_in = "You must have access to it and be authenticated to access it. Please log in."
            raise RefusedError(401, f"{what}. {log_in}", "GatedRepo")
        if user.name not in settings["granted"]:
            visit = f"Visit {self.url()}/{repository.web_path} to ask for access."
            raise RefusedError(403, f"{what} and you are not in the authorized list. {visit}", "GatedRepo")

    @staticmethod
    def commit_at(repository: Repository, revision: str) -> Json:
        commit = repository.commit_of(revision)
        if commit is None:
            raise RefusedError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return repository.commit(commit)

    def info(self, repository: Repository, commit: Json, blobs: bool) -> Json:
        """What the Hub tells about a repository at a commit."""
        settings = repository.settings
        siblings = [self.sibling(repository, path, entry, blobs) for path, entry in sorted(commit["files"].items())]
        readme = commit["files"].get("README.md")
        card = card_fields(repository.content(readme).read_bytes()) if readme else {}
        tags = card.get("tags", [])
        return {
            "_id": git_id(repository.web_path.encode())[:24],
            "id": repository.name,
            **({"modelId": repository.name} if repository.kind == "models" else {}),
            "author": repository.namespace,
            "sha": commit["id"],
            "lastModified": commit["date"],
            "createdAt": settings["created"],
            "private": settings["private"],
            "gated": settings["gated"],
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": tags if isinstance(tags, list) else [tags],
            "cardData": card,
            "siblings": siblings,
            "usedStorage": sum(entry["size"] for entry in commit["files"].values()),
        }

    @staticmethod
    def sibling(repository: Repository, path: str, entry: Json, blobs: bool) -> Json:
        if not blobs:
            return {"rfilename": path}
        listed = repository.listed(path, entry)
        found = {"rfilename": path, "size": entry["size"], "blobId": listed["oid"]}
        if entry["lfs"]:
            lfs = listed["lfs"]
            found["lfs"] = {"sha256": lfs["oid"], "size": lfs["size"], "pointerSize": lfs["pointerSize"]}
        return found

    def signature(self, path: str) -> str:
        return hmac.new(self.key, path.encode(), hashlib.sha256).hexdigest()


@route("GET", "/api/whoami-v2")
def whoami(hub: Protocol, call: Call, parts: dict[str, str]) -> Answer:
    user = call.user
    if user is None:
        raise RefusedError(401, "Invalid username or password.")
    orgs = [{"type": "org", "name": org, "fullname": org, "roleInOrg": "write"} for org in user.orgs]
    token = {"displayName": "test", "role": "write" if user.writes else "read"}
    auth = {"type": "access_token", "accessToken": token}
    return as_json({"type": "user", "name": user.name, "fullname": user.name, "orgs": orgs, "auth": auth})


@route("POST", "/api/validate-yaml")
def validate_yaml(hub: Protocol, call: Call, parts: dict[str, str]) -> Answer:
    return as_json({"errors": [], "warnings": []})


def named(call: Call) -> tuple[str, str, Json]:
    """Kind and name of the repository that a creation or deletion is about."""
    content = call.json()
    namespace = content.get("organization") or (call.user.name if call.user else "")
    return KINDS[content.get("type") or "model"], f"{namespace}/{content['name']}", content


@route("POST", "/api/repos/create")
def create(hub: Protocol, call: Call, parts: dict[str, str]) -> Answer:
    kind, name, content = named(call)
    hub.check_namespace(call.user, name.split("/")[0], f"create a {kind[:-1]}")
    if not all(NAME.fullmatch(part) for part in name.split("/")):
        raise RefusedError(400, f"Invalid repository name: {name}")
    private = bool(content.get("private")) or content.get("visibility") == "private"
    with hub.store.lock:
        repository = hub.store.repository(kind, name)
        url = f"{hub.url()}/{repository.web_path}"
        if repository.exists:
            raise RefusedError(409, f"You already created this {kind[:-1]} repo", url=url)
        hub.store.create(kind, name, private)
    return as_json({"url": url, "name": name, "id": name})


@route("DELETE", "/api/repos/delete")
def delete(hub: Protocol, call: Call, parts: dict[str, str]) -> Answer:
    kind, name, _ = named(call)
    hub.check_namespace(call.user, name.split("/")[0], f"delete a {kind[:-1]}")
    with hub.store.lock:
        hub.store.delete(hub.readable(call, {"kind": kind, "name": name}))
    return Answer(body=b"OK")


@route("PUT", API + "/settings")
def settings(hub: Protocol, call: Call, parts: dict[str, str]) -> Answer:
    repository = hub.writable(call, parts)
    content = call.json()
    changes = {key: content[key] for key in ("private", "gated") if key in content}
    if "visibility" in content:
        changes["private"] = content["visibility"] == "private"
    with hub.store.lock:
        repository.change(**changes)
    return as_json(changes)


@route("GET", "/api/(?P<kind>models|datasets|spaces)")
def listing(hub: Protocol, call: Call, parts: dict[str, str]) -> Answer:
    """Repositories by author, by a part of the name, and by tags."""
    found = []
    for repository in hub.store.all(parts["kind"]):
        if repository.settings["private"] and not hub.belongs(call.user, repository):
            continue
        info = hub.info(repository, hub.commit_at(repository, MAIN), blobs=False)
        author, search = (call.query.get(name, [""])[0] for name in ("author", "search"))
        tags = {tag for value in call.query.get("filter", []) for tag in value.split(",")}
        if author in ("", info["author"]) and search.lower() in info["id"].lower() and tags <= set(info["tags"]):
            found.append(info)
    return as_json(found[: int(call.query.get("limit", ["1000"])[0])])


@route("GET", API)
@route("GET", API + "/revision/" + REVISION)
def repository_info(hub: Protocol, call: Call, parts: dict[str, str]) -> Answer:
    repository = hub.readable(call, parts)
    return as_json(hub.info(repository, hub.commit_at(repository, parts.get("revision", MAIN)), call.asks("blobs")))


@route("GET", API + "/auth-check")
def auth_check(hub: Protocol, call: Call, parts: dict[str, str]) -> Answer:
    hub.check_gate(call.user, hub.readable(call, parts))
    return Answer(body=b"OK")


@route("GET", API + "/refs")
def refs(hub: Protocol, call: Call, parts: dict[str, str]) -> Answer:
    found: dict[str, list[Json]] = {"heads": [], "tags": [], "pr": []}
    for ref, commit in sorted(hub.readable(call, parts).refs.items()):
        _, group, name = ref.split("/", 2)
        found[group].append({"name": name, "ref": ref, "targetCommit": commit})
    asked = {"pullRequests": found["pr"]} if call.asks("include_prs") else {}
    return as_json({"branches": found["heads"], "tags": found["tags"], "converts": [], **asked})


@route("POST", API + "/branch/(?P<branch>.+)")
def create_branch(hub: Protocol, call: Call, parts: dict[str, str]) -> Answer:
    repository = hub.writable(call, parts)
    ref = f"refs/heads/{parts['branch']}"
    if parts["branch"].startswith("refs/"):
        raise RefusedError(400, f"Invalid reference for a branch: {ref}")
    with hub.store.lock:
        start = hub.commit_at(repository, call.json().get("startingPoint") or MAIN)
        if ref in repository.refs:
            raise RefusedError(409, f"Reference already exists: {ref}")
        repository.point(ref, start["id"])
    return Answer(201, body=b"Created")


@route("DELETE", API + "/(?P<group>branch|tag)/(?P<ref>.+)")
def delete_ref(hub: Protocol, call: Call, parts: dict[str, str]) -> Answer:
    repository = hub.writable(call, parts)
    ref = f"refs/{'heads' if parts['group'] == 'branch' else 'tags'}/{parts['ref']}"
    with hub.store.lock:
        if ref not in repository.refs:
            raise RefusedError(404, f"Invalid rev id: {parts['ref']}", "RevisionNotFound")
        if ref == MAIN:
            raise RefusedError(403, "Cannot delete the main branch")
        repository.point(ref, None)
    return Answer(204)


@route("POST", API + "/tag/" + REVISION)
def create_tag(hub: Protocol, call: Call, parts: dict[str, str]) -> Answer:
    repository = hub.writable(call, parts)
    ref = f"refs/tags/{call.json()['tag']}"
    with hub.store.lock:
        commit = hub.commit_at(repository, parts["revision"])
        if ref in repository.refs:
            raise RefusedError(409, f"Reference already exists: {ref}")
        repository.point(ref, commit["id"])
    return Answer(201, body=b"Created")


@route("GET", API + "/tree/" + REVISION + "(?:/(?P<path>.*))?")
def tree(hub: Protocol, call: Call, parts: dict[str, str]) -> Answer:
    repository = hub.readable(call, parts)
    commit = hub.commit_at(repository, parts["revision"])
    below = parts.get("path", "").strip("/")
    entries = repository.tree(commit, below, call.asks("recursive"), call.asks("expand"))
    if below and not entries:
        raise RefusedError(404, f'{below} does not exist on "{parts["revision"]}"', "EntryNotFound")
    return as_json(entries)


@route("POST", API + "/paths-info/" + REVISION)
def paths_info(hub: Protocol, call: Call, parts: dict[str, str]) -> Answer:
    repository = hub.readable(call, parts)
    commit = hub.commit_at(repository, parts["revision"])
    if "json" in call.headers.get("Content-Type", ""):
        paths, expand = call.json().get("paths", []), bool(call.json().get("expand"))
    else:
        form = parse_qs(call.data().decode())
        paths, expand = form.get("paths", []), form.get("expand", [""])[0].lower() in ("1", "true")
    listed = {entry["path"]: entry for entry in repository.tree(commit, "", recursive=True, expand=expand)}
    return as_json([listed[path] for path in (path.strip("/") for path in paths) if path in listed])


@route("GET", API + "/commits/" + REVISION)
def commits(hub: Protocol, call: Call, parts: dict[str, str]) -> Answer:
    repository = hub.readable(call, parts)
    found = repository.history(hub.commit_at(repository, parts["revision"])["id"])
    shown = ("id", "title", "message", "date")
    return as_json([{**{key: item[key] for key in shown}, "authors": [{"user": item["author"]}]} for item in found])


def may_change(hub: Protocol, call: Call, parts: dict[str, str]) -> Repository:
    """The repository, if the caller may commit to it or open the pull request that is asked for."""
    if not call.asks("create_pr"):
        return hub.writable(call, parts)
    if call.user is None:
        raise hub.login_needed()
    return hub.readable(call, parts)


@route("POST", API + "/preupload/" + REVISION)
def preupload(hub: Protocol, call: Call, parts: dict[str, str]) -> Answer:
    """Which files go to the large file storage, and what is stored at their paths now."""
    repository = may_change(hub, call, parts)
    stored = hub.commit_at(repository, parts["revision"])["files"]
    answers = []
    for asked in call.json()["files"]:
        mode = "lfs" if is_large(asked["path"], asked["size"]) else "regular"
        oid = stored.get(asked["path"], {}).get("oid")
        answers.append({"path": asked["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
    return as_json({"files": answers})


@route("POST", WEB + r"\.git/info/lfs/objects/batch")
def lfs_batch(hub: Protocol, call: Call, parts: dict[str, str]) -> Answer:
    """Where to upload the large files that are not stored yet. Whoever may open a pull request may ask."""
    repository = hub.readable(call, parts)
    if call.user is None:
        raise RefusedError(401, "Invalid username or password.")
    objects = []
    for asked in call.json()["objects"]:
        answer = {"oid": asked["oid"], "size": asked["size"]}
        if not repository.large(asked["oid"]).exists():
            path = f"/storage/{repository.kind}/{repository.name}/{asked['oid']}"
            answer["actions"] = {"upload": {"href": f"{hub.url()}{path}?signature={hub.signature(path)}"}}
        objects.append(answer)
    return as_json({"transfer": "basic", "objects": objects})


@route("PUT", r"/storage/(?P<kind>\w+)/(?P<name>[^/]+/[^/]+)/(?P<oid>[0-9a-f]{64})")
def store_object(hub: Protocol, call: Call, parts: dict[str, str]) -> Answer:
    """Take a large file, from whoever has the signed address."""
    if not hmac.compare_digest(call.query.get("signature", [""])[0], hub.signature(call.path)):
        raise RefusedError(403, "SignatureDoesNotMatch")
    if call.sha256 != parts["oid"] or call.body is None:
        raise RefusedError(400, f"The content's sha256 is {call.sha256} instead of {parts['oid']}")
    repository = hub.store.repository(parts["kind"], parts["name"])
    repository.large(parts["oid"]).parent.mkdir(parents=True, exist_ok=True)
    call.body.replace(repository.large(parts["oid"]))
    return Answer()


@route("POST", API + "/commit/" + REVISION)
def commit(hub: Protocol, call: Call, parts: dict[str, str]) -> Answer:
    repository = may_change(hub, call, parts)
    assert call.user is not None
    header: Json = {}
    changes: list[tuple[str, Json]] = []
    for line in call.lines():
        if line["key"] == "header":
            header = line["value"]
        else:
            changes.append((line["key"], received(repository, line["key"], line["value"])))
    with hub.store.lock:
        return committed(hub, call, repository, parts["revision"], header, changes)


def received(repository: Repository, key: str, value: Json) -> Json:
    """A line of a commit, its contents stored."""
    if key == "file":
        return {"path": value["path"], "entry": repository.keep_small(base64.b64decode(value["content"]))}
    if key == "lfsFile":
        stored = repository.large(value["oid"])
        if not stored.exists():
            what = f"{value['path']} ({value['oid']})"
            raise RefusedError(400, f"Your push was rejected because an LFS pointer has no stored object: {what}")
        return {"path": value["path"], "entry": {"oid": value["oid"], "size": stored.stat().st_size, "lfs": True}}
    if key in ("deletedFile", "deletedFolder"):
        return {"path": value["path"].strip("/")}
    raise RefusedError(400, f"Unknown operation {key!r}")


def changed(files: Json, changes: list[tuple[str, Json]]) -> Json:
    """The files after the changes, in their order."""
    files = dict(files)
    for key, change in changes:
        path = change["path"]
        gone = [name for name in files if name == path or (key == "deletedFolder" and name.startswith(f"{path}/"))]
        if not key.startswith("deleted"):
            files[path] = change["entry"]
        elif not gone:
            raise RefusedError(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
        else:
            files = {name: entry for name, entry in files.items() if name not in gone}
    return files


def committed(
    hub: Protocol, call: Call, repository: Repository, revision: str, header: Json, changes: list[tuple[str, Json]]
) -> Answer:
    """Make the commit, on its branch or as a pull request."""
    assert call.user is not None
    existing = repository.refs
    ref = revision if revision in existing else f"refs/heads/{revision}"
    if ref not in existing or ref.startswith("refs/tags/"):
        raise RefusedError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
    parent = repository.commit(existing[ref])
    asked = header.get("parentCommit")
    if asked and not parent["id"].startswith(asked):
        raise RefusedError(412, "A commit has happened since. Please refresh and try again.")
    files = changed(parent["files"], changes)
    web = f"{hub.url()}/{repository.web_path}"
    answer: Json = {"success": True, "hookOutput": ""}
    if call.asks("create_pr"):
        number = 1 + sum(name.startswith("refs/pr/") for name in existing)
        ref = f"refs/pr/{number}"
        answer["pullRequestUrl"] = f"{web}/discussions/{number}"
    title, message = header.get("summary", ""), header.get("description", "")
    made = repository.add_commit(ref, parent["id"], files, title, message, call.user.name)
    return as_json({**answer, "commitOid": made, "commitUrl": f"{web}/commit/{made}"})


@route("GET", WEB + "/resolve/" + REVISION + "/(?P<path>.+)")
def resolve(hub: Protocol, call: Call, parts: dict[str, str]) -> Answer:
    """A file's contents, or a part of them."""
    repository = hub.readable(call, parts)
    hub.check_gate(call.user, repository)
    commit = hub.commit_at(repository, parts["revision"])
    entry = commit["files"].get(parts["path"])
    headers = {"X-Repo-Commit": commit["id"], "Accept-Ranges": "bytes"}
    if entry is None:
        error = RefusedError(404, "Entry not found", "EntryNotFound")
        error.headers = headers
        raise error
    headers |= {"ETag": f'"{entry["oid"]}"', "Content-Type": "application/octet-stream"}
    if entry["lfs"]:
        headers |= {"X-Linked-ETag": f'"{entry["oid"]}"', "X-Linked-Size": str(entry["size"])}
    answer = Answer(200, headers, file=repository.content(entry), size=entry["size"])
    return part_of(answer, entry["size"], call.headers.get("Range"))


def part_of(answer: Answer, size: int, asked: str | None) -> Answer:
    """The bytes that a Range header asks for."""
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", (asked or "").strip())
    if not found or found.groups() == ("", ""):
        return answer
    first, last = found.groups()
    start = int(first) if first else max(0, size - int(last))
    end = min(int(last), size - 1) if first and last else size - 1
    if start > end:
        error = RefusedError(416, "Requested range not satisfiable")
        error.headers = {"Content-Range": f"bytes */{size}"}
        raise error
    headers = {**answer.headers, "Content-Range": f"bytes {start}-{end}/{size}"}
    return Answer(206, headers, file=answer.file, start=start, size=end - start + 1)


# --- connections --------------------------------------------------------------------------------------------------


class Connection(BaseHTTPRequestHandler):
    """One connection of a client: receives, lets things go wrong, answers."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Listener

    def log_message(self, format: str, *args: object) -> None:
        pass

    def setup(self) -> None:
        super().setup()
        self.server.hub.connections.add(self.connection)

    def finish(self) -> None:
        self.server.hub.connections.discard(self.connection)
        super().finish()

    def do_any(self) -> None:
        address = urlsplit(self.path)
        if address.path.startswith("/_test/"):
            self.send(self.server.hub.told(address.path, self.rfile.read(int(self.headers.get("Content-Length", 0)))))
            return
        authorization = self.headers.get("Authorization")
        user = self.server.hub.users.get((authorization or "").removeprefix("Bearer "))
        query = re.sub(r"signature=\w+", "signature=", address.query)
        self.logged = Logged(
            self.command, unquote(address.path), query, None, bool(authorization), user.name if user else None
        )
        self.server.hub.requests.append(self.logged)
        self.faults = self.server.hub.taken(self.command, self.logged.path)
        call = Call(self.command, address.path, parse_qs(address.query), self.headers, user)
        try:
            self.receive(call)
            answer = self.answered(call, authorization)
            if "lose" in self.faults:
                self.drop(self.faults["lose"])
            self.logged.status = answer.status
            self.send(answer)
        except (DroppedError, ConnectionError, BrokenPipeError):
            self.close_connection = True
        finally:
            if call.body:
                call.body.unlink(missing_ok=True)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_any  # noqa: N815

    def receive(self, call: Call) -> None:
        """Write the body to a file aside, with its hash."""
        cut = self.faults.get("cut")
        if cut and self.command in ("POST", "PUT") and cut.after_bytes == 0:
            self.drop(cut)
        if "Transfer-Encoding" not in self.headers and not int(self.headers.get("Content-Length", 0)):
            self.wait()
            return
        digest = hashlib.sha256()
        call.body = self.server.hub.store.incoming / uuid.uuid4().hex
        with call.body.open("wb") as file:
            for piece in self.body_pieces():
                self.wait()
                self.logged.bytes_in += len(piece)
                if cut and self.logged.bytes_in >= cut.after_bytes:
                    self.drop(cut)
                file.write(piece)
                digest.update(piece)
        call.sha256 = digest.hexdigest()

    def body_pieces(self) -> Iterator[bytes]:
        """The request's body as it comes in, whether its length is told before or with every chunk."""
        if "chunked" not in self.headers.get("Transfer-Encoding", "").lower():
            yield from self.counted(int(self.headers.get("Content-Length", 0)))
            return
        while size := int(self.line().split(b";")[0], 16):
            yield from self.counted(size)
            self.line()
        while self.line().strip():
            pass

    def line(self) -> bytes:
        line = self.rfile.readline()
        if not line:
            raise DroppedError
        return line

    def counted(self, left: int) -> Iterator[bytes]:
        while left:
            piece = self.rfile.read1(min(left, PIECE))
            if not piece:
                raise DroppedError
            left -= len(piece)
            yield piece

    def answered(self, call: Call, authorization: str | None) -> Answer:
        fault = self.faults.get("fail")
        if "silent" in self.faults:
            self.server.hub.stopping.wait()
            raise DroppedError
        try:
            if "answer" in self.faults:
                return self.invented(self.faults["answer"], call, authorization)
            if fault is not None:
                error = RefusedError(fault.status, "This request was made to fail")
                if fault.retry_after is not None:
                    error.headers = {"Retry-After": str(fault.retry_after)}
                raise error
            return self.server.hub.protocol.answer(call, authorization)
        except RefusedError as error:
            return refusal(error)
        except Exception:
            self.server.hub.errors.append(traceback.format_exc())
            return refusal(RefusedError(500, self.server.hub.errors[-1].strip().splitlines()[-1]))

    def invented(self, fault: Fault, call: Call, authorization: str | None) -> Answer:
        """What a hostile server says: any text, or the true answer under other headers."""
        if fault.body is not None:
            answer = Answer(fault.status, {"Content-Type": "application/json"}, fault.body.encode("latin-1"))
        else:
            answer = self.server.hub.protocol.answer(call, authorization)
            answer.status = fault.status
        for name, value in fault.headers.items():
            if value is None:
                answer.headers.pop(name, None)
            else:
                answer.headers[name] = value
        return answer

    def send_for_ever(self, answer: Answer, piece: bytes, seconds: float) -> None:
        """A body without an end."""
        self.send_response(answer.status)
        for name, value in {**answer.headers, "Transfer-Encoding": "chunked"}.items():
            self.send_header(name, value)
        self.end_headers()
        while self.command != "HEAD" and not self.server.hub.stopping.wait(seconds):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.logged.bytes_out += len(piece)

    def send(self, answer: Answer) -> None:
        if not self.path.startswith("/_test/"):
            for kind, piece in (("endless", b" " * PIECE), ("drip", b" ")):
                if kind in self.faults:
                    self.send_for_ever(answer, piece, self.faults[kind].seconds)
                    raise DroppedError
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Length", str(answer.length))
        self.end_headers()
        if self.command == "HEAD" or answer.status == 204:
            return
        for piece in self.spoiled(answer):
            self.wfile.write(piece)

    def spoiled(self, answer: Answer) -> Iterator[bytes]:
        """The body with what goes wrong in it."""
        if self.path.startswith("/_test/"):
            yield from answer.pieces()
            return
        cut = self.faults.get("cut") if self.command == "GET" else None
        corrupt = self.faults.get("corrupt")
        where = -1
        if corrupt is not None:
            where = answer.length // 2 if corrupt.at is None else corrupt.at - answer.start
        sent = 0
        for piece in answer.pieces():
            self.wait()
            if sent <= where < sent + len(piece):
                flipped = bytearray(piece)
                flipped[where - sent] ^= 0xFF
                piece = bytes(flipped)
            if cut and sent + len(piece) >= cut.after_bytes:
                self.logged.bytes_out = cut.after_bytes
                self.wfile.write(piece[: cut.after_bytes - sent])
                self.drop(cut)
            sent += len(piece)
            self.logged.bytes_out = sent
            yield piece

    def wait(self) -> None:
        """Slow a delayed transfer; a server that stops waits no longer."""
        if "delay" in self.faults and self.server.hub.stopping.wait(self.faults["delay"].seconds):
            raise DroppedError

    def drop(self, fault: Fault) -> None:
        """End the connection, as a lost network does (reset) or as a server that goes away."""
        if fault.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.rfile.close()
            self.connection.close()
        raise DroppedError


def refusal(error: RefusedError) -> Answer:
    """An error as the Hub tells it: in headers for the clients' classes, and in the body."""
    answer = as_json({"error": error.message, **error.content}, error.status)
    answer.headers |= {"X-Error-Message": error.message, **error.headers}
    if error.code:
        answer.headers["X-Error-Code"] = error.code
    return answer


class Listener(ThreadingHTTPServer):
    """Waits for connections and gives each a thread."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, hub: HubServer, port: int) -> None:
        self.hub = hub
        super().__init__(("127.0.0.1", port), Connection)

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exception(), OSError | ValueError):
            self.hub.errors.append(traceback.format_exc())


# --- for tests ----------------------------------------------------------------------------------------------------


class Hub:
    """What tests do with a Hub beside its protocol: put things there, look into it, let it fail."""

    store: Store

    def add(
        self,
        repo: str,
        files: Mapping[str, bytes],
        repo_type: str = "model",
        private: bool = False,
        branch: str = "main",
        message: str = "Add files",
    ) -> str:
        """Put files into a repository, which is created if it does not exist. Returns the commit."""
        with self.store.lock:
            repository = self.repository(repo, repo_type)
            if not repository.exists:
                self.store.create(KINDS[repo_type], repo, private)
            ref = f"refs/heads/{branch}"
            parent = repository.refs.get(ref, repository.refs[MAIN])
            added = {path: repository.keep(path, data) for path, data in files.items()}
            entries = {**repository.commit(parent)["files"], **added}
            return repository.add_commit(ref, parent, entries, message, "", repository.namespace)

    def gate(self, repo: str, repo_type: str = "model", granted: tuple[str, ...] = ()) -> None:
        """Give a repository's contents only to its owners and the users named."""
        with self.store.lock:
            self.repository(repo, repo_type).change(gated="auto", granted=list(granted))

    def repository(self, repo: str, repo_type: str = "model") -> Repository:
        return self.store.repository(KINDS[repo_type], repo)

    def exists(self, repo: str, repo_type: str = "model") -> bool:
        return self.repository(repo, repo_type).exists

    def heads(self, repo: str, repo_type: str = "model") -> dict[str, str]:
        """The commit of every branch."""
        refs = self.repository(repo, repo_type).refs
        heads = "refs/heads/"
        return {ref.removeprefix(heads): commit for ref, commit in refs.items() if ref.startswith(heads)}

    def files(self, repo: str, revision: str = "main", repo_type: str = "model") -> dict[str, bytes]:
        """Everything at a revision, .gitattributes too, as every repository on the Hub has one."""
        repository = self.repository(repo, repo_type)
        commit = repository.commit_of(revision)
        assert commit is not None, f"{repo} has no revision {revision}"
        entries = repository.commit(commit)["files"]
        return {path: repository.content(entry).read_bytes() for path, entry in entries.items()}

    def commit_count(self, repo: str, branch: str = "main", repo_type: str = "model") -> int:
        """How many commits a branch has, with the one that comes with the repository."""
        repository = self.repository(repo, repo_type)
        return sum(1 for _ in repository.history(repository.commit_of(branch)))

    def stored(self, repo: str, repo_type: str = "model") -> set[str]:
        """The sha256 of every large file received, committed or not."""
        folder = self.repository(repo, repo_type).folder / "large"
        return {path.name for path in folder.iterdir()} if folder.exists() else set()

    def inject(self, fault: Fault) -> None:
        raise NotImplementedError

    def fail(self, method: str, path: str, status: int, times: int = 1, retry_after: int | None = None) -> None:
        """Answer the next requests with an error. Method and path are patterns: fullmatch and search."""
        self.inject(Fault("fail", method, path, times, status=status, retry_after=retry_after))

    def cut(self, method: str, path: str, after_bytes: int, times: int = 1, reset: bool = False) -> None:
        """Drop the connection after so many bytes of the body: received (POST, PUT) or sent (GET)."""
        self.inject(Fault("cut", method, path, times, after_bytes=after_bytes, reset=reset))

    def lose(self, method: str, path: str, times: int = 1, reset: bool = False) -> None:
        """Do what is asked, then drop the connection without an answer."""
        self.inject(Fault("lose", method, path, times, reset=reset))

    def corrupt(self, path: str, times: int = 1, at: int | None = None) -> None:
        """Flip a byte of a download: the one at an offset of the file, or the middle of what is sent."""
        self.inject(Fault("corrupt", "GET", path, times, at=at))

    def delay(self, method: str, path: str, seconds: float, times: int = 1) -> None:
        """Wait before every piece, of 64 KiB at most, of a body received or sent, and once where none is received."""
        self.inject(Fault("delay", method, path, times, seconds=seconds))

    def answer(
        self,
        method: str,
        path: str,
        body: str | None = None,
        status: int = 200,
        headers: Mapping[str, str | None] | None = None,
        times: int = 1000,
    ) -> None:
        """Say something else than what is true: another body, or other headers (None takes one away)."""
        self.inject(Fault("answer", method, path, times, status=status, body=body, headers=dict(headers or {})))

    def endless(self, method: str, path: str, times: int = 1000) -> None:
        """Answer with a body that never ends."""
        self.inject(Fault("endless", method, path, times))

    def drip(self, method: str, path: str, seconds: float, times: int = 1000) -> None:
        """Answer with a body that never ends, a byte at a time."""
        self.inject(Fault("drip", method, path, times, seconds=seconds))

    def silent(self, method: str, path: str, times: int = 1000) -> None:
        """Take the request and say nothing."""
        self.inject(Fault("silent", method, path, times))


class HubServer(Hub):
    """A Hub in threads of this process."""

    def __init__(self, folder: Path, port: int = 0, users: Mapping[str, User] = USERS) -> None:
        self.store = Store(Path(folder))
        self.port = port
        self.users = users
        self.requests: list[Logged] = []
        self.errors: list[str] = []
        self.faults: list[Fault] = []
        self.connections: set[socket.socket] = set()
        self.stopping = threading.Event()
        self.protocol = Protocol(self.store, users, lambda: self.url)
        self._listener: Listener | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> HubServer:
        self.stopping.clear()
        self.store.sweep()
        self._listener = Listener(self, self.port)
        self.port = self._listener.server_port
        threading.Thread(target=self._listener.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def stop(self) -> None:
        """Refuse connections and end the running ones."""
        if self._listener is None:
            return
        self.stopping.set()
        self._listener.shutdown()
        self._listener.server_close()
        self._listener = None
        for connection in list(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def __enter__(self) -> HubServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def inject(self, fault: Fault) -> None:
        with self.store.lock:
            self.faults.append(fault)

    def taken(self, method: str, path: str) -> dict[str, Fault]:
        """The faults of a request, one of each kind; a request that fails has no other."""
        found: dict[str, Fault] = {}
        with self.store.lock:
            for fault in self.faults:
                if fault.fits(method, path):
                    found.setdefault(fault.kind, fault)
            found = {"fail": found["fail"]} if "fail" in found else found
            for fault in found.values():
                fault.times -= 1
        return found

    def told(self, path: str, body: bytes) -> Answer:
        """What a test says to a server in another process."""
        if path == "/_test/faults":
            self.inject(Fault(**json.loads(body)))
        return as_json([asdict(request) for request in list(self.requests)])


class HubProcess(Hub):
    """A Hub in a process of its own, on a folder that it may share with earlier ones."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.store = Store(Path(folder))
        self.port = port
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> HubProcess:
        command = [sys.executable, __file__, str(self.store.folder), str(self.port)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline().rsplit(":", 1)[1])
        return self

    def kill(self) -> None:
        """End it as a power failure does: SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    stop = kill

    def __enter__(self) -> HubProcess:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    def inject(self, fault: Fault) -> None:
        self._ask("/_test/faults", json.dumps(asdict(fault)).encode())

    @property
    def requests(self) -> list[Logged]:
        return [Logged(**request) for request in self._ask("/_test/requests")]

    def _ask(self, path: str, body: bytes | None = None) -> list[Json]:
        with build_opener(ProxyHandler({})).open(Request(self.url + path, body), timeout=10) as answer:
            content: list[Json] = json.load(answer)
            return content

    def wait_for(self, condition: Callable[[Logged], bool], seconds: float = 10) -> Logged:
        """The first request for which something holds, as soon as there is one."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                found = next((request for request in self.requests if condition(request)), None)
            except URLError:
                found = None
            if found is not None:
                return found
            time.sleep(0.02)
        raise TimeoutError("no such request was made")


if __name__ == "__main__":
    server = HubServer(Path(sys.argv[1]), int(sys.argv[2])).start()
    print(server.url, flush=True)
    threading.Event().wait()
