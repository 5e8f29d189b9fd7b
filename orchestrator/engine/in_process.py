"""An engine without Ray: the same jobs, one after another, in a thread of this process. For tests and debugging."""

import queue
import threading
from pathlib import Path

import torch

from ..spec.models import SweepSpec
from ..store.events import Event
from ..store.fault import Fault
from ..store.files import Store
from ..store.trial_state import TrialState
from ..trial.journal import Listener
from ..trial.runtime import Runtime
from .protocol import Job, TrialEvent
from .run_job import run_job


class InProcessEngine:
    """One worker on the CPU."""

    def __init__(self, spec: SweepSpec, store: Store, data_root: Path):
        resources = spec.resources
        self.store, self.data_root = store, data_root
        self.runtime = Runtime(
            torch.device("cpu"),
            checkpoint_seconds=resources.checkpoint_minutes * 60,
            compile=resources.compile,
            decoders=resources.decoders(gpu=False),
        )
        self._jobs: list[Job] = []
        self._running: str | None = None
        self._stop: TrialState | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._news: queue.SimpleQueue[TrialEvent] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="in-process", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def room(self) -> int:
        """One worker, one job."""
        return 1

    def submit(self, jobs: list[Job], *, first: bool = False) -> None:
        """Queue jobs."""
        with self._changed:
            self._jobs = [*jobs, *self._jobs] if first else [*self._jobs, *jobs]
            self._changed.notify()

    def larger(self, job: Job, fault: Fault) -> Job | None:
        """There is no more memory than this process has."""
        return None

    def events(self, timeout: float) -> list[TrialEvent]:
        """What has happened since the last call."""
        found: list[TrialEvent] = []
        try:
            found.append(self._news.get(timeout=timeout))
            while True:
                found.append(self._news.get_nowait())
        except queue.Empty:
            return found

    def stop(self, trial_id: str | None, state: TrialState) -> list[str]:
        """Ask one trial, or all, to end in `state`; returns those withdrawn before they began."""
        with self._changed:
            withdrawn = [job.trial_id for job in self._jobs if trial_id in (None, job.trial_id)]
            self._jobs = [job for job in self._jobs if job.trial_id not in withdrawn]
            if self._running is not None and trial_id in (None, self._running):
                self._stop = state
            return withdrawn

    def close(self) -> None:
        """End the thread; a running trial is asked to keep a checkpoint first."""
        self.stop(None, TrialState.INTERRUPTED)
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._running = self._stop = None
                self._changed.wait_for(lambda: self._jobs or self._closed)
                if not self._jobs:
                    return
                job = self._jobs.pop(0)
                self._running = job.trial_id
            self.carry_out(job, _QueueListener(self, job.trial_id))

    def carry_out(self, job: Job, listener: Listener) -> None:
        """Run one job."""
        run_job(job, self.store, self.data_root, self.runtime, listener)

    def tell(self, trial_id: str, event: Event) -> None:
        """Deliver an event."""
        self._news.put(TrialEvent(trial_id, event))

    def wanted(self) -> TrialState | None:
        """What the running trial is asked to become."""
        return self._stop


class _QueueListener:
    def __init__(self, engine: InProcessEngine, trial_id: str):
        self.engine, self.trial_id = engine, trial_id

    def on_event(self, event: Event) -> None:
        self.engine.tell(self.trial_id, event)

    def stop_requested(self) -> TrialState | None:
        return self.engine.wanted()
