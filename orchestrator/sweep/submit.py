"""A sweep from its file to its report: what ``ssl-sweep submit`` does."""

import contextlib
import shlex
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

from ...datasets.prepared import Prepared
from ..engine.interrupts import Interrupts
from ..engine.protocol import Engine
from ..search.group_search import GroupSearch
from ..spec.errors import UserError
from ..spec.expand import expand, resolve
from ..spec.load import load_spec
from ..spec.models import ResourcesConfig, SweepSpec, TrialSpec, data_root
from ..spec.secrets import without_passwords
from ..store.files import Store
from ..store.lease import held
from ..store.origin import refuse_other_file
from ..store.planned import PlannedTrial
from ..store.records import SearchRecord, SweepResult
from ..store.trial_state import TrialState
from .driver import Driver
from .intent import intent, search_intent
from .observer import Observer
from .plan import plan_trials, prepare_datasets
from .results import collect, write_report, write_trials
from .searches import make_searches, search_records

EngineMaker = Callable[[ResourcesConfig, Store, Path], Engine]


class Screen(Observer, Protocol):
    """Shows a sweep to its user."""

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

    @property
    def exit_status(self) -> int:
        """0, 1 if a trial failed, 130 if the user stopped it."""
        if self.interrupted:
            return 130
        return int(_state(self.result) is not TrialState.FINISHED)


def run_sweep(
    path: Path, screen: Screen, interrupts: Interrupts, make_engine: EngineMaker, *, replace: bool = False
) -> Outcome:
    """Run what is missing of the sweep in `path`, and write its report.

    `replace`: take over the name of a sweep that another file defined.

    Raises:
        UserError: the file, the data, the store or the cluster do not allow it; nothing already computed is lost.
        KeyboardInterrupt: the user ended it before there was anything to report.
    """
    spec, document = load_spec(path)
    trials = expand(spec, document)
    store = Store(spec.storage)
    with held(store, f"sweeps/{spec.name}") as lease:
        if lease is None:
            raise UserError(f"sweep '{spec.name}' is running already; `ssl-sweep status {path}` shows it")
        refuse_other_file(spec, store, path, replace=replace)
        store.write(f"sweeps/{spec.name}/sweep.yaml", path.read_bytes())
        return _drive(spec, trials, store, path.absolute().parent, screen, interrupts, make_engine)


def _drive(
    spec: SweepSpec,
    trials: list[TrialSpec],
    store: Store,
    base: Path,
    screen: Screen,
    interrupts: Interrupts,
    make_engine: EngineMaker,
) -> Outcome:
    from ..tracking.database import tracking_uri
    from ..tracking.tracker import Tracker

    datasets = prepare_datasets(trials, data_root(), screen.preparing)
    for prepared in datasets.values():
        screen.on_dataset(prepared)
    planned = plan_trials(trials, datasets)  # refuses what cannot run before anything starts
    uri = tracking_uri(spec, store, base)
    tracker = Tracker(spec, store, uri)
    engine = partial(make_engine, spec.resources, store, data_root())
    driver = Driver(store, datasets, engine, (screen, tracker), interrupts)
    state = TrialState.FAILED
    searches: tuple[SearchRecord, ...] = ()
    try:
        with screen.live():
            searches = run_missing(spec, planned, store, driver)
    except KeyboardInterrupt:
        screen.on_message("ending at once; the report follows")
    finally:
        try:
            driver.close()
            command = without_passwords(shlex.join(["ssl-sweep", *sys.argv[1:]]))
            result = collect(spec, list(driver.planned.values()), driver.state, store, command, searches)
            report = write_report(store, result)
            state = TrialState.INTERRUPTED if interrupts.requested else _state(result)
        finally:
            tracked = tracker.close(state)  # whatever happened, the sweep's run in MLflow ends
    return Outcome(result, report, without_passwords(uri), interrupts.requested, tracked)


def _state(result: SweepResult) -> TrialState:
    """Of the sweep as a whole."""
    failed = any(trial.status is not TrialState.FINISHED for trial in result.trials if not trial.search)
    return TrialState.FAILED if failed or result.undecided else TrialState.FINISHED


def run_missing(spec: SweepSpec, planned: list[PlannedTrial], store: Store, driver: Driver) -> tuple[SearchRecord, ...]:
    """Run the searches if there are any, then the trials of the table; returns what the searches have found."""
    finals: list[PlannedTrial] = planned
    records: tuple[SearchRecord, ...] = ()
    if spec.search is not None:
        searches = make_searches(spec, store, driver.datasets)
        for search in searches:
            if search.space:
                driver.say(search_intent(search.template, search.search.extent, len(search.known)))
        driver.search(searches)
        records = search_records(searches, ended=not driver.stopping)
        finals = [] if driver.stopping else plan_trials(_best_trials(spec, searches), driver.datasets)
    items = driver.add(finals)
    write_trials(spec, driver.planned.values(), store)
    if not driver.stopping:
        driver.say(intent((item, driver.state.trials[item.trial_id]) for item in items))
    driver.run(items)
    return records


def _best_trials(spec: SweepSpec, searches: list[GroupSearch]) -> list[TrialSpec]:
    """The trials of the table at the best points."""
    best = [(search.group, search.best) for search in searches]
    return [resolve(spec, group, seed, values) for group, values in best if values is not None for seed in spec.seeds]
