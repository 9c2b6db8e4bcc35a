"""What a file that cannot be used raises, whatever its decoder raised."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class NotAnImage(ValueError):  # noqa: N818 - named for what it says of the file
    """The bytes cannot be used as an image; the message says why, to be put after the file's name."""


@contextmanager
def refused_if_damaged() -> Iterator[None]:
    """Turn what decoders raise into NotAnImage: damaged files make them raise every kind of exception."""
    try:
        yield
    except NotAnImage:
        raise
    except MemoryError as error:
        raise NotAnImage("needs more memory than there is") from error
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise NotAnImage(f"is truncated or damaged ({reason})") from error
