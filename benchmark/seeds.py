"""Seeds derived from what a random choice may depend on, and from nothing else."""

from __future__ import annotations

import hashlib
import json


def derive(purpose: str, *parts: str | int) -> int:
    """A 63-bit seed from a purpose and the facts it may depend on; stable across machines and versions."""
    text = json.dumps([purpose, *parts], ensure_ascii=True, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
