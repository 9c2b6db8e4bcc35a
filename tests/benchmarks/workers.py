"""Two one-thread workers against one two-thread worker on the same grid, start-up of the workers included.

Run it on an idle machine with two or more cores: ``python tests/benchmarks/workers.py``. It is a call of
``divsal-bench speed``, with a target.
"""

from __future__ import annotations

import argparse
import sys

import divsal_bench

TARGET = 1.2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    found = divsal_bench.speed(
        only="workers", workers=arguments.workers, pairs=arguments.pairs, device="cpu", say=print
    )
    print(found.text())
    (ratio,) = found.frame()["ratio"]
    print(f"target {TARGET}: {'met' if ratio >= TARGET else 'MISSED'}")
    return 0 if ratio >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
