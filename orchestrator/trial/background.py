"""Writing beside the training: one thread that does, in order, what the training shall not wait for."""

import logging
import os
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

Write = Callable[[], None]


class Background:
    """Calls functions in one thread, in the order in which they come due; the thread starts with the first.

    What a function raises is kept for whoever asked for it, see `error`. The thread ends with `close`, and keeps no process
    alive. Other threads may ask for writes too; a forked process may not, for it has no such thread.
    """

    def __init__(self) -> None:
        self.error: Exception | None = None
        """The first that a write raised, until it is taken."""
        self._changed = threading.Condition()
        self._due: dict[Write, float] = {}
        """Time at which to call, on the system's own clock."""
        self._running: Write | None = None
        self._thread: threading.Thread | None = None
        self._closed = False
        self._process = os.getpid()

    @property
    def is_here(self) -> bool:
        """Whether this process has the thread: not if it was forked since."""
        return self._process == os.getpid()

    def within(self, seconds: float, write: Write) -> None:
        """Call `write` once, at most `seconds` from now if nothing before it takes longer; also if it is asked for again before."""
        assert self.is_here, "a fork has no writing thread"
        due = time.monotonic() + seconds
        with self._changed:
            assert not self._closed, "closed"
            if due >= self._due.get(write, float("inf")):
                return
            self._due[write] = due
            self._changed.notify()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="writes", daemon=True)
                self._thread.start()

    def wait(self, write: Write | None = None) -> None:
        """Have `write`, or all that pends, done now, and return once it is. Raises nothing: see `error`."""
        done = threading.Event()
        with self._changed:
            asked = [item for item in self._due if write in (None, item)]
            runs = self._running is not None and write in (None, self._running)
            if not asked and not runs:
                return
            now = time.monotonic()
            for item in asked:
                self._due[item] = min(self._due[item], now)
            self._due[done.set] = now  # after those of the same time, for a dict keeps its order
            self._changed.notify()
        done.wait()

    def take_error(self) -> Exception | None:
        """What a write raised, for the caller to tell."""
        error, self.error = self.error, None
        return error

    def close(self) -> None:
        """Do what pends, and end the thread. An error that nobody has taken is logged."""
        self.wait()
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()
        if error := self.take_error():
            log.error("not all of what a trial told could be written: %s", error)

    def _work(self) -> None:
        while write := self._next():
            try:
                write()
            except Exception as error:  # whoever asked for it learns of it
                self.error = self.error or error
            del write  # and what it holds

    def _next(self) -> Write | None:
        """What is to be called, once it is due; None once there will be no more."""
        with self._changed:
            self._running = None
            while True:
                delay = None
                if self._due:
                    write, due = min(self._due.items(), key=lambda item: item[1])
                    delay = due - time.monotonic()
                    if delay <= 0:
                        del self._due[write]
                        self._running = write
                        return write
                elif self._closed:
                    return None
                self._changed.wait(delay)
