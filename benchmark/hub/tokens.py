"""Whether the user's token lets them push, asked before any work."""

from __future__ import annotations

from typing import Any

from divsal_bench.errors import UserError, printable
from divsal_bench.hub.client import api, patiently
from divsal_bench.hub.refusals import NO_TOKEN, plain_push_errors


def require_token() -> None:
    """Refuse to push without a token, before any work."""
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
