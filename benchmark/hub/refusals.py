"""What goes wrong at the Hub, in one line that says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from divsal_bench.errors import UserError
from divsal_bench.hub.client import RepoKind, address, broken_connection, cause_of
from divsal_bench.hub.discretion import discreet_reason, without_secrets
from divsal_bench.hub.guard import MisbehavedError, UnreachableError

PAGES = {"model": "https://huggingface.co/", "dataset": "https://huggingface.co/datasets/"}
WORDS = {"model": "model", "dataset": "data set"}


@contextmanager
def plain_errors(kind: RepoKind, repo: str, revision: str | None, lacking: str, instead: str) -> Iterator[None]:
    """Turn what the Hub's client raises into one line that says what to do.

    Args:
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


def address_shown() -> str:
    """The Hub in use, for people."""
    return without_secrets(address())
