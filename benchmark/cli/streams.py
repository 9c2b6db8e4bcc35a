"""Standard output and error as they are given: another encoding, closed, full, or left by their reader."""

from __future__ import annotations

import codecs
import io
import os
import sys
import warnings
from typing import TextIO

from divsal_bench.errors import UserError

#: What stands for our own signs where an encoding lacks them.
PLAIN = str.maketrans({
    "−": "-", "–": "-", "—": "-", "×": "x", "·": "|", "±": "+-", "≥": ">=", "≤": "<=", "…": "...", "→": "->",
    "’": "'", "Δ": "d", "α": "alpha", "τ": "tau", "²": "^2",
})  # fmt: skip
#: Of the error handler below.
READABLE = "divsal-readable"


class Stream(io.FileIO):
    """A file descriptor that swallows what it cannot take: neither a log nor a closed pipe may cost the work.

    Attributes:
        failure: The first error of the system; None as long as all was written.
    """

    failure: OSError | None = None

    def write(self, data: object) -> int:
        """Write bytes, or note why not."""
        if self.failure is None:
            try:
                return super().write(data)  # type: ignore[arg-type]
            except OSError as error:
                self.failure = error
        return memoryview(data).nbytes  # type: ignore[arg-type]


def prepare_streams() -> None:
    """Make both streams ready for any text, once, before anything is opened or printed.

    A closed one becomes the null device: else the next file that is opened would be taken for it. What an encoding
    lacks is replaced, and what cannot be written is noted for :func:`close_output`.
    """
    codecs.register_error(READABLE, readable)
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
    if sys.stdout is sys.__stdout__:
        sys.stdout = open_stream(sys.stdout, 1)
    if sys.stderr is sys.__stderr__:
        sys.stderr = open_stream(sys.stderr, 2)
    no_warning_is_an_error()


def open_stream(old: TextIO | None, number: int) -> TextIO:
    """A text stream on a file descriptor, with the encoding of the one that Python opened there, if it did."""
    if isinstance(old, io.TextIOWrapper):
        if sys.platform == "win32":  # its console is no file
            old.reconfigure(errors=READABLE)
            return old
        old.flush()
    raw = io.BufferedWriter(Stream(number, "wb", closefd=False))
    encoding, lines = (old.encoding, old.line_buffering) if old else ("utf-8", False)
    return io.TextIOWrapper(raw, encoding=encoding, errors=READABLE, line_buffering=bool(lines) or number == 2)


def close_output() -> None:
    """Write out what standard output still holds.

    Raises:
        UserError: It could not be written. A reader that left early, as ``head`` does, has what it wanted.
    """
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if isinstance(raw, Stream) and raw.failure is not None and not isinstance(raw.failure, BrokenPipeError):
        raise UserError(f"standard output could not be written ({raw.failure.strerror}); free some space, or mend it")


def readable(error: UnicodeError) -> tuple[str | bytes, int]:
    """What is printed in place of text that an encoding lacks: our own signs in ASCII, the rest as escapes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(PLAIN)
    return text.encode("ascii", "backslashreplace").decode("ascii"), error.end


def no_warning_is_an_error() -> None:
    """Show warnings that are asked to be errors (``PYTHONWARNINGS=error``): a library's is no reason to end a run."""
    if not any(action == "error" for action, *_ in warnings.filters):
        return
    warnings.simplefilter("default")
    sys.warnoptions[:] = ["default"]  # what worker processes are started with
    if "PYTHONWARNINGS" in os.environ:
        os.environ["PYTHONWARNINGS"] = "default"
