"""MLflow as an observer of a sweep: a projection of the store, written by one thread of the process that drives it.

Live metrics are written as they come. Whatever a crash, a locked database or an absent server left out is made good from
the store when the trial ends, when the sweep ends, or at the next `submit`. Each metric carries the time of its event,
so writing it twice changes nothing.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from mlflow.entities import Metric

from ..spec.models import SweepSpec
from ..store.events import EvaluationDone, Event, PretrainingDone, StatusChanged
from ..store.files import Store
from ..store.planned import PlannedTrial
from ..store.trial_folder import TrialStore
from ..store.trial_state import TrialState
from ..store.trial_status import TrialStatus
from . import mlflow_values as values
from .ledger import Ledger, Tracked, settled_digest
from .mlflow_runs import PARAMETERS_TAG, SETTLED, Runs

log = logging.getLogger(__name__)

FLUSH_SECONDS = 2.0
RETRY_SECONDS = 10.0
PATIENCE = 60.0
"""Seconds that closing waits without any request being answered; each request has a timeout of its own, which is less."""
ARTIFACTS = ("trial.json", "views.png", "backbone.safetensors")


class _News(NamedTuple):
    item: PlannedTrial
    event: Event
    status: TrialStatus


class Tracker:
    """The runs of one sweep. Calls return at once; a thread of its own writes."""

    def __init__(self, spec: SweepSpec, store: Store, uri: str):
        """Begin to open MLflow, which may be absent and come later."""
        self.spec, self.store, self.uri = spec, store, uri
        self.ledger = Ledger.read(store, spec.name, uri)
        self.runs: Runs | None = None
        self.trials: dict[str, tuple[PlannedTrial, TrialStatus]] = {}
        self.live: dict[str, list[Metric]] = {}
        """Metrics on their way, by trial."""
        self.behind: set[str] = set()
        """Trials that missed a metric: the rest waits for their end, so that no gap is left."""
        self.retry_at = 0.0
        self.answered = time.monotonic()
        self.complaint = ""
        self.queue: queue.SimpleQueue[_News | TrialState] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._work, name="tracking", daemon=True)
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
        self.queue.put(state)
        self.answered = time.monotonic()
        while self.thread.is_alive() and time.monotonic() - self.answered < PATIENCE:
            self.thread.join(timeout=0.5)
        return not self.thread.is_alive() and not self.complaint

    # -- the thread --

    def _work(self) -> None:
        self._guarded(self._open)
        flushed = time.monotonic()
        while True:
            try:
                news = self.queue.get(timeout=FLUSH_SECONDS)
            except queue.Empty:
                news = None
            if isinstance(news, TrialState):
                break
            if news is not None:
                self._hear(news)
            if time.monotonic() - flushed > FLUSH_SECONDS:
                self._flush()
                flushed = time.monotonic()
        self._finish(news)

    def _finish(self, state: TrialState) -> None:
        self.retry_at = 0.0
        self.complaint = ""
        self._flush()
        for item, status in list(self.trials.values()):
            if status.attempts and not self._is_settled(item, status):
                self._guarded(lambda item=item, status=status: self._settle(item, status))
        self._guarded(lambda: self._opened().end_parent(values.ENDS[state]))
        self.store.write_record(Ledger.name(self.spec.name), self.ledger)

    def _guarded(self, call: Callable[[], None]) -> bool:
        """Whether `call` was done. Trouble with MLflow costs nothing but lateness: the store has everything."""
        if time.monotonic() < self.retry_at:
            return False
        try:
            call()
        except Exception as error:  # a database that is locked, full or damaged, a server that is away or refuses
            self.complaint = _first_line(error)
            log.warning("MLflow at %s: %s; events wait in the store", self.uri, self.complaint)
            self.retry_at = time.monotonic() + RETRY_SECONDS
            return False
        return True

    def _progress(self) -> None:
        self.answered = time.monotonic()

    # -- runs --

    def _open(self) -> None:
        """Find or make the sweep's experiment and run; if the ledger does not know them, learn from what MLflow has."""
        runs = Runs(self.spec, self.store, self.uri, self._progress)
        found = runs.open(self.ledger.parent)
        if self.ledger.parent != runs.parent:
            self.ledger = Ledger(uri=self.uri, parent=runs.parent)
        for run in found:
            trial_id = run.data.tags.get(values.TRIAL_TAG)
            if trial_id is not None:
                parameters, settled = (run.data.tags.get(tag, "") for tag in (PARAMETERS_TAG, SETTLED))
                self._note(trial_id, Tracked(run_id=run.info.run_id, parameters=parameters, settled=settled))
        self.runs = runs

    def _opened(self) -> Runs:
        if self.runs is None:
            self._open()
        assert self.runs is not None
        return self.runs

    def _note(self, trial_id: str, tracked: Tracked) -> None:
        self.ledger.trials[trial_id] = tracked

    def _hear(self, news: _News) -> None:
        trial_id, event = news.item.trial_id, news.event
        if isinstance(event, StatusChanged):
            if event.state is TrialState.RUNNING:
                self._guarded(lambda: self._opened().running(self._run(news.item, news.status)))
            elif news.status.attempts:
                self._flush()
                self._guarded(lambda: self._settle(news.item, news.status))
        elif trial_id not in self.behind and (metrics := self._new_metrics(news.item, event)):
            self.live.setdefault(trial_id, []).extend(metrics)

    def _new_metrics(self, item: PlannedTrial, event: Event) -> list[Metric]:
        """Of an event that is not written yet; it counts as written from now on."""
        tracked = self.ledger.trials.get(item.trial_id)
        if tracked is None:
            self.behind.add(item.trial_id)  # its run could not be made
            return []
        after = tracked.after(event)
        if after == tracked or _of_another_sweep(item, event):
            return []
        self._note(item.trial_id, after)
        return values.metrics_of(event)

    def _flush(self) -> None:
        for trial_id in list(self.live):
            metrics = self.live.pop(trial_id)
            run_id = self.ledger.trials[trial_id].run_id
            if not self._guarded(lambda run_id=run_id, metrics=metrics: self._opened().metrics(run_id, metrics)):
                self.behind.add(trial_id)

    def _run(self, item: PlannedTrial, status: TrialStatus) -> str:
        """The trial's run, made on first need, and anew if its parameters changed: MLflow never changes one."""
        params = values.parameters(item.trial)
        wanted = values.digest(params)
        tracked = self.ledger.trials.get(item.trial_id)
        if tracked is not None and tracked.parameters == wanted:
            return tracked.run_id
        runs = self._opened()
        if tracked is not None:
            runs.delete(tracked.run_id)
        name = values.run_name(self.spec, item.trial, item.trial_id)
        began = values.milliseconds(status.began) or None
        run_id = runs.create(name, {values.TRIAL_TAG: item.trial_id}, began, params, wanted)
        self._note(item.trial_id, Tracked(run_id=run_id, parameters=wanted))
        if status.attempts > 1 or status.evaluations:
            self.behind.add(item.trial_id)  # earlier events are only in the store
        return run_id

    def _is_settled(self, item: PlannedTrial, status: TrialStatus) -> bool:
        tracked = self.ledger.trials.get(item.trial_id)
        return tracked is not None and tracked.settled == settled_digest(status, item.evaluation_ids)

    def _settle(self, item: PlannedTrial, status: TrialStatus) -> None:
        """Make a trial's run show all that the store has of it, and end it."""
        runs, run_id = self._opened(), self._run(item, status)
        folder = TrialStore(self.store, item.trial_id)
        if item.trial_id in self.behind or not self._shows_all(item, status):
            runs.metrics(run_id, self._stored_metrics(item, status, folder))
            self.behind.discard(item.trial_id)
        runs.describe(run_id, values.status_tags(status), values.dataset_input(item.trial, status.dataset_fingerprint))
        for name in ARTIFACTS:
            runs.artifact(run_id, folder.name(name), name)
        runs.attach(run_id, folder.log_content(), "log.txt")
        settled = settled_digest(status, item.evaluation_ids)
        runs.end(run_id, values.ENDS[status.state], values.milliseconds(status.ended) or None, settled)
        self._note(item.trial_id, self.ledger.trials[item.trial_id].model_copy(update={"settled": settled}))

    def _shows_all(self, item: PlannedTrial, status: TrialStatus) -> bool:
        written = self.ledger.trials[item.trial_id].written
        wanted = [name for name in item.evaluation_ids if name in status.evaluations]
        return all(name in written for name in [*wanted, *(["pretrain"] if status.pretrain else [])])

    def _stored_metrics(self, item: PlannedTrial, status: TrialStatus, folder: TrialStore) -> list[Metric]:
        """All metrics of a trial, without evaluations that only other sweeps ask for."""
        events: list[Event] = []
        fresh = Tracked(run_id="", parameters="")
        for event in folder.events():
            if _of_another_sweep(item, event):
                continue
            after = fresh.after(event)
            if after != fresh:  # the first time that a step was trained
                events.append(event)
            fresh = after
        events += self._without_events(item, status, fresh)
        for event in events:
            fresh = fresh.after(event)
        tracked = self.ledger.trials[item.trial_id]
        self._note(item.trial_id, fresh.model_copy(update={"run_id": tracked.run_id, "parameters": tracked.parameters}))
        return [metric for event in events for metric in values.metrics_of(event)]

    def _without_events(self, item: PlannedTrial, status: TrialStatus, told: Tracked) -> list[Event]:
        """Records whose events are lost, or are of the first edition, which had no ids in them."""
        events: list[Event] = []
        if status.pretrain is not None and "pretrain" not in told.written:
            events.append(PretrainingDone(time=status.ended or 0.0, **dict(status.pretrain)))
        for name, config in zip(item.evaluation_ids, item.trial.evaluate, strict=True):
            if name in status.evaluations and name not in told.written:
                record = dict(status.evaluations[name])
                events.append(EvaluationDone(time=status.ended or 0.0, stage=config.name, evaluation_id=name, **record))
        return events


def _of_another_sweep(item: PlannedTrial, event: Event) -> bool:
    """Whether the trial did this for a sweep that asks for another evaluation."""
    return isinstance(event, EvaluationDone) and event.evaluation_id not in item.evaluation_ids


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
