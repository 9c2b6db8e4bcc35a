"""Names for work in progress that say which process owns it, so that what a dead one left can be swept."""

from __future__ import annotations

import hashlib
import os
import platform
import secrets
import sys


def mark() -> str:
    """A name part that no other process uses: host, process id and random digits."""
    return f"{_host()}-{os.getpid()}-{secrets.token_hex(4)}"


def is_abandoned(name: str) -> bool:
    """Whether a name that begins with a :func:`mark` belongs to a process of this host that is gone.

    What other hosts share a folder with is theirs to sweep; so is everything on Windows, where a process
    cannot be looked for without disturbing it.
    """
    host, _, rest = name.partition("-")
    pid = rest.partition("-")[0]
    if host != _host() or not pid.isdigit() or sys.platform == "win32":
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _host() -> str:
    """Eight digits for the host: its name may hold anything."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]
