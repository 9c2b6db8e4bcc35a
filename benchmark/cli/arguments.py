"""What the command line is made of, and the arguments that several commands share. Light, so that help is quick."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from divsal_bench.errors import UserError, unknown

#: Help of ``--method`` where it chooses among runs.
METHODS = "these methods only, joined by commas; a name alone is the method with its default fields"
#: How tables are written.
FORMATS = ("terminal", "markdown", "csv", "json")


class Parser(argparse.ArgumentParser):
    """argparse, with errors in one line and the closest command for a typo."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **settings})
        self.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS,
            help="show where in the program an error comes from, too",
        )  # fmt: skip

    def error(self, message: str) -> NoReturn:
        """Raise the project's own error instead of printing usage."""
        raise UserError(f"{message}; see `{self.prog} --help`")

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            name = action.metavar or action.dest
            raise unknown(str(name).lower(), str(value), [str(choice) for choice in action.choices])


class Joined(argparse.Action):
    """An option that may be given again: its values are joined by commas, none is dropped in silence."""

    def __call__(self, parser: object, namespace: argparse.Namespace, values: object, *_: object) -> None:
        """Add one value."""
        given = getattr(namespace, f"_given_{self.dest}", [])
        setattr(namespace, f"_given_{self.dest}", [*given, str(values)])
        setattr(namespace, self.dest, ",".join([*given, str(values)]))


Commands = argparse._SubParsersAction  # argparse has no public name for it


def lazy(target: str) -> Callable[[argparse.Namespace], int]:
    """A handler that imports its module when it is called; ``target`` is ``module:function``."""

    def handler(arguments: argparse.Namespace) -> int:
        module, _, function = target.partition(":")
        return int(getattr(importlib.import_module(f"divsal_bench.cli.{module}"), function)(arguments) or 0)

    return handler


def add_training(command: argparse.ArgumentParser) -> None:
    """What every command that trains takes."""
    command.add_argument("--protocol", default="quick-v1", metavar="P", help="training protocol (default: quick-v1)")
    command.add_argument("--device", default="auto", metavar="DEVICE", help="auto (default), cpu, cuda or mps")
    command.add_argument(
        "--workers", type=int, metavar="W",
        help="worker processes (default: as many as the CPU has room for; one on a GPU); "
        "0 runs in this process",
    )  # fmt: skip
    command.add_argument("--out", type=Path, default=Path("runs"), metavar="DIR", help="results (default: runs/)")


def add_hardware(command: argparse.ArgumentParser) -> None:
    """What fills the hardware, where many runs are made."""
    command.add_argument(
        "--devices", action=Joined, metavar="D", help="accelerators joined by commas, cuda:0,cuda:1 …, or cuda for all "
        "that there are; CUDA_VISIBLE_DEVICES, which schedulers set, is their list",
    )  # fmt: skip
    command.add_argument("--slots", type=int, metavar="N", help="runs at a time on each of --devices (default: 1)")
    command.add_argument(
        "--stall-minutes", type=float, default=30, metavar="N",
        help="end a run that makes no progress for so long, and try it once more (default: 30)",
    )  # fmt: skip


def add_format(command: argparse.ArgumentParser) -> None:
    """How a table is written."""
    command.add_argument(
        "--format", choices=FORMATS, default="terminal", metavar="FORMAT", help=f"{', '.join(FORMATS)}"
    )


def add_permission(command: argparse.ArgumentParser, what: str) -> None:
    """``--i-have-permission``."""
    command.add_argument("--i-have-permission", action="store_true",
                         help=f"publish {what} where the data's terms do not say whether one may")  # fmt: skip


def add_window(command: Parser) -> None:
    """``--window``."""
    command.add_argument("--window", metavar="12bit|LO:HI", help="values of 16-bit files that are black and white "
                         "(default: as the network's data was prepared, else 0:65535)")  # fmt: skip
