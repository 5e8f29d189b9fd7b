"""What ends a sweep: Ctrl-C, SIGTERM, a closed terminal, `ssl-sweep stop`.

The first request asks a sweep to keep what it has and end; another Ctrl-C, or another `stop`, ends it at once.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Generator
from types import FrameType

ONE_PRESS_SECONDS = 1.0
"""Signals this close together are one request: ``timeout`` signals a process and its group, so each arrives twice."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Whether the user wants a sweep to end. A signal may arrive anywhere, so its handler only takes a note."""

    def __init__(self) -> None:
        self._requested_at: float | None = None
        self._watched = False
        self._at_once = False
        """Of the request that is on its way from another thread."""
        self._terminals = [number for number in range(3) if os.isatty(number)]
        """Of the standard streams; once a terminal has gone it cannot be told."""

    @property
    def requested(self) -> bool:
        return self._requested_at is not None

    def listen(self) -> None:
        """Take the signals."""
        for number in SIGNALS:
            if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # as `nohup` wants it
                signal.signal(number, self.on_signal)

    @contextlib.contextmanager
    def watched(self) -> Generator[None]:
        """In this block somebody looks at `requested`. Outside of it there is nothing to be kept first."""
        self._watched = True
        try:
            yield
        finally:
            self._watched = False

    def request(self, *, at_once: bool) -> None:
        """From any thread: the same as SIGTERM, or with `at_once` as another Ctrl-C. Whoever listens has to be this object."""
        if self.requested and not at_once:
            return
        self._at_once = at_once
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, signal.SIGINT)  # it wakes the main thread

    def on_signal(self, number: int, _frame: FrameType | None = None) -> None:
        """Note the request. Raises KeyboardInterrupt where nobody looks, and for one that is to end the sweep at once."""
        if number == signal.SIGHUP:
            self._leave_terminals()
        now = time.monotonic()
        at_once, self._at_once = self._at_once, False
        again = self._requested_at is not None
        if self._requested_at is not None and now - self._requested_at < ONE_PRESS_SECONDS and not at_once:
            return
        self._requested_at = now
        if not self._watched or at_once or (again and number == signal.SIGINT):
            raise KeyboardInterrupt

    def _leave_terminals(self) -> None:
        """What is written to a terminal that has gone is an error, wherever it is written."""
        nowhere = os.open(os.devnull, os.O_RDWR)
        for number in self._terminals:
            os.dup2(nowhere, number)
        os.close(nowhere)


@contextlib.contextmanager
def interrupts() -> Generator[Interrupts]:
    """Listen to `SIGNALS` while the block runs."""
    state = Interrupts()
    previous = {number: signal.getsignal(number) for number in SIGNALS}
    state.listen()
    try:
        yield state
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
