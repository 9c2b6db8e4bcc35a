"""``divsal-bench speed``: how fast training and evaluation are here, as ratios of contenders that take turns."""

from __future__ import annotations

import argparse

from divsal_bench.cli import say, terminal_width
from divsal_bench.workflows.timing import speed


def command(arguments: argparse.Namespace) -> int:
    """Measure, print the tables."""
    found = speed(
        only=arguments.only, backbone=arguments.backbone, size=arguments.size, batch=arguments.batch,
        protocol=arguments.protocol, device=arguments.device, pairs=arguments.pairs, steps=arguments.steps,
        threads=arguments.threads, workers=arguments.workers, mapped=arguments.mapped, say=say,
    )  # fmt: skip
    print(found.text(arguments.format, terminal_width()))
    return 0
