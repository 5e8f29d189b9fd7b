"""The thread that renews the leases of this process."""

import logging
import threading
import time
from typing import Protocol

from .files import StoreError

log = logging.getLogger(__name__)


class Renewed(Protocol):
    """What is renewed: a lease."""

    def renew(self) -> None:
        """Tell the others that the holder lives. Raises StoreError."""
        ...


class Heart:
    """One thread that renews all leases of this process, each at its own interval."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self.changed = threading.Condition()
        self.due: dict[Renewed, float] = {}
        """Time of the next renewal, on the system's own clock."""
        self.interval: dict[Renewed, float] = {}
        self.thread: threading.Thread | None = None

    def add(self, lease: Renewed, interval: float) -> None:
        if interval == float("inf"):
            return
        with self.changed:
            self.due[lease], self.interval[lease] = time.monotonic() + interval, interval
            if self.thread is None:
                self.thread = threading.Thread(target=self._beat, name="leases", daemon=True)
                self.thread.start()
            self.changed.notify()

    def remove(self, lease: Renewed) -> None:
        with self.changed:
            self.due.pop(lease, None)
            self.interval.pop(lease, None)
            self.changed.notify()

    def _beat(self) -> None:
        while True:
            with self.changed:
                if not self.due:
                    self.thread = None
                    return
                lease, due = min(self.due.items(), key=lambda item: item[1])
                wait = due - time.monotonic()
                if wait > 0:
                    self.changed.wait(wait)
                    continue
                self.due[lease] = time.monotonic() + self.interval[lease]
            try:
                lease.renew()
            except StoreError as error:  # the next beat tries again; `lost` tells when it is too late
                log.warning("a lease could not be renewed: %s", error)
