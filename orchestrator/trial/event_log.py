"""What a trial tells while it runs, who hears it, and how a trial ends early."""

import time
from typing import Any

from ..store.trial_folder import TrialStore
from .runtime import Runtime

FLUSH_SECONDS = 2.0

MAY_WAIT = ("step", "score")
"""Kinds of events of which there may be hundreds in a second; an object store writes the whole file for each write."""


class TrialFailed(Exception):
    """A trial cannot go on, for a reason that all its ranks see alike."""


class TrialStopped(Exception):
    """The trial was asked to stop; it has kept its checkpoint."""


class Listener:
    """Who hears of a trial's progress, on rank 0. This one takes no notice, and lets it run to its end."""

    def tell(self, event: dict[str, Any]) -> None:
        """One event, as it is written to the trial's `events.jsonl`."""

    def stop_requested(self) -> bool:
        """True once the trial shall keep a checkpoint and end."""
        return False


class EventLog:
    """Events of a trial, to its `events.jsonl` and to the listener; ranks but the first tell nothing."""

    def __init__(self, folder: TrialStore, runtime: Runtime, listener: Listener):
        self.folder, self.runtime, self.listener = folder, runtime, listener
        self.waiting: list[dict[str, Any]] = []
        self.written = time.monotonic()

    def tell(self, kind: str, stage: str, **values: Any) -> None:
        """What `MAY_WAIT` is written with what comes next; anything else at once."""
        if not self.runtime.is_first:
            return
        event = {"kind": kind, "stage": stage, "time": round(time.time(), 3)} | values
        self.waiting.append(event)
        self.listener.tell(event)
        if kind not in MAY_WAIT or time.monotonic() - self.written > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        if self.waiting:
            self.folder.add_events(self.waiting)
        self.waiting, self.written = [], time.monotonic()

    def stop_requested(self) -> bool:
        """What the listener wants, on rank 0."""
        return self.runtime.is_first and self.listener.stop_requested()
