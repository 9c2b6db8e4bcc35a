"""How long the command line takes to answer: ``python tests/benchmarks/startup.py [repeats]``.

Prints the median and quartiles of the wall time of whole processes, after one run that warms the disk cache.
The figures to stay under on an idle machine are printed beside them; nothing is asserted.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

COMMANDS = {("--help",): 0.4, ("list", "tasks"): 1.0}


def seconds(command: list[str]) -> float:
    """Wall time of one process."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Time every command and print one line each."""
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    program = str(Path(sysconfig.get_path("scripts")) / "divsal-bench")
    for arguments, figure in COMMANDS.items():
        command = [program, *arguments]
        seconds(command)
        low, middle, high = statistics.quantiles((seconds(command) for _ in range(repeats)), n=4)
        name = " ".join(("divsal-bench", *arguments))
        print(f"{name:<24} median {middle:.2f} s  quartiles {low:.2f}–{high:.2f} s  figure ≤ {figure} s  n = {repeats}")


if __name__ == "__main__":
    main()
