"""How this program talks to the Hub: ids, patience with a bounded end, and errors in one line."""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from divsal_bench.errors import UserError, printable
from divsal_bench.hub.guard import BUSY, Guard, MisbehavedError, UnreachableError, under_guard

if TYPE_CHECKING:
    from huggingface_hub import HfApi

Kind = Literal["model", "dataset"]
Result = TypeVar("Result")

_ID = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
#: Seconds to wait before each further try of a request that the Hub was too busy for.
WAITS = (1.0, 2.0, 4.0, 8.0)
PUBLIC = "https://huggingface.co"
PAGES = {"model": "https://huggingface.co/", "dataset": "https://huggingface.co/datasets/"}
WORDS = {"model": "model", "dataset": "data set"}


def parse_id(text: str) -> tuple[str, str | None] | None:
    """Split ``org/name[@revision]`` into repository and revision; None where the text is no such id."""
    match = _ID.fullmatch(text)
    if match is None or any(part in (".", "..") for part in re.split("[/@]", text)):
        return None
    return match["repo"], match["revision"]


def is_commit(text: str | None) -> bool:
    """Whether a revision is a full commit, which names the same content for ever."""
    return text is not None and _COMMIT.fullmatch(text) is not None


def api() -> HfApi:
    """The Hub's client. Tokens come from where it looks for them itself (HF_TOKEN, a login), never from us."""
    from huggingface_hub import HfApi
    from huggingface_hub.utils.tqdm import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()  # in a log file a bar is a page of noise
    for name in ("huggingface_hub.utils._http", "huggingface_hub.hf_api", "huggingface_hub.file_download"):
        logger = logging.getLogger(name)
        if discreet not in logger.filters:
            logger.addFilter(discreet)
    # The library reads HF_ENDPOINT only when it is imported.
    return HfApi(endpoint=endpoint())


def discreet(record: logging.LogRecord) -> bool:
    """Keep what the client logs, but for signed addresses, which let anybody write for a while, and small talk."""
    record.msg, record.args = without_secrets(record.getMessage()), ()
    return "No files have been modified" not in record.msg


def endpoint() -> str | None:
    """The Hub's address where it is not the usual one."""
    return os.environ.get("HF_ENDPOINT")


def patiently(call: Callable[[], Result], guard: Guard | None = None) -> Result:
    """Call again, a few times, while the Hub is busy or the connection breaks; under a guard.

    The client itself is patient with uploads and downloads, not with short questions.

    Args:
        call: A request that may be made twice, and what is read out of its answer: all that this raises is laid to
            the Hub.
        guard: What the answer may cost; None for a short question.

    Raises:
        Exception: What the last try raised, or what waiting does not mend.
    """
    with under_guard(guard or Guard(address())):
        for tries, wait in enumerate(WAITS):
            try:
                return understood(call)
            except Exception as error:
                asked = wait_for(error, wait, tries)
                if asked is None:
                    raise
                time.sleep(asked)
        return understood(call)


def understood(call: Callable[[], Result]) -> Result:
    """Call; what the client raises at an answer that it does not understand becomes one kind of error.

    Raises:
        MisbehavedError: The answer is not the Hub's protocol.
        Exception: Anything that the client raises on purpose.
    """
    from huggingface_hub import errors

    expected = (
        errors.HFValidationError, errors.EntryNotFoundError, broken_connection(), OSError, UnicodeEncodeError,
        UserError, MisbehavedError, UnreachableError,
    )  # fmt: skip
    try:
        return call()
    except expected:
        raise
    except Exception as error:
        # An upload's end is a RuntimeError, a download's that needs a network a ValueError.
        if type(error) in (RuntimeError, ValueError) and isinstance(error.__cause__, expected):
            raise error.__cause__ from error
        raise MisbehavedError(f"answered something that is not the Hub's protocol ({type(error).__name__})") from error


def address() -> str:
    """Of the Hub in use."""
    return endpoint() or PUBLIC


def wait_for(error: Exception, usual: float, tries: int) -> float | None:
    """Seconds after which a request may be tried again; None where that would not help.

    Without any answer the network is more likely down than the Hub busy: two more tries must do.
    """
    from huggingface_hub import errors

    cause = cause_of(error)
    if isinstance(cause, errors.OfflineModeIsEnabled | errors.LocalEntryNotFoundError | UserError):
        return None
    response = getattr(cause, "response", None)
    if response is None:
        return usual if isinstance(cause, broken_connection()) and tries < 2 else None
    if response.status_code not in BUSY:
        return None
    stated = response.headers.get("Retry-After", "")
    return float(stated[:12]) if stated.isascii() and stated.isdigit() else usual


def cause_of(error: BaseException) -> BaseException:
    """What the client wraps: an upload's end in a RuntimeError, a download's in "not in the local cache"."""
    from huggingface_hub import errors

    while isinstance(error, RuntimeError | errors.LocalEntryNotFoundError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def broken_connection() -> type[Exception]:
    """What the client's HTTP library raises; older clients raise OSError."""
    from huggingface_hub import errors

    found: type[Exception] = getattr(errors, "HTTPError", OSError)
    return found


@contextmanager
def plain_errors(kind: Kind, repo: str, revision: str | None, lacking: str, instead: str) -> Iterator[None]:
    """Turn what the Hub's client raises into one line that says what to do.

    Args:
        kind: Of repository.
        repo: ``org/name``.
        revision: Branch, tag or commit; None is the default branch.
        lacking: What it means that a file is not there, e.g. ``no divsal.json: it was not made by …``.
        instead: What else the user may do without the Hub.
    """
    from huggingface_hub import errors

    word, page = WORDS[kind], PAGES[kind] + repo
    at = f" at {revision}" if revision else ""
    try:
        yield
    except errors.GatedRepoError as error:
        raise UserError(
            f"the {word} {repo} is gated: ask for access at {page}, then log in with `hf auth login`"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(
            f"there is no folder {repo}, and the Hub has no such {word} or it is private: "
            "check the name, or log in with `hf auth login`"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise UserError(f"the {word} {repo} has no revision {revision!r}; see {page}/commits") from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        cause = cause_of(error)
        if getattr(cause, "response", None) is not None:
            raise UserError(
                f"cannot get {repo}{at} from the Hub ({discreet_reason(cause)}); try again, or {instead}"
            ) from error
        raise UserError(
            f"cannot reach the Hub for {repo}{at}, and it is not in the local cache; connect, or {instead}"
        ) from error
    except errors.EntryNotFoundError as error:
        raise UserError(f"the Hub {word} {repo}{at} has {lacking}") from error
    except errors.HFValidationError as error:
        raise UserError(f"{repo!r} is not a Hub id; write org/name or org/name@revision") from error
    except UnreachableError as error:
        raise UserError(f"cannot reach the Hub for {repo}{at} ({error}); connect, or {instead}") from error
    except MisbehavedError as error:
        raise UserError(f"cannot get {repo}{at}: {address_shown()} {error}; try again later, or {instead}") from error
    except (broken_connection(), OSError) as error:
        if getattr(getattr(error, "response", None), "status_code", 0) == 401:
            raise UserError(BAD_TOKEN) from error
        raise UserError(
            f"cannot get {repo}{at} from the Hub ({discreet_reason(error)}); try again, or {instead}"
        ) from error
    except UnicodeEncodeError as error:
        raise UserError(BAD_TOKEN) from error


@contextmanager
def plain_push_errors(repo: str) -> Iterator[None]:
    """The same for what is sent to the Hub; a push that broke off goes on where it stopped."""
    from huggingface_hub import errors

    namespace = repo.partition("/")[0]
    try:
        yield
    except errors.HFValidationError as error:
        raise UserError(f"{repo!r} is no name that the Hub allows ({discreet_reason(error)})") from error
    except errors.OfflineModeIsEnabled as error:
        raise UserError("cannot push: HF_HUB_OFFLINE is set; unset it and push again") from error
    except errors.LocalTokenNotFoundError as error:
        raise UserError(NO_TOKEN) from error
    except MisbehavedError as error:
        raise UserError(
            f"pushing to {repo} broke off: {address_shown()} {error}; give the same command again later"
        ) from error
    except (errors.HfHubHTTPError, broken_connection(), OSError, RuntimeError, UnreachableError) as error:
        cause = cause_of(error)
        response = getattr(cause, "response", None)
        status = response.status_code if response is not None else 0
        if status == 401:
            raise UserError(BAD_TOKEN) from error
        if status == 403 or isinstance(error, errors.RepositoryNotFoundError):
            raise UserError(
                f"your token may not write to {namespace}: give --to a namespace of yours, or a token with write "
                "access to it (https://huggingface.co/settings/tokens)"
            ) from error
        raise UserError(
            f"pushing to {repo} broke off ({discreet_reason(cause)}); give the same command again, what has "
            "arrived is not sent twice"
        ) from error


BAD_TOKEN = (
    "the Hub does not accept your token (it may have expired, or was not copied whole); make one at "
    "https://huggingface.co/settings/tokens (with write access for pushing), then `hf auth login` or HF_TOKEN"
)
NO_TOKEN = (
    "no token: pushing needs one with write access; log in with `hf auth login`, or set the environment variable "
    "HF_TOKEN (https://huggingface.co/settings/tokens)"
)


def require_token() -> None:
    """Refuse to push without a token, before any work.

    Raises:
        UserError: There is none.
    """
    from huggingface_hub import get_token

    token = get_token()
    if not token:
        raise UserError(NO_TOKEN)
    if not (token.isascii() and token.isprintable()):
        raise UserError("your token has characters that no token has; copy it again (`hf auth login`, or HF_TOKEN)")


def require_namespace(namespace: str) -> None:
    """Refuse to push where the token's owner has no place, before any work.

    Raises:
        UserError: It is neither the owner nor one of their organisations, or the Hub does not accept the token.
    """
    with plain_push_errors(f"{namespace}/"):
        places = patiently(lambda: places_of(api().whoami()))
    if namespace not in places:
        raise UserError(
            f"your token may not write to {namespace}: it is {places[0]}'s, who may write to {', '.join(places)}; "
            "give one of these with --to, or log in as somebody else"
        )


def places_of(own: dict[str, Any]) -> list[str]:
    """The namespaces of a token's owner, their own first."""
    return [printable(one["name"])[:100] for one in (own, *(own.get("orgs") or []))]


def discreet_reason(error: BaseException) -> str:
    """The first line of an error's text."""
    lines = str(error).strip().splitlines()
    return without_secrets(lines[0] if lines else type(error).__name__)[:200]


def without_secrets(text: str) -> str:
    """A text without tokens, signed addresses and passwords in addresses."""
    from huggingface_hub import get_token

    token = get_token()
    if token:
        text = text.replace(token, "(your token)")
    text = re.sub(r"(?i)\bbearer\s+[^\s'\"]+", "(your token)", text)
    return re.sub(r"//[^/@\s]*@", "//", re.sub(r"\?[^\s'\"]+", "?…", text))


def address_shown() -> str:
    """The Hub in use, for people."""
    return without_secrets(address())
