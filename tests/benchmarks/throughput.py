"""Training speed: cross-entropy against a bare PyTorch loop, and each method against cross-entropy.

Run it on an idle machine: ``python tests/benchmarks/throughput.py``. A call of ``divsal-bench speed``, with targets.
"""

from __future__ import annotations

import argparse
import sys

import divsal_bench

#: What each ratio should reach, by section.
TARGETS = {"loop": 0.97, "methods": 0.97}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=11, help="of trainings; 9 at least")
    parser.add_argument("--steps", type=int, default=36, help="of each in a pair")
    parser.add_argument("--only", default="loop,methods", help="sections and methods, joined by commas")
    arguments = parser.parse_args()
    found = divsal_bench.speed(
        only=arguments.only, pairs=arguments.pairs, steps=arguments.steps, device="cpu", say=print
    )
    print(found.text())
    missed = [
        f"{row.first} / {row.second}"
        for row in found.frame().itertuples()
        if row.ratio < TARGETS.get(str(row.section), 0)
    ]
    print(f"targets missed: {', '.join(missed)}" if missed else "every target is met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
