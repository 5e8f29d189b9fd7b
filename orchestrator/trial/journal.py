"""What a trial tells while it runs, who hears it, and how a trial ends early."""

import time
from typing import Protocol

from ..store.events import Event, ScoreDone, StatusChanged, StepDone
from ..store.trial_folder import TrialStore
from ..store.trial_state import TrialState
from ..store.trial_status import TrialStatus
from .runtime import Runtime

FLUSH_SECONDS = 2.0

MAY_WAIT = (StepDone, ScoreDone)
"""Events of which there may be hundreds in a second."""


class TrialFailed(Exception):
    """A trial cannot continue, for a reason that all its ranks see alike."""


class TrialStopped(Exception):
    """The trial was asked to stop, and has kept its checkpoint."""

    def __init__(self, state: TrialState, where: str):
        """`state` is what it was asked to become; `where` says how far it came, as "after step 3 of 10"."""
        super().__init__(f"stopped {where}")
        self.state = state


class Listener(Protocol):
    """Who hears of a trial's progress, on rank 0."""

    def on_event(self, event: Event) -> None:
        """One event, in the order in which they happen."""
        ...

    def stop_requested(self) -> TrialState | None:
        """The state that the trial shall end in (interrupted or stopped early), or None to let it run."""
        ...


class Deaf:
    """A listener that takes no notice, and lets a trial run to its end."""

    def on_event(self, event: Event) -> None:
        """Nothing."""

    def stop_requested(self) -> TrialState | None:
        """Never."""
        return None


class Journal:
    """Events of a trial, to the store and to the listener; ranks but the first tell nothing."""

    def __init__(self, folder: TrialStore, runtime: Runtime, listener: Listener):
        self.folder, self.runtime, self.listener = folder, runtime, listener
        self.status = folder.status() if runtime.is_first else TrialStatus()
        self.waiting: list[Event] = []
        self.written = time.monotonic()

    def tell(self, event: Event) -> None:
        """What `MAY_WAIT` is written with what comes next; anything else at once."""
        if not self.runtime.is_first:
            return
        event = event.model_copy(update={"time": round(time.time(), 3)})
        self.status = self.status.apply(event)
        self.waiting.append(event)
        self.listener.on_event(event)
        if not isinstance(event, MAY_WAIT) or time.monotonic() - self.written > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if self.waiting:
            self.folder.add_events(self.waiting)
            self.folder.write_status(self.status)
        self.waiting, self.written = [], time.monotonic()

    def stop_requested(self) -> bool:
        """Whether the listener wants an end, on rank 0."""
        return self.runtime.is_first and self.listener.stop_requested() is not None

    def stopped(self, where: str) -> TrialStopped:
        """The exception that ends the trial as the listener wants; `where` as "after step 3 of 10"."""
        return TrialStopped(self.listener.stop_requested() or TrialState.INTERRUPTED, where)


def tell_failure(folder: TrialStore, listener: Listener, reason: str) -> None:
    """Record, on any rank, that the trial failed; the first reason counts."""
    status = folder.status()
    if status.state is TrialState.FAILED:
        return
    now = round(time.time(), 3)
    failed = StatusChanged(state=TrialState.FAILED, reason=reason, time=now)
    begun = [] if status.state is TrialState.RUNNING else [StatusChanged(state=TrialState.RUNNING, time=now)]
    for event in [*begun, failed]:
        status = status.apply(event)
        listener.on_event(event)
    folder.add_events([*begun, failed])
    folder.write_status(status)
