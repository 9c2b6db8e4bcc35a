"""How this program talks to the Hub: by ids, and with patience that has an end."""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeVar

from divsal_bench.errors import UserError
from divsal_bench.hub.discretion import discreet
from divsal_bench.hub.guard import BUSY, COMMIT, Guard, MisbehavedError, UnreachableError, under_guard

if TYPE_CHECKING:
    from huggingface_hub import HfApi

RepoKind = Literal["model", "dataset"]
Result = TypeVar("Result")
_ID = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?", re.ASCII)
#: Seconds to wait before each further try of a request that the Hub was too busy for.
WAITS = (1.0, 2.0, 4.0, 8.0)
PUBLIC = "https://huggingface.co"


def parse_id(text: str) -> tuple[str, str | None] | None:
    """Split ``org/name[@revision]`` into repository and revision; None where the text is no such id."""
    match = _ID.fullmatch(text)
    if match is None or any(part in (".", "..") for part in re.split("[/@]", text)):
        return None
    return match["repo"], match["revision"]


def is_commit(text: str | None) -> bool:
    """Whether a revision is a full commit, which names the same content for ever."""
    return text is not None and COMMIT.fullmatch(text) is not None


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
