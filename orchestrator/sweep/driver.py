"""The driver: one loop that gives trials to the engine, folds what happens into the state, and asks the searches."""

import time
from collections.abc import Callable, Iterable, Sequence

from ..engine.interrupts import Interrupts
from ..engine.protocol import Engine
from ..search.base import Create, SearchAlgorithm, Stop
from ..spec.errors import UserError
from ..store.catalog import read_catalog
from ..store.events import AttemptLost, Event, StatusChanged
from ..store.fault import Fault
from ..store.files import Store, StoreError
from ..store.planned import PlannedTrial
from ..store.trial_folder import TrialStore
from ..store.trial_state import TrialState
from .attempts import Attempts
from .observer import Observer
from .plan import Datasets, plan_trials
from .state import SweepState

POLL_SECONDS = 0.25
BUSY_SECONDS = 2.0
"""Between two looks at trials that another sweep computes."""
ENDS = (TrialState.INTERRUPTED, TrialState.FAILED, TrialState.STOPPED_EARLY)
"""Of which a worker may not have had the time to write."""


class Driver:
    """Runs trials; everything that it knows can be read from the store again."""

    def __init__(
        self,
        store: Store,
        datasets: Datasets,
        make_engine: Callable[[], Engine],
        observers: Sequence[Observer],
        interrupts: Interrupts,
        max_failures: int,
        *,
        retries_failed: bool = True,
    ):
        """Args:
        store: of the sweep.
        datasets: by their configurations.
        make_engine: called once something is to run, for a sweep of which nothing is missing needs no engine.
        observers: are told of everything.
        interrupts: whether the user wants an end.
        max_failures: restarts of a trial, see `engine.faults`.
        retries_failed: whether a trial of a search that failed is tried again, or taken as it is.
        """
        self.store, self.datasets, self.make_engine = store, datasets, make_engine
        self.observers, self.interrupts, self.retries_failed = observers, interrupts, retries_failed
        self.attempts = Attempts(self._started_engine, max_failures, self.say)
        self.planned: dict[str, PlannedTrial] = {}
        self.state = SweepState()
        self.searches: list[SearchAlgorithm] = []
        self.failed: set[str] = set()
        """In this submission: a search that samples such a point again does not run it again."""
        self.busy: set[str] = set()
        """Computed by another sweep."""
        self.stopping = False
        self.searched = False
        """Whether the searches have come to their end, by themselves."""
        self._looked = 0.0

    # -- what a sweep asks for --

    def add(self, planned: Sequence[PlannedTrial]) -> list[PlannedTrial]:
        """Take trials into the sweep, as the store has them; those that are new to it."""
        items = [item for item in planned if item.trial_id not in self.planned]
        catalog = read_catalog(self.store, [item.trial_id for item in items])
        self.planned |= {item.trial_id: item for item in items}
        self.state = self.state.add(items, catalog)
        for observer in self.observers:
            observer.on_trials(items, [self.state.trials[item.trial_id] for item in items])
        return items

    def run(self, items: Iterable[PlannedTrial]) -> None:
        """Run what the trials miss; returns when all have ended, by themselves or by the user."""
        self._submit([item for item in items if item.missing(self.state.trials[item.trial_id])])
        self._wait()

    def search(self, searches: Sequence[SearchAlgorithm]) -> None:
        """Run searches side by side, until none wants another trial."""
        self.searches = list(searches)
        for search in self.searches:
            self._create(search, search.earlier())
        self._refill()
        try:
            self._wait()
        finally:
            for search in self.searches:
                search.keep(now=True)
        self.searches = []
        self.searched = not self.stopping

    def close(self) -> None:
        """Let go of the engine, if there is one, and record what was cut short: no worker is left to say so."""
        for trial_id in self.attempts.close():
            self._take_in(trial_id, StatusChanged(state=TrialState.INTERRUPTED, reason="ended at once"))

    # -- the loop --

    def _wait(self) -> None:
        with self.interrupts.watched():
            while self.attempts.jobs or self.busy:
                self._turn()
        if self.attempts.fatal is not None:
            raise UserError(self.attempts.fatal)

    def _turn(self) -> None:
        if self.interrupts.requested and not self.stopping:
            self._stop("stopping: each trial keeps a checkpoint at its next step or epoch; Ctrl-C again ends at once")
        if self.attempts.fatal is not None and not self.stopping:
            self._stop(f"stopping the sweep: {self.attempts.fatal}")
        if self.attempts.jobs:
            for trial_id, event in self.attempts.events(POLL_SECONDS):
                self._take_in(trial_id, event)
                if isinstance(event, StatusChanged) and event.state is TrialState.WAITING and not self.stopping:
                    self.busy.add(trial_id)
                    self.say(f"waiting for {trial_id}: another sweep is computing it")
                self._ask_searches(trial_id, event)
            self._refill()
        else:
            time.sleep(POLL_SECONDS)
        self._look_at_busy()
        for search in self.searches:
            search.keep(now=False)

    def _take_in(self, trial_id: str, event: Event) -> None:
        self.state = self.state.apply(trial_id, event)
        if isinstance(event, AttemptLost) or (isinstance(event, StatusChanged) and event.state in ENDS):
            self._record(trial_id, event)
        item = self.planned[trial_id]
        ends_well = isinstance(event, StatusChanged) and event.state is TrialState.FINISHED
        if ends_well and item.missing(self.state.trials[trial_id]):
            self._read(item)
        if isinstance(event, StatusChanged) and event.state is TrialState.FAILED:
            self.failed.add(trial_id)
        for observer in self.observers:
            observer.on_event(item, event, self.state.trials[trial_id])
        if isinstance(event, AttemptLost):
            self._take_in(trial_id, StatusChanged(state=TrialState.WAITING))

    def _record(self, trial_id: str, event: StatusChanged | AttemptLost) -> None:
        """Keep of an end what no worker could: it may have died. A store that is full ends the sweep."""
        try:
            TrialStore(self.store, trial_id).record_end(event)
        except StoreError as error:
            self.say(f"the end of {trial_id} could not be written: {error}")
            if error.fault is Fault.STORE_FULL:
                self.attempts.fatal = self.attempts.fatal or str(error)

    def _read(self, item: PlannedTrial) -> None:
        """Take from the store what another sweep did of a trial before a worker of this one took it: no event told of that."""
        self.state = self.state.add([item], read_catalog(self.store, [item.trial_id]))
        for search in self.searches if self._is_complete(item) else []:
            search.found(item.trial_id, self.state.trials[item.trial_id])

    def _submit(self, items: list[PlannedTrial]) -> None:
        if not items or self.interrupts.requested or self.stopping:
            return
        for item in items:
            if self.state.trials[item.trial_id].state is not TrialState.WAITING:
                self._take_in(item.trial_id, StatusChanged(state=TrialState.WAITING))
            if item.trial.method.name in self.attempts.broken:
                end = self.attempts.not_begun(item.trial.method.name)
                self._take_in(item.trial_id, end)
                self._ask_searches(item.trial_id, end)
        self.attempts.submit([item for item in items if item.trial.method.name not in self.attempts.broken])

    def _started_engine(self) -> Engine:
        engine = self.make_engine()
        try:
            engine.start()
        except BaseException:
            engine.close()
            raise
        return engine

    def _stop(self, message: str) -> None:
        self.stopping = True
        self.say(message)
        self._withdraw(self.attempts.stop(None, TrialState.INTERRUPTED))
        self.busy.clear()

    def _withdraw(self, trial_ids: Iterable[str], state: TrialState = TrialState.INTERRUPTED) -> None:
        """Trials that had not begun are as they were, or stopped early."""
        for trial_id in trial_ids:
            if self.state.trials[trial_id].attempts or state is not TrialState.INTERRUPTED:
                self._take_in(trial_id, StatusChanged(state=state))

    def _look_at_busy(self) -> None:
        """Take what another sweep has computed, and run what it gave up."""
        if not self.busy or time.monotonic() - self._looked < BUSY_SECONDS:
            return
        self._looked = time.monotonic()
        catalog = read_catalog(self.store, sorted(self.busy))
        ended = [trial_id for trial_id in sorted(self.busy) if catalog.status(trial_id).state is not TrialState.RUNNING]
        self.busy -= set(ended)
        items = [self.planned[trial_id] for trial_id in ended]
        self.state = self.state.add(items, catalog)
        for item in items:
            status = self.state.trials[item.trial_id]
            for observer in self.observers:
                observer.on_event(item, StatusChanged(state=status.state), status)
            for search in self.searches if self._is_complete(item) else []:
                search.found(item.trial_id, status)
        self._submit([item for item in items if not self._is_complete(item)])
        self._refill()

    def _is_complete(self, item: PlannedTrial) -> bool:
        """Whether nothing of a trial is left to run: a search that stops trials early takes those that were as they are."""
        status = self.state.trials[item.trial_id]
        if status.state is TrialState.FAILED and not self.retries_failed:
            return True
        stops_early = any(search.stops_early for search in self.searches)
        return not item.missing(status) or (stops_early and status.state is TrialState.STOPPED_EARLY)

    # -- searches --

    def _refill(self) -> None:
        for search in self.searches:
            while not self._ends(search) and (wanted := search.more(self.attempts.room)):
                self._create(search, wanted)

    def _ends(self, search: SearchAlgorithm) -> bool:
        return self.interrupts.requested or self.stopping or search.method in self.attempts.broken

    def _create(self, search: SearchAlgorithm, wanted: Sequence[Create]) -> None:
        missing: dict[str, PlannedTrial] = {}
        taken = (self.attempts.jobs, self.busy, self.failed)
        items = [item for create in wanted for item in plan_trials([create.trial], self.datasets)]
        self.add(list({item.trial_id: item for item in items}.values()))
        for create, item in zip(wanted, items, strict=True):
            search.created(item.trial_id, item.trial)
            if create.ended and not self._is_complete(item):
                self._end_early(item.trial_id)
                search.found(item.trial_id, self.state.trials[item.trial_id])
            elif self._is_complete(item):
                search.found(item.trial_id, self.state.trials[item.trial_id])
            elif not any(item.trial_id in known for known in taken):
                missing[item.trial_id] = item
        search.keep(now=True)
        self._submit(list(missing.values()))

    def _end_early(self, trial_id: str) -> None:
        """As a search wanted, of a trial that did not come to hear it."""
        if self.state.trials[trial_id].state is not TrialState.STOPPED_EARLY:
            self._take_in(trial_id, StatusChanged(state=TrialState.WAITING))
            self._withdraw([trial_id], TrialState.STOPPED_EARLY)

    def _ask_searches(self, trial_id: str, event: Event) -> None:
        for search in self.searches:
            for action in search.on_event(trial_id, event, self.state.trials[trial_id]):
                if isinstance(action, Stop):
                    withdrawn = self.attempts.stop(action.trial_id, TrialState.STOPPED_EARLY)
                    self._withdraw(withdrawn, TrialState.STOPPED_EARLY)
                else:
                    self._create(search, [action])

    def say(self, text: str) -> None:
        """Tell the user."""
        for observer in self.observers:
            observer.on_message(text)
