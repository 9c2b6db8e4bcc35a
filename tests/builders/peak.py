"""Commands in a process of their own, with the memory and the time they took."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

#: VmHWM and not getrusage, whose maximum a child inherits from whoever started it.
CODE = """
import contextlib, io, json, sys, time
from pathlib import Path
from divsal_bench import cli
done = []
for arguments in json.loads(sys.argv[1]):
    out, said, started = io.StringIO(), io.StringIO(), time.monotonic()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
        code = cli.main(arguments)
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else ["VmHWM: 0 kB"]
    peak = int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
    done.append([code, said.getvalue().splitlines(), out.getvalue(), peak, time.monotonic() - started])
print(json.dumps(done))
"""


@dataclass(frozen=True)
class Done:
    """How a command ended.

    Attributes:
        said: Standard error, line by line.
        out: Standard output.
        megabytes: Peak resident memory of the process so far; 0 where the system does not say.
        seconds: Without starting Python.
    """

    code: int
    said: list[str]
    out: str
    megabytes: float
    seconds: float


def measured(
    *commands: Sequence[object], environment: Mapping[str, str] | None = None, limit: float = 300
) -> list[Done]:
    """Run commands of ours, one after the other in one process."""
    asked = json.dumps([[str(word) for word in command] for command in commands])
    done = subprocess.run(
        [sys.executable, "-c", CODE, asked],
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=limit,
        env={**os.environ, **(environment or {})},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return [Done(*one) for one in json.loads(done.stdout.splitlines()[-1])]


def size_of(folder: Path) -> int:
    """Bytes of everything below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink())
