"""The command line. It alone knows both engine and leaderboard; heavy imports wait for their command."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Sequence

from divsal_bench.errors import UserError

#: Bad input, or runs without a result.
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0; 1 for a check that did not pass; 2 for bad input (one line on standard error) or for runs without a
        result; 130 after Ctrl-C.
    """
    from divsal_bench.cli.parser import parse

    try:
        arguments = parse(argv)
        signal.signal(signal.SIGTERM, interrupt)
        code = arguments.handler(arguments)
        sys.stdout.flush()
        return int(code or 0)
    except UserError as error:
        print(f"divsal-bench: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        print("divsal-bench: interrupted; the same command goes on", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output left (`| head`); Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        name = f" ({error.filename})" if error.filename else ""
        print(f"divsal-bench: {error.strerror or error}{name}; check the path and its permissions", file=sys.stderr)
        return EXIT_USER_ERROR


def say(text: str) -> None:
    """Print one line to standard error: standard output belongs to the result."""
    print(text, file=sys.stderr, flush=True)


def terminal_width() -> int | None:
    """Columns of the terminal that shows standard output; None where it goes to a file or another program."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def interrupt(number: int, frame: object) -> None:
    """Treat a polite request to end like Ctrl-C."""
    raise KeyboardInterrupt
