"""A sweep from its file to its report: what ``ssl-sweep submit`` does."""

import contextlib
import shlex
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ...datasets.prepared import Prepared
from ..engine.interrupts import Interrupts
from ..engine.protocol import Engine
from ..published import Published
from ..search.group_search import GroupSearch
from ..spec.errors import UserError
from ..spec.expand import resolve
from ..spec.load import load_spec
from ..spec.models import SweepSpec, TrialSpec, data_root
from ..spec.overrides import options_of
from ..spec.published_file import own_published
from ..spec.secrets import without_passwords
from ..store.catalog import read_catalog
from ..store.files import Store
from ..store.known_data import remember
from ..store.lease import held
from ..store.origin import refuse_other_file
from ..store.planned import PlannedTrial
from ..store.records import SweepResult
from ..store.trial_state import TrialState
from .choice import EVERYTHING, Choice
from .driver import Driver
from .found_data import SweepData, located
from .intent import intent, search_intent
from .label_lists import match_lists
from .listing import TrialLister
from .observer import Observer
from .place import Place
from .plan import Datasets, plan_trials
from .results import collect, write_report, write_trials
from .searches import make_searches, search_records
from .sizes import notes_of
from .stopping import heeding_requests
from .weights import expanded

if TYPE_CHECKING:
    from ..tracking.tracker import Tracker

EngineMaker = Callable[[SweepSpec, Store, Path], Engine]


class Screen(Observer, Protocol):
    """Shows a sweep to its user."""

    def on_store(self, store: Store) -> None:
        """The sweep begins, and is kept in this store."""
        ...

    def preparing(self, name: str) -> contextlib.AbstractContextManager[Callable[[int, int], None]]:
        """Shows the preparation of a data set; yields what is told images done and images in all."""
        ...

    def on_dataset(self, prepared: Prepared) -> None:
        """A data set is ready; what it lacks is said."""
        ...

    def live(self) -> contextlib.AbstractContextManager[None]:
        """Shows the sweep while the block runs."""
        ...


class Outcome(NamedTuple):
    """How a sweep ended."""

    result: SweepResult
    report: str
    tracking: str
    """MLflow's URI, without its password."""
    interrupted: bool
    tracked: bool
    """False if MLflow was out of reach."""
    asked: tuple[str, ...] = ()
    """Ids of the trials that alone were to run; empty if it was the whole sweep."""

    @property
    def exit_status(self) -> int:
        """0, 1 if a trial failed, 130 if the user stopped it."""
        if self.interrupted:
            return 130
        if self.asked:
            asked = [trial for trial in self.result.trials if trial.trial_id in self.asked]
            return int(any(trial.status is not TrialState.FINISHED for trial in asked))
        return int(_state(self.result) is not TrialState.FINISHED)


def run_sweep(
    path: Path,
    screen: Screen,
    interrupts: Interrupts,
    make_engine: EngineMaker,
    *,
    replace: bool = False,
    choice: Choice = EVERYTHING,
    overrides: Sequence[str] = (),
) -> Outcome:
    """Run what is missing of the sweep in `path`, as far as it is the user's `choice`, and write its report.

    `replace`: take over the name of a sweep that another file defined. `overrides`: see `load_spec`.

    Raises:
        UserError: the file, the data, the store or the cluster do not allow it; nothing already computed is lost.
        KeyboardInterrupt: the user ended it before there was anything to report.
    """
    spec, document = load_spec(path, overrides)
    spec, trials = expanded(spec, document, read=True, keep=True)
    choice.refuse_search(spec)
    published = own_published(spec)  # as it is now: what becomes of the file meanwhile does not cost the report
    place = Place(Store(spec.storage), spec.name)
    with held(place.store, place.folder) as lease, contextlib.ExitStack() as requests:
        if lease is None:
            show = shlex.join(["ssl-sweep", "status", str(path), *options_of(overrides)])
            raise UserError(f"sweep '{spec.name}' is running already; `{show}` shows it")
        refuse_other_file(spec, place.store, path, document.text, replace=replace)
        place.store.write(f"{place.folder}/sweep.yaml", document.text.encode())
        screen.on_store(place.store)
        requests.enter_context(heeding_requests(place, lease.holder.id, interrupts))
        data = SweepData(place, spec, document)
        planned = _planned(data, trials, screen)
        chosen = choice.resolved(planned, spec.name)
        submission = _Submission(spec, place.store, planned, chosen, screen, interrupts, published)
        return submission.run(path.absolute().parent, data.contents, make_engine, requests)


def _planned(data: SweepData, trials: list[TrialSpec], screen: Screen) -> list[PlannedTrial]:
    """The trials on their data, which are prepared; what cannot run is refused before anything starts."""
    store, name = data.place
    prepared = data.prepare(trials, data_root(), screen.preparing)
    match_lists(trials, data.contents, data_root(), store)
    with located(data.document):
        planned = plan_trials(trials, data.contents)
    if data.absent:
        catalog = read_catalog(store, [item.trial_id for item in planned])
        data.refuse_gone(planned, catalog, trials if data.spec.search is not None else ())
        data.warn()
    for found in prepared:
        screen.on_dataset(found)
    for note in notes_of((item.trial for item in planned), data.contents):
        screen.on_message(f"note: {note}")
    remember(store, name, data.contents)
    return planned


class _Submission(NamedTuple):
    """A sweep whose lease this process holds."""

    spec: SweepSpec
    store: Store
    planned: list[PlannedTrial]
    choice: Choice
    screen: Screen
    interrupts: Interrupts
    published: tuple[Published, ...]
    """The user's own rows."""

    def run(self, base: Path, datasets: Datasets, make_engine: EngineMaker, requests: contextlib.ExitStack) -> Outcome:
        """Run what is chosen; write the report, whatever happens. `requests` to stop are not heeded after the last trial."""
        from ..tracking.database import tracking_uri
        from ..tracking.tracker import Tracker

        searches = make_searches(self.spec, self.store, datasets) if self.spec.search is not None else []
        tracker = Tracker(self.spec, self.store, tracking_uri(self.spec, self.store, base))
        engine = partial(make_engine, self.spec, self.store, data_root())
        observers: list[Observer] = [self.screen, tracker]
        if self.spec.search is not None:
            observers.append(TrialLister(self.store, self.spec.name))
        driver = Driver(
            self.store,
            datasets,
            engine,
            observers,
            self.interrupts,
            self.spec.resources.max_failures,
            retries_failed=self.choice.failed,
        )
        try:
            with requests, self.screen.live():
                run_missing(self.spec, self.planned, self.store, driver, searches, self.choice)
        except KeyboardInterrupt:
            self.screen.on_message("ending at once; the report follows")
        finally:
            outcome = self._finish(driver, tracker, searches)
        return outcome

    def _finish(self, driver: Driver, tracker: "Tracker", searches: list[GroupSearch]) -> Outcome:
        state = TrialState.FAILED
        try:
            driver.close()
            command = without_passwords(shlex.join(["ssl-sweep", *sys.argv[1:]]))
            planned = list(driver.planned.values())
            found = search_records(searches, ended=driver.searched)
            result = collect(
                self.spec, planned, driver.state, self.store, command, found, self.published, driver.datasets
            )
            report = write_report(self.store, result)
            state = TrialState.INTERRUPTED if self.interrupts.requested else _state(result)
        finally:
            tracked = tracker.close(state)  # whatever happened, the sweep's run in MLflow ends
        return Outcome(
            result, report, without_passwords(tracker.uri), self.interrupts.requested, tracked, self.choice.named
        )


def _state(result: SweepResult) -> TrialState:
    """Of the sweep as a whole."""
    failed = any(trial.status is not TrialState.FINISHED for trial in result.trials if not trial.search)
    return TrialState.FAILED if failed or result.undecided else TrialState.FINISHED


def run_missing(
    spec: SweepSpec,
    planned: list[PlannedTrial],
    store: Store,
    driver: Driver,
    searches: list[GroupSearch],
    choice: Choice = EVERYTHING,
) -> None:
    """Run the searches if there are any, then the chosen trials of the table."""
    finals: list[PlannedTrial] = planned
    if spec.search is not None:
        for search in searches:
            if search.space:
                driver.say(search_intent(search.template, search.search.extent, len(search.known)))
        driver.search(searches)
        for search in searches if driver.searched else ():
            search.end()
        finals = plan_trials(_best_trials(spec, searches), driver.datasets) if driver.searched else []
    items = driver.add(finals)
    write_trials(spec, driver.planned.values(), store)
    missing = [item for item in items if item.missing(driver.state.trials[item.trial_id])]
    left = {item.trial_id for item in missing if not choice.takes(item, driver.state.trials[item.trial_id])}
    chosen = [item for item in items if item.trial_id not in left]
    if not driver.stopping:
        driver.say(intent(((item, driver.state.trials[item.trial_id]) for item in chosen), left=len(left)))
    driver.run(chosen)


def _best_trials(spec: SweepSpec, searches: list[GroupSearch]) -> list[TrialSpec]:
    """The trials of the table at the best points."""
    best = [(search.group, search.best, search.best_changes) for search in searches]
    return [
        resolve(spec, group, seed, values, changes)
        for group, values, changes in best
        if values is not None
        for seed in spec.seeds
    ]
