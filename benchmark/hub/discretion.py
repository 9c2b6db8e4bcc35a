"""What people and log files get to read of the Hub's client: no token, no signed address."""

from __future__ import annotations

import logging
import re


def discreet(record: logging.LogRecord) -> bool:
    """Keep what the client logs, but for signed addresses, which let anybody write for a while, and small talk."""
    record.msg, record.args = without_secrets(record.getMessage()), ()
    return "No files have been modified" not in record.msg


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
