"""What a Hub may answer: bounded in size and time, sending neither the token nor us elsewhere, naming no path."""

from __future__ import annotations

import importlib
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

if TYPE_CHECKING:
    import httpx2

#: Bytes of one answer, and of all answers to one question (which may have pages).
LARGEST_ANSWER, LARGEST_ANSWERS = 2**23, 2**25
#: Seconds that one question may take, with all its tries and pages; and that a busy Hub may keep a transfer waiting.
LONGEST_QUESTION = 50.0
#: A transfer that brings fewer bytes than this in so many seconds is given up.
LEAST_BYTES, LEAST_SECONDS = 2**19, 60.0
#: Requests in a row that no answer came to (nobody listens, or somebody who is silent) before a question ends.
UNANSWERED = 3
#: Answers within that time that a transfer may need; one that is cut off and goes on again and again needs more.
ANSWERS = 6
#: Seconds: to connect, and between two pieces of an answer; where the client sets none, or longer ones, and the user
#: allows no more (HF_HUB_DOWNLOAD_TIMEOUT, HF_HUB_ETAG_TIMEOUT).
CONNECT, READ = 10.0, 15.0
#: A server that takes a commit may think for longer.
READ_AFTER_SENDING = 300.0
BUSY = (408, 429, 500, 502, 503, 504)
#: Where tokens belong, beside the endpoint in use: mirrors send the client on to these.
HUBS = (("https", "huggingface.co", 443), ("https", "hf.co", 443))
#: The client makes file names of these.
SAFE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
COMMIT = re.compile(r"[0-9a-f]{40}")


class MisbehavedError(Exception):
    """A Hub did what no Hub does; the text follows its name."""


class UnreachableError(Exception):
    """Nothing answers."""


Origin = tuple[str, str, int]


@dataclass
class Guard:
    """What one question or one transfer may cost.

    Attributes:
        endpoint: Of the Hub.
        largest: Bytes of one answer.
        all: Bytes of all answers.
        question: A short one, with a total time limit. A transfer may take as long as it makes progress.
        sending: Requests may stay unanswered for long, and several at once.
    """

    endpoint: str
    largest: int = LARGEST_ANSWER
    all: int = LARGEST_ANSWERS
    question: bool = True
    sending: bool = False
    started: float = field(default_factory=time.monotonic)
    busy_since: float | None = None
    unanswered: int = 0
    received: int = 0
    window: float = field(default_factory=time.monotonic)
    in_window: int = 0
    answers: int = 0

    @property
    def left(self) -> float:
        """Seconds; a transfer is only limited while the Hub is busy."""
        since = self.started if self.question else self.busy_since
        return LONGEST_QUESTION if since is None else since + LONGEST_QUESTION - time.monotonic()

    def require_time(self) -> None:
        """End what takes too long."""
        if self.left <= 0:
            what = "gives no whole answer" if self.busy_since is None else "is too busy to answer"
            raise MisbehavedError(f"{what} within {LONGEST_QUESTION:.0f} seconds")

    def before(self, request: httpx2.Request) -> None:
        """Look at a request before it leaves, a redirected one too."""
        self.require_time()
        if not self.sending:
            if self.unanswered >= UNANSWERED:
                raise UnreachableError(f"no answer to {self.unanswered} requests")
            self.unanswered += 1
        here, there = origin(self.endpoint), origin(str(request.url))
        if here[0] == "https" and there[0] != "https":
            raise MisbehavedError("sends us on to an address without encryption")
        if "Authorization" in request.headers and there not in (here, ("https", here[1], 443), *HUBS):
            raise MisbehavedError(f"sends us on to {there[1][:60]}, which must not get your token")
        # An encoded answer can unpack to a thousand times its size.
        request.headers["Accept-Encoding"] = "identity"
        read = READ_AFTER_SENDING if self.sending else max(READ, allowed_by_user())
        limits = {"connect": CONNECT, "read": read, "write": read, "pool": read}
        given = request.extensions.get("timeout") or {}
        most = read if not self.question else max(1.0, min(read, self.left))
        request.extensions["timeout"] = {
            name: min(given.get(name) or limit, limit, most) for name, limit in limits.items()
        }

    def after(self, response: httpx2.Response) -> None:
        """Look at the head of an answer before the client does, and bound its body."""
        self.unanswered = 0
        self.answers += 1
        headers, status = response.headers, response.status_code
        if status in BUSY:
            self.busy_since = self.busy_since or time.monotonic()
            asked = asked_to_wait(headers)
            if asked > self.left:
                raise MisbehavedError(f"is busy and asks to wait {asked:,.0f} seconds")
        else:
            self.busy_since = None
        coding = headers.get("Content-Encoding", "identity")
        if coding.lower() not in ("", "identity") and response.request.method != "HEAD":
            raise MisbehavedError("answers in an encoding that was not asked for")
        require_names(response)
        require_same_host(response)
        # With these the client would take another way, past this guard.
        for name in ("X-Xet-Hash", "X-Xet-Refresh-Route"):
            headers.pop(name, None)
        length = headers.get("Content-Length", "0")
        if response.request.method != "HEAD":
            if not (length.isascii() and length.isdigit() and len(length) < 16):
                raise MisbehavedError("does not say how long its answer is")
            if int(length) > self.largest:
                raise MisbehavedError(f"answers with {int(length):,} bytes where {self.largest:,} are allowed")
        response.stream = self.bounded(response)

    def bounded(self, response: httpx2.Response) -> Any:
        """The body of an answer, counted and timed."""
        guard = self
        stream: Any = response.stream
        started = time.monotonic()
        # The client's HTTP library has had three names.
        library = importlib.import_module(type(response).__module__.partition(".")[0])

        class Bounded(library.SyncByteStream):  # type: ignore[misc, name-defined]
            """The same bytes, counted as they come."""

            def __iter__(self) -> Iterator[bytes]:
                size = 0
                for piece in stream:
                    size += len(piece)
                    guard.count(size, len(piece), started)
                    yield piece

            def close(self) -> None:
                stream.close()

        return Bounded()

    def count(self, size: int, piece: int, started: float) -> None:
        """Count a piece of an answer.

        Args:
            size: Bytes of this answer so far.
            piece: Bytes that came now.
            started: When this answer began.
        """
        self.received += piece
        if size > self.largest or self.received > self.all:
            raise MisbehavedError(f"answers with more than the {min(self.largest, self.all):,} bytes that are allowed")
        self.require_time()
        now = time.monotonic()
        self.in_window += piece
        if now - self.window > LEAST_SECONDS:
            lasts = now - started > LEAST_SECONDS or self.answers > ANSWERS
            if self.in_window < LEAST_BYTES and lasts and not (self.question or self.sending):
                raise MisbehavedError(f"sends fewer than {LEAST_BYTES:,} bytes in {LEAST_SECONDS:.0f} seconds")
            self.window, self.in_window, self.answers = now, 0, 0


def allowed_by_user() -> float:
    """Seconds, where the user has set more than the client's own."""
    from huggingface_hub import constants

    own = max(constants.DEFAULT_DOWNLOAD_TIMEOUT, constants.DEFAULT_ETAG_TIMEOUT)
    wished = max(constants.HF_HUB_DOWNLOAD_TIMEOUT, constants.HF_HUB_ETAG_TIMEOUT)
    return float(wished) if wished > own else 0.0


def origin(address: str) -> Origin:
    """Scheme, host and port."""
    try:
        parts = urlsplit(address)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme, 0)
        return parts.scheme.lower(), (parts.hostname or "").lower(), port
    except ValueError:
        return "", "", 0


def asked_to_wait(headers: Any) -> float:
    """Seconds that a busy Hub asks for, as the client reads it."""
    found = re.search(r";\s*t\s*=\s*(\d+)", headers.get("ratelimit", "")) or re.fullmatch(
        r"\s*(\d+)\s*", headers.get("Retry-After", "")
    )
    return float(found[1][:12]) if found else 0.0


def require_names(response: httpx2.Response) -> None:
    """Check the two texts of which the client makes file names."""
    commit = response.headers.get("X-Repo-Commit")
    if commit is not None and COMMIT.fullmatch(commit) is None:
        raise MisbehavedError(f"names the commit {commit[:60]!r}, which is none")
    if response.request.method != "HEAD" or response.status_code >= 400:
        return
    address = str(response.request.url)
    if response.has_redirect_location and origin(urljoin(address, response.headers["Location"])) == origin(address):
        return  # only the last answer counts
    tag = response.headers.get("X-Linked-ETag") or response.headers.get("ETag") or "0"
    plain = tag.lstrip("W/").strip('"')
    if SAFE.fullmatch(plain) is None or ".." in plain:
        raise MisbehavedError(f"names a file's content {tag[:60]!r}, which is no checksum")


def require_same_host(response: httpx2.Response) -> None:
    """Check that the next page of a list is where this one is: the client sends the token there."""
    try:
        following = response.links.get("next", {}).get("url", "")
    except (ValueError, KeyError, AttributeError, TypeError):
        following = "?"
    if following and origin(following) != origin(str(response.request.url)):
        raise MisbehavedError("continues a list on another host")


#: The guards in force, the innermost last. The client and its threads share one session, so they share these.
_GUARDS: list[Guard] = []


@contextmanager
def under_guard(guard: Guard) -> Iterator[None]:
    """Put the client's requests under a guard, those of its threads too; nested, the innermost counts.

    Requests that others make with the same client while none is in force are left alone.
    """
    from huggingface_hub import get_session, set_client_factory
    from huggingface_hub.utils import _http

    if before not in get_session().event_hooks["request"]:
        set_client_factory(
            watched_sessions(getattr(_http, "_GLOBAL_CLIENT_FACTORY", None) or _http.default_client_factory)
        )
    _GUARDS.append(guard)
    try:
        yield
    finally:
        _GUARDS.remove(guard)


def watched_sessions(usual: Callable[[], httpx2.Client]) -> Callable[[], httpx2.Client]:
    """What makes the client's sessions, with a guard's eyes on each request and each answer."""

    def make() -> httpx2.Client:
        client = usual()
        hooks = client.event_hooks
        client.event_hooks = {
            "request": [*hooks.get("request", []), before],
            "response": [after, *hooks.get("response", [])],
        }
        return client

    return make


def before(request: httpx2.Request) -> None:
    """Ask the guard in force."""
    if _GUARDS:
        _GUARDS[-1].before(request)


def after(response: httpx2.Response) -> None:
    """Ask the guard in force."""
    if _GUARDS:
        _GUARDS[-1].after(response)
