"""Whose work is it: names that say which process owns something."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import re
import secrets
import sys
from pathlib import Path


def own_tag() -> str:
    """A name part that no other process uses: host, process id and random digits."""
    return f"{_host()}-{os.getpid()}-{secrets.token_hex(4)}"


def is_abandoned(name: str) -> bool:
    """Whether a name that begins with a :func:`own_tag` belongs to a process of this host that is gone.

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
    except (OSError, OverflowError):
        return False
    return False


def is_tag(name: str) -> bool:
    """Whether a name begins as an :func:`own_tag` does, whoever made it."""
    return re.match(r"[0-9a-f]{8}-[0-9]+-", name) is not None


@functools.cache
def _host() -> str:
    """Eight digits for what a process id means something in: the host, since it was started, and the container.

    Containers may share a host name, and each counts its processes from 1.
    """
    parts = [platform.node()]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    except OSError:  # not Linux: the name must do
        pass
    return hashlib.sha256("\n".join(parts).encode(errors="surrogateescape")).hexdigest()[:8]
