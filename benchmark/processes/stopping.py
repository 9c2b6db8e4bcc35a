"""Signals that ask a process to stop: the first is noted, so that work can end where nothing is lost."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, NoReturn

#: What a terminal, a scheduler or a person sends to end a program that may still tidy up.
STOPPING = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]  # fmt: skip


class StopRequest:
    """Within it, the first signal that asks to stop is noted; the next one does what it did before.

    A signal that is ignored (``nohup``) stays ignored. Outside the main thread nothing can be noted.

    Attributes:
        number: Of the signal; 0 as long as there was none.
    """

    def __init__(self) -> None:
        self.number = 0
        self.before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in STOPPING:
                before = signal.getsignal(number)
                if before not in (signal.SIG_IGN, None):
                    self.before[number] = before
                    signal.signal(number, self.note)
        return self

    def __exit__(self, *_: object) -> None:
        self.restore()

    def note(self, number: int, frame: FrameType | None) -> None:
        """Take a signal."""
        if not self.number:
            self.number = number
            return
        self.restore()
        signal.raise_signal(number)

    def restore(self) -> None:
        """Give the signals back."""
        for number, before in self.before.items():
            signal.signal(number, before)
        self.before = {}

    def obey(self) -> NoReturn:
        """Do what the noted signal would have done; where that is nothing, raise :class:`KeyboardInterrupt`."""
        self.restore()
        signal.raise_signal(self.number)
        raise KeyboardInterrupt
