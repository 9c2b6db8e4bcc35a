"""The command line. With workflows it alone knows engine and leaderboard; heavy imports wait for their command."""

from __future__ import annotations

import shutil
import signal
import sys
import traceback
from collections.abc import Sequence

from divsal_bench.errors import UserError, printable

#: Bad input, or runs without a result.
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0; 1 for a check that did not pass; 2 for bad input (one line on standard error) or for runs without a
        result; 130 after Ctrl-C, 143 and 129 after SIGTERM and SIGHUP.
    """
    from divsal_bench.cli import streams

    streams.prepare_streams()
    try:
        return carried_out(argv)
    except UserError as error:
        return refused(str(error), argv)
    except KeyboardInterrupt as error:
        if not isinstance(error, ToldInterruption):
            say("divsal-bench: interrupted; the same command goes on")
        return 128 + getattr(error, "number", signal.SIGINT)
    except OSError as error:
        place = f" ({printable(error.filename)})" if error.filename else ""
        return refused(f"{printable(error.strerror or error)}{place}; check the path and its permissions", argv)
    except UnicodeEncodeError as error:
        return refused(
            f"{printable(error.object)[:200]!r} cannot be a name or text here (encoding {error.encoding}); rename it, "
            "or set LC_ALL=C.UTF-8",
            argv,
        )


def refused(reason: str, argv: Sequence[str] | None) -> int:
    """Say why a command ends, under its traceback if that was asked for.

    ``--debug`` is looked for here: what is wrong may be the command line itself.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    if "--debug" in given[: given.index("--") if "--" in given else None]:
        say(traceback.format_exc().rstrip())
    say(f"divsal-bench: {reason}")
    return EXIT_USER_ERROR


def carried_out(argv: Sequence[str] | None) -> int:
    """Parse and run one command; its exit code once standard output is written."""
    from divsal_bench.cli import streams
    from divsal_bench.cli.parser import parse

    try:
        arguments = parse(argv)
    except SystemExit:  # argparse leaves so after --help
        streams.close_output()
        raise
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:  # as nohup leaves it
            signal.signal(number, interrupt)
    try:
        code = int(arguments.handler(arguments) or 0)
    except SystemExit as error:
        raise UserError(f"a plugin or a library called sys.exit({error.code!r}); nothing after it was done") from error
    streams.close_output()
    return code


def say(text: str) -> None:
    """Print one line to standard error: standard output belongs to the result."""
    print(text.encode("utf-8", "replace").decode(), file=sys.stderr, flush=True)  # a file name may be no text


def terminal_width() -> int | None:
    """Columns of the terminal that shows standard output; None where it goes to a file or another program."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


class Interruption(KeyboardInterrupt):
    """A request to end: by the signal of this number."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class ToldInterruption(Interruption):
    """The same, when it has been said where things stand and how to go on."""


def interrupt(number: int, frame: object) -> None:
    """Treat a polite request to end like Ctrl-C."""
    raise Interruption(number)
