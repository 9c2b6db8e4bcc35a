"""The command line: every command with its arguments. Light, so that ``--help`` answers at once."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from divsal_bench.cli import arguments_judging, arguments_making, arguments_using
from divsal_bench.cli.arguments import Parser


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; ``handler`` of the result runs the command."""
    parser = Parser(
        prog="divsal-bench",
        description="Benchmark of training image classifiers with human saliency.",
        epilog="Start with: divsal-bench run --task cxr --method all",
    )
    parser.add_argument("--version", action=Version, nargs=0, help="print the version and leave")
    commands = parser.add_subparsers(metavar="command", required=True, dest="command")
    arguments_making.add_run(commands)
    arguments_judging.add_listings(commands)
    arguments_making.add_data(commands)
    arguments_making.add_standins(commands)
    arguments_judging.add_results(commands)
    arguments_making.add_check(commands)
    arguments_judging.add_compare(commands)
    arguments_judging.add_calibrate(commands)
    arguments_judging.add_board(commands)
    arguments_judging.add_audit(commands)
    arguments_judging.add_submission(commands)
    arguments_using.add_predict(commands)
    arguments_using.add_explain(commands)
    arguments_using.add_hub(commands)
    arguments_making.add_study(commands)
    arguments_making.add_speed(commands)
    return parser.parse_args(argv)


class Version(argparse.Action):
    """Look the version up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        """Print it and leave."""
        from importlib.metadata import version

        print(f"divsal-bench {version('divsal-bench')}")
        parser.exit()
