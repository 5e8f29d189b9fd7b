"""What a trial tells while it runs, who hears it, and how a trial ends early."""

import contextlib
import logging
import threading
import time
from collections.abc import Generator
from functools import partial
from typing import Protocol, TypeVar

from ..store.events import EvaluationDone, EvaluationFailed, Event, PretrainingDone, StageStarted, StatusChanged, Warned
from ..store.fault import Fault
from ..store.files import StoreError
from ..store.trial_folder import TrialStore
from ..store.trial_state import TrialState
from ..store.trial_status import TrialStatus
from .background import Background
from .runtime import Runtime

log = logging.getLogger(__name__)

E = TypeVar("E", bound=Event)

CONTINUE, CHECKPOINT, STOP, FAIL = 0, 1, 2, 3
"""What a training does after a step, see `Journal.request`."""

DISK_SECONDS, OBJECT_SECONDS = 2.0, 15.0
"""How long lines may wait for others to be written with. On an object store each write makes an object."""
STATUS_SECONDS = 10.0
"""Between two writes of `state.json` for progress alone."""

UNWRITTEN = "that the trial failed could not be written: %s"

AT_ONCE = (StatusChanged, StageStarted, PretrainingDone, EvaluationDone, EvaluationFailed)
"""Events that change what a trial still has to do; of the others there may be hundreds in a second."""


class TrialFailed(Exception):
    """A trial cannot continue, for a reason that all its ranks see alike."""

    def __init__(self, reason: str, fault: Fault):
        """`reason` in one line."""
        super().__init__(reason)
        self.fault = fault


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


class _Noting:
    """A listener whose own errors are known as such: they are none of what the trial was doing when it told of it."""

    def __init__(self, listener: Listener):
        self.listener = listener
        self.failed = False

    def on_event(self, event: Event) -> None:
        with self._noting():
            self.listener.on_event(event)

    def stop_requested(self) -> TrialState | None:
        with self._noting():
            return self.listener.stop_requested()

    @contextlib.contextmanager
    def _noting(self) -> Generator[None]:
        try:
            yield
        except Exception:
            self.failed = True
            raise


class Journal:
    """Events of a trial, to the store and to the listener; ranks but the first tell nothing.

    The store has them a little later than the listener: `background` writes them, `AT_ONCE` or a few seconds' together.
    """

    def __init__(self, folder: TrialStore, runtime: Runtime, listener: Listener, background: Background):
        self.folder, self.runtime, self.listener, self.background = folder, runtime, _Noting(listener), background
        self.status = folder.status() if runtime.is_first else TrialStatus()
        self.delay = DISK_SECONDS if folder.store.is_local else OBJECT_SECONDS
        self._waiting: list[Event] = []
        """Added to by the trial's thread, taken from by the one that writes."""
        self._written = time.monotonic()
        """When `state.json` was."""

    def tell(self, event: Event) -> None:
        """Tell the listener, and have it written soon."""
        if not self.runtime.is_first:
            return
        self.listener.on_event(self._take(event))
        if isinstance(event, AT_ONCE):
            self.write_soon()
        else:
            self.background.within(self.delay, self._write_events)
            status_due = self._written + STATUS_SECONDS - time.monotonic()
            self.background.within(max(self.delay, status_due), self._write)

    def end(self, event: StatusChanged) -> None:
        """Write how the trial ended, with all that came before, and then tell the listener, who may look at the store.

        Raises:
            TrialFailed: it could not be written, which is what the listener is told then. A failure is told in any case.
        """
        if not self.runtime.is_first:
            return
        event = self._take(event)
        self.write_soon()
        self.flush()
        error = self.background.take_error()
        if error is not None and event.state is TrialState.FAILED:
            log.warning(UNWRITTEN, error)
        elif error is not None:
            failure = _failure(error)
            if isinstance(failure, TrialFailed):
                told = {"state": TrialState.FAILED, "reason": str(failure), "fault": failure.fault}
                self.listener.on_event(event.model_copy(update=told))
            raise failure
        self.listener.on_event(event)

    def write_soon(self) -> None:
        """Have what waits written before anything that is asked for from now on."""
        self.background.within(0, self._write)

    def flush(self) -> None:
        """Wait until all is written that was asked for, checkpoints and log included. Raises nothing: see `settle`."""
        self.background.wait()

    @contextlib.contextmanager
    def warnings(self) -> Generator[None]:
        """Tell what this thread warns of in its log while the block runs: the user is to see it without looking there."""
        handler = _Warner(self)
        logger = logging.getLogger("ssl_sweep")
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)

    # -- what every rank does alike --

    def request(self, checkpoint_due: bool = False) -> int:
        """CONTINUE, CHECKPOINT or STOP, as rank 0 wants it; every rank calls it.

        Raises:
            TrialFailed: something could not be written; on every rank.
        """
        code = self.runtime.agree(self._wanted(checkpoint_due))
        if code == FAIL:
            raise _failure(self.background.take_error())
        return code

    def _wanted(self, checkpoint_due: bool) -> int:
        if not self.runtime.is_first:
            return CONTINUE
        if self.background.error is not None:
            return FAIL
        if self.listener.stop_requested() is not None:
            return STOP
        return CHECKPOINT if checkpoint_due else CONTINUE

    def settle(self) -> None:
        """Wait until all is written; every rank calls it. Raises as `request` does."""
        if self.runtime.is_first:
            self.flush()
        if self.runtime.agree(int(self.runtime.is_first and self.background.error is not None)):
            raise _failure(self.background.take_error())

    def stopped(self, where: str) -> TrialStopped:
        """The exception that ends the trial as the listener wants, once all is written; `where` as "after step 3 of 10".

        Every rank calls it. Raises as `request` does.
        """
        self.settle()
        return TrialStopped(self.listener.stop_requested() or TrialState.INTERRUPTED, where)

    # -- in the background --

    def _take(self, event: E) -> E:
        """The event with its time, as part of the status and of what waits."""
        event = event.model_copy(update={"time": round(time.time(), 3)})
        self._waiting.append(event)  # first, for the status that is written is of no more than the events that are
        self.status = self.status.apply(event)
        return event

    def _write_events(self) -> None:
        events = list(self._waiting)
        if events:
            self.folder.add_events(events)
            del self._waiting[: len(events)]  # only now: what could not be written is tried again with the trial's end

    def _write(self) -> None:
        status = self.status
        self._write_events()
        self.folder.write_status(status)
        self._written = time.monotonic()


class _Warner(logging.Handler):
    """Makes events of a thread's warnings."""

    def __init__(self, journal: Journal):
        super().__init__(logging.WARNING)
        self.journal, self.of_thread = journal, threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        """Errors end the trial, and are told with its end."""
        if record.levelno == logging.WARNING and record.thread == self.of_thread:
            self.journal.tell(Warned(message=" ".join(record.getMessage().split())))


def _failure(error: Exception | None) -> Exception:
    """What ends a trial of which something could not be written; None is the error of another rank."""
    if error is None:
        return TrialFailed("the first worker could not write to the store", Fault.STORE_ERROR)
    return TrialFailed(str(error), error.fault) if isinstance(error, StoreError) else error


def tell_failure(folder: TrialStore, listener: Listener, reason: str, fault: Fault, background: Background) -> None:
    """Record, on any rank, that the trial failed; the first reason counts. The listener is told even if the store cannot be."""
    try:
        status = folder.status()
    except StoreError:
        status = TrialStatus(state=TrialState.RUNNING)
    if status.state is TrialState.FAILED:
        return
    now = round(time.time(), 3)
    failed = StatusChanged(state=TrialState.FAILED, reason=reason, fault=fault, time=now)
    begun = [] if status.state is TrialState.RUNNING else [StatusChanged(state=TrialState.RUNNING, time=now)]
    events: list[Event] = [*begun, failed]
    for event in events:
        status = status.apply(event)
    for write in (partial(folder.add_events, events), partial(folder.write_status, status)):
        background.within(0, write)
    background.wait()
    if error := background.take_error():
        log.warning(UNWRITTEN, error)
    for event in events:
        listener.on_event(event)
