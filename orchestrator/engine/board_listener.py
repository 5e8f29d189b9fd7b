"""A trial's words to the board, and the board's to the trial."""

import threading
import time
from typing import Any

import ray

from ..store.events import Event
from ..store.trial_state import TrialState
from .batch import Batch

REPORT_SECONDS = 0.25
STOP_POLL_SECONDS = 0.5


class BoardListener:
    """Passes a trial's events to the board in batches, and its wish to stop back.

    A call of an actor takes a millisecond of three processes, so events wait a moment for others. Ray may carry out calls of
    one caller in another order than they were made: the next call waits for the answer to the last.
    """

    def __init__(self, board: Any, trial_id: str):
        """`board`: the actor's handle."""
        self.board, self.trial_id = board, trial_id
        self._waiting: list[Event] = []
        self._timer: threading.Timer | None = None
        self._changing = threading.Lock()
        """Held while events are put down or taken up; never while anything is waited for."""
        self._sending = threading.Lock()
        self._asked = time.monotonic()  # a job that is asked to stop is not handed out
        self._stop: TrialState | None = None

    def on_event(self, event: Event) -> None:
        """Report it soon, with what follows until then."""
        with self._changing:
            self._waiting.append(event)
            if self._timer is None:
                self._timer = threading.Timer(REPORT_SECONDS, self.flush)
                self._timer.daemon = True
                self._timer.start()

    def flush(self) -> None:
        """Report what waits; the board knows it when this returns."""
        with self._sending:
            rest = self._take()
            if rest is not None:
                ray.get(self.board.report.remote(rest))

    def rest(self) -> Batch | None:
        """What has not been reported, for the caller to report; all before it has arrived."""
        with self._sending:
            return self._take()

    def _take(self) -> Batch | None:
        with self._changing:
            waiting, self._waiting = self._waiting, []
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        return Batch.of(self.trial_id, waiting) if waiting else None

    def stop_requested(self) -> TrialState | None:
        """Asks the board at most twice a second."""
        if self._stop is None and time.monotonic() - self._asked > STOP_POLL_SECONDS:
            self._stop = ray.get(self.board.stop_requested.remote(self.trial_id))
            self._asked = time.monotonic()
        return self._stop
