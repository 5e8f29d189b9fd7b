"""Ctrl-C and SIGTERM: the first asks a sweep to keep what it has and end; another Ctrl-C ends it at once."""

import contextlib
import signal
import time
from collections.abc import Generator
from types import FrameType

ONE_PRESS_SECONDS = 1.0
"""Signals this close together are one request: ``timeout`` signals a process and its group, so each arrives twice."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Whether the user wants a sweep to end. A signal may arrive anywhere, so its handler only takes a note."""

    def __init__(self) -> None:
        self._requested_at: float | None = None
        self._watched = False

    @property
    def requested(self) -> bool:
        return self._requested_at is not None

    def listen(self) -> None:
        """Take the signals, also from whoever has taken them since: Ray ends the process at a SIGTERM."""
        for number in SIGNALS:
            signal.signal(number, self.on_signal)

    @contextlib.contextmanager
    def watched(self) -> Generator[None]:
        """In this block somebody looks at `requested`. Outside of it there is nothing to be kept first."""
        self._watched = True
        try:
            yield
        finally:
            self._watched = False

    def on_signal(self, number: int, _frame: FrameType | None = None) -> None:
        """Note the request. Raises KeyboardInterrupt where nobody looks, and for another Ctrl-C."""
        now = time.monotonic()
        again = self._requested_at is not None
        if self._requested_at is not None and now - self._requested_at < ONE_PRESS_SECONDS:
            return
        self._requested_at = now
        if not self._watched or (again and number == signal.SIGINT):
            raise KeyboardInterrupt


@contextlib.contextmanager
def interrupts() -> Generator[Interrupts]:
    """Listen to SIGINT and SIGTERM while the block runs."""
    state = Interrupts()
    previous = {number: signal.getsignal(number) for number in SIGNALS}
    state.listen()
    try:
        yield state
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
