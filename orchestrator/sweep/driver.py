"""The driver: one loop that gives trials to the engine, folds what happens into the state, and asks the searches."""

import time
from collections.abc import Callable, Iterable, Sequence

from ..engine.interrupts import Interrupts
from ..engine.protocol import Engine, Job
from ..search.base import Create, SearchAlgorithm, Stop
from ..store.catalog import read_catalog
from ..store.events import Event, StatusChanged
from ..store.files import Store
from ..store.planned import PlannedTrial
from ..store.trial_folder import TrialStore
from ..store.trial_state import TrialState
from .observer import Observer
from .plan import Datasets, plan_trials
from .state import SweepState

POLL_SECONDS = 0.25
BUSY_SECONDS = 2.0
"""Between two looks at trials that another sweep computes."""


class Driver:
    """Runs trials; everything that it knows can be read from the store again."""

    def __init__(
        self,
        store: Store,
        datasets: Datasets,
        make_engine: Callable[[], Engine],
        observers: Sequence[Observer],
        interrupts: Interrupts,
        *,
        retries_failed: bool = True,
    ):
        """`make_engine` is called once something is to run: a sweep of which nothing is missing needs no engine.

        Unless it `retries_failed`, a trial of a search that failed is taken as it is.
        """
        self.store, self.datasets, self.make_engine = store, datasets, make_engine
        self.observers, self.interrupts, self.retries_failed = observers, interrupts, retries_failed
        self.engine: Engine | None = None
        self.planned: dict[str, PlannedTrial] = {}
        self.state = SweepState()
        self.searches: list[SearchAlgorithm] = []
        self.pending: set[str] = set()
        """Given to the engine and not ended."""
        self.busy: set[str] = set()
        """Computed by another sweep."""
        self.stopping = False
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

    def _finish(self) -> None:
        """Record what was cut short: no worker is left to say so."""
        for trial_id, status in self.state.trials.items():
            if status.state is TrialState.RUNNING and trial_id in self.pending:
                self._take_in(trial_id, StatusChanged(state=TrialState.INTERRUPTED, reason="ended at once"))

    def close(self) -> None:
        """Let go of the engine, if there is one, and record what was cut short."""
        if self.engine is not None:
            self.engine.close()
        self._finish()

    # -- the loop --

    def _wait(self) -> None:
        with self.interrupts.watched():
            while self.pending or self.busy:
                if self.interrupts.requested and not self.stopping:
                    self._stop()
                if self.pending:
                    for trial_id, event in self._engine().events(POLL_SECONDS):
                        self._take_in(trial_id, event)
                        self._ask_searches(trial_id, event)
                    self._refill()
                else:
                    time.sleep(POLL_SECONDS)
                self._look_at_busy()
                for search in self.searches:
                    search.keep(now=False)

    def _take_in(self, trial_id: str, event: Event) -> None:
        self.state = self.state.apply(trial_id, event)
        if isinstance(event, StatusChanged) and event.state is not TrialState.RUNNING:
            self._ended(trial_id, event)
        item, status = self.planned[trial_id], self.state.trials[trial_id]
        for observer in self.observers:
            observer.on_event(item, event, status)

    def _ended(self, trial_id: str, event: StatusChanged) -> None:
        was_running = trial_id in self.pending
        self.pending.discard(trial_id)
        if event.state is TrialState.WAITING:
            if was_running and not self.stopping:
                self.busy.add(trial_id)
                self.say(f"waiting for {trial_id}: another sweep is computing it")
        elif event.state is not TrialState.FINISHED:
            TrialStore(self.store, trial_id).record_end(event)  # if its worker could not
        elif (item := self.planned[trial_id]).missing(self.state.trials[trial_id]):
            self._read(item)

    def _read(self, item: PlannedTrial) -> None:
        """Take from the store what another sweep did of a trial before a worker of this one took it: no event told of that."""
        self.state = self.state.add([item], read_catalog(self.store, [item.trial_id]))
        for search in self.searches if self._is_complete(item) else []:
            search.found(item.trial_id, self.state.trials[item.trial_id])

    def _submit(self, items: list[PlannedTrial]) -> None:
        if not items or self.interrupts.requested:
            return
        engine = self._engine()
        for item in items:
            if self.state.trials[item.trial_id].state is not TrialState.WAITING:
                self._take_in(item.trial_id, StatusChanged(state=TrialState.WAITING))
        self.pending |= {item.trial_id for item in items}
        engine.submit([Job(item.trial_id, item.trial.model_dump_json(), item.prepared.fingerprint) for item in items])

    def _engine(self) -> Engine:
        """The engine, made and started on first need."""
        if self.engine is None:
            self.engine = self.make_engine()
            self.engine.start()
            self.interrupts.listen()  # Ray has taken the signals
        return self.engine

    def _stop(self) -> None:
        self.stopping = True
        self.say("stopping: each trial keeps a checkpoint at its next step or epoch; Ctrl-C again ends at once")
        self._withdraw(self._engine().stop(None, TrialState.INTERRUPTED))
        self.busy.clear()

    def _withdraw(self, trial_ids: Iterable[str], state: TrialState = TrialState.INTERRUPTED) -> None:
        """Trials that had not begun are as they were, or stopped early."""
        for trial_id in trial_ids:
            self.pending.discard(trial_id)
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
            while not self.interrupts.requested and (wanted := search.more(self._room())):
                self._create(search, wanted)

    def _room(self) -> int:
        return 1 if self.engine is None else self.engine.room

    def _create(self, search: SearchAlgorithm, wanted: Sequence[Create]) -> None:
        missing: dict[str, PlannedTrial] = {}
        items = [item for create in wanted for item in plan_trials([create.trial], self.datasets)]
        self.add(list({item.trial_id: item for item in items}.values()))
        for item in items:
            search.created(item.trial_id, item.trial)
            if self._is_complete(item):
                search.found(item.trial_id, self.state.trials[item.trial_id])
            elif item.trial_id not in self.pending | self.busy:
                missing[item.trial_id] = item
        search.keep(now=True)
        self._submit(list(missing.values()))

    def _ask_searches(self, trial_id: str, event: Event) -> None:
        for search in self.searches:
            for action in search.on_event(trial_id, event, self.state.trials[trial_id]):
                if isinstance(action, Stop):
                    self._withdraw(
                        self._engine().stop(action.trial_id, TrialState.STOPPED_EARLY), TrialState.STOPPED_EARLY
                    )
                else:
                    self._create(search, [action])

    def say(self, text: str) -> None:
        """Tell the user."""
        for observer in self.observers:
            observer.on_message(text)
