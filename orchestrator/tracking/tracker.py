"""MLflow as an observer of a sweep: what happens is passed to a thread, which alone imports MLflow and writes to it."""

import logging
import queue
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

from ..spec.models import SweepSpec
from ..spec.secrets import without_passwords
from ..store.events import Event
from ..store.files import Store
from ..store.planned import PlannedTrial
from ..store.trial_state import TrialState
from ..store.trial_status import TrialStatus
from .database import has_run
from .ledger import Ledger, shown_digest

log = logging.getLogger(__name__)

FLUSH_SECONDS = 2.0
PATIENCE = 120.0
"""Seconds that closing waits without any request being answered; the longest request, with its retry, takes less."""


class _News(NamedTuple):
    item: PlannedTrial
    event: Event
    status: TrialStatus


class Tracker:
    """The runs of one sweep. Calls return at once; whatever happens to MLflow, they raise nothing."""

    def __init__(self, spec: SweepSpec, store: Store, uri: str):
        """Begin to open MLflow, which may be absent and come later."""
        self.spec, self.store, self.uri, self.place = spec, store, uri, without_passwords(uri)
        self.trials: dict[str, tuple[PlannedTrial, TrialStatus]] = {}
        self.whole = False
        """True once the thread has written everything."""
        self.answered = time.monotonic()
        self.queue: queue.SimpleQueue[_News | TrialState] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._guarded_work, name="tracking", daemon=True)
        self.thread.start()

    # -- what the driver calls --

    def on_trials(self, trials: Sequence[PlannedTrial], statuses: Sequence[TrialStatus]) -> None:
        """Nothing is written for trials that do not run: most are settled."""
        self.trials |= {item.trial_id: (item, status) for item, status in zip(trials, statuses, strict=True)}

    def on_event(self, item: PlannedTrial, event: Event, status: TrialStatus) -> None:
        """Metrics of a trial that runs, its begin and its end."""
        self.trials[item.trial_id] = (item, status)
        self.queue.put(_News(item, event, status))

    def on_message(self, text: str) -> None:
        """Not for MLflow."""

    def close(self, state: TrialState) -> bool:
        """Bring every run up to date, end the sweep's, and wait while requests are answered. False if MLflow misses something."""
        self.answered = time.monotonic()
        self.queue.put(state)
        while self.thread.is_alive() and time.monotonic() - self.answered < PATIENCE:
            self.thread.join(timeout=0.5)
        if self.thread.is_alive():
            log.warning("MLflow at %s has not answered for %.0f s; events wait in the store", self.place, PATIENCE)
            return False
        return self.whole

    # -- the thread --

    def _guarded_work(self) -> None:
        try:
            self._work()
        except Exception as error:  # the sweep does not depend on MLflow
            why = without_passwords(f"{type(error).__name__}: {error}")
            log.warning("MLflow at %s: %s; events wait in the store", self.place, why)

    def _work(self) -> None:
        # To open MLflow takes a core for seconds: the start of the first trial goes first.
        news = self._next(timeout=None)
        if isinstance(news, TrialState) and self._has_all(news):
            self.whole = True
            return

        from .mlflow_writer import Writer

        writer = Writer(self.spec, self.store, self.uri, self._progress)
        writer.open()
        flushed = time.monotonic()
        while not isinstance(news, TrialState):
            if news is not None:
                writer.hear(*news)
            # what is queued goes along, so that requests are as few and large as can be
            if self.queue.empty() and time.monotonic() - flushed > FLUSH_SECONDS:
                writer.flush()
                flushed = time.monotonic()
            news = self._next(FLUSH_SECONDS)
        self.whole = writer.finish(news, list(self.trials.values()))

    def _has_all(self, end: TrialState) -> bool:
        """Whether MLflow shows this sweep, in which nothing ran, as it ended; asked without MLflow, if that is possible."""
        ledger = Ledger.read(self.store, self.spec.name, self.uri)
        shown = shown_digest(self.store, self.spec.name, end)
        return ledger.has_all(self.trials.values(), shown) and has_run(self.uri, ledger.parent)

    def _next(self, timeout: float | None) -> _News | TrialState | None:
        """What happened next, the state in which the sweep ended, or None after `timeout` seconds of neither."""
        try:
            return self.queue.get(timeout=timeout)
        except queue.Empty:
            return None

    def _progress(self) -> None:
        self.answered = time.monotonic()
