"""What the store tells without running anything: the plan of a sweep, its status, its results. Nothing is written."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ...datasets.config import DatasetConfig
from ...methods.quantities import noun_of, plural
from ..search.space import domains
from ..spec.errors import UserError
from ..spec.expand import Group, groups, resolve
from ..spec.label import label_of
from ..spec.load import load_spec
from ..spec.models import AUTO, SweepSpec, TrialSpec, data_root
from ..spec.overrides import options_of
from ..spec.published_file import own_published
from ..store.catalog import read_catalog
from ..store.files import Store
from ..store.lease import holder
from ..store.planned import PlannedTrial
from ..store.records import SearchRecord, SweepResult
from ..store.trial_list import TrialList
from ..store.trial_state import TrialState
from ..store.trial_status import TrialStatus
from .estimate import Estimate, estimates
from .found_data import SweepData, located
from .label_lists import match_lists
from .place import Place
from .plan import Datasets, is_ready, plan_trials
from .results import collect
from .searches import make_searches, search_records
from .sizes import notes_of
from .state import SweepState
from .weights import expanded


class PlanRow(NamedTuple):
    """A trial in the plan of a sweep."""

    trial: str
    """Its id, or what it is called as long as it has none."""
    missing: list[str]
    """Stages to run."""
    needs: str
    """What it takes, in words."""
    label: str = ""
    """Method, axes, seed, of one that has an id."""
    device_hours: float | None = None
    """Of GPUs, or of workers without any, for what is missing; None if nothing similar has run."""
    memory: int | None = None
    """Bytes, at the peak of the busiest worker."""
    device: str = ""
    """On which that was measured."""
    like: int = 0
    """In how many similar trials; 0 if a probe measured it."""
    notes: Sequence[str] = ()
    """What is to be said of its evaluations."""


class StatusRow(NamedTuple):
    """A trial in the status of a sweep."""

    trial: str
    status: TrialState
    stage: str
    epoch: int
    """Of the stage."""
    epochs: int
    missing: list[str]
    reason: str | None
    is_trial: bool = True
    """False for a search that found nothing to train."""
    label: str = ""
    """Method, axes, seed, of one that has an id."""
    restarts: int = 0
    """Attempts that a fault ended and others followed."""
    last_restart: str | None = None
    """Why, of the last one."""
    failed: Mapping[str, str] = {}
    """Evaluations that failed when they were run last, with the reason."""
    learning: str = ""
    """What its pretraining does, in a word or two, by the rules of `docs/report.md`; empty if nothing tells, or if it failed."""
    advice: str = ""
    """What to change, of one that does not learn."""


class SweepRow(NamedTuple):
    """A sweep of a store."""

    sweep: str
    trials: int
    status: str


def plan_rows(path: Path, overrides: Sequence[str] = ()) -> list[PlanRow]:
    """The trials of the sweep in `path`, with its `overrides`: identity, what is missing, what each takes.

    Raises:
        UserError: the file has errors, or what is missing cannot be run.
    """
    spec, document = load_spec(path, overrides)
    spec, trials = expanded(spec, document, read=True)
    store = Store(spec.storage)
    data = SweepData(Place(store, spec.name), spec, document)
    data.find(trials, data_root())
    match_lists(trials, data.contents, data_root())
    searched = _searched(spec)
    if searched:
        fixed = [group for group in groups(spec) if all(group != other for other, _ in searched)]
        trials = [resolve(spec, group, seed) for group in fixed for seed in spec.seeds]
    unknown = [trial for trial in trials if trial.dataset not in data.contents]
    with located(document):
        ready = [trial for trial in data.recognised(trials) if trial.dataset in data.contents]
        known = plan_trials(ready, data.contents)
    catalog = read_catalog(store, [item.trial_id for item in known])
    expected = estimates(store, known, catalog, compiled=spec.resources.compile)
    data.refuse_gone(known, catalog, [*unknown, *(template for _, template in searched)])
    if known:
        data.warn(if_changed=True)
    rows: list[PlanRow] = []
    for item in known:
        row = _plan_row(item, catalog.status(item.trial_id), expected.get(item.trial_id))
        missing = [*_to_prepare(data, item.trial), *row.missing]
        rows.append(row._replace(missing=missing, notes=notes_of([item.trial], data.contents)))
    for trial in unknown:
        stages = [*_to_prepare(data, trial), "pretrain", *(config.known_as for config in trial.evaluate)]
        rows.append(PlanRow(label_of(trial), stages, needs(trial)))
    for group, template in searched:
        assert spec.search is not None
        row = " ".join([group.entry.name, *(f"{key}={value}" for key, value in group.axes.items())])
        seeds = f"the best point with {plural(len(spec.seeds), 'seed')}"
        rows.append(PlanRow(f"search of {row}", [spec.search.extent, seeds], needs(template)))
    return rows


def _to_prepare(data: SweepData, trial: TrialSpec) -> list[str]:
    return [f"prepare {name}" for name in data.unprepared(trial)]


def _plan_row(item: PlannedTrial, status: TrialStatus, expected: Estimate | None) -> PlanRow:
    share = expected.share if expected is not None else None
    row = PlanRow(item.trial_id, item.missing(status), needs(item.trial, share), label_of(item.trial))
    if expected is None:
        return row
    hours, memory, device, like, _ = expected
    return row._replace(device_hours=hours, memory=memory, device=device, like=like)


def _searched(spec: SweepSpec) -> list[tuple[Group, TrialSpec]]:
    """The rows of the table whose settings a search chooses, each with its trial before anything is sampled."""
    if spec.search is None:
        return []
    templates = ((group, resolve(spec, group, spec.seeds[0], holdout=True)) for group in groups(spec))
    return [(group, trial) for group, trial in templates if domains(spec.search, group, trial)]


def needs(trial: TrialSpec, share: float | None = None) -> str:
    """What a trial takes, in words; `share` of a GPU as far as it has been measured."""
    resources = trial.resources
    gpus = share or resources.gpus_per_worker
    if gpus is None or gpus == AUTO:
        gpu = "+1 GPU if available" if gpus is None else "+a part of a GPU, to be measured, if available"
    else:
        gpu = f"{gpus:g} {noun_of(gpus, 'GPU')}"
    cpu = plural(resources.cpus_per_worker, "CPU")
    return f"{plural(resources.workers, 'worker')} × ({cpu}, {gpu})"


def sweep_rows(storage: str) -> list[SweepRow]:
    """The sweeps of a store."""
    store = Store(storage)
    rows: list[SweepRow] = []
    for name in store.names("sweeps"):
        listed = store.read_record(f"sweeps/{name}/trials.json", TrialList)
        status = "idle" if holder(store, f"sweeps/{name}") is None else "running"
        rows.append(SweepRow(name, len(listed.trials) if listed else 0, status))
    return rows


class NotPreparedError(UserError):
    """Neither this machine nor the store knows a data set of the sweep, so identities of its trials are not known from the file."""

    def __init__(self, reason: str, remedy: str, store: Store, name: str):
        super().__init__(f"{reason}; {remedy}")
        self.reason, self.store, self.name = reason, store, name


class StoredSweep(NamedTuple):
    """A sweep as its file asks for it, and as far as the store has it."""

    store: Store
    spec: SweepSpec
    planned: list[PlannedTrial]
    state: SweepState
    rows: list[TrialSpec]
    """What the file asks for by itself, without what a search sampled."""
    datasets: Datasets

    def searches(self) -> tuple[SearchRecord, ...]:
        """What its searches have found so far; of those that have not begun nothing is said."""
        if self.spec.search is None or not all(is_ready(trial, self.datasets) for trial in self.rows):
            return ()
        going = (TrialState.RUNNING, TrialState.INTERRUPTED, TrialState.WAITING)
        ended = not any(status.state in going for status in self.state.trials.values())
        made = make_searches(self.spec, self.store, self.datasets)
        return search_records([search for search in made if search.known], ended=ended)

    def result(self, command: str) -> SweepResult:
        """Its results."""
        published = own_published(self.spec)
        searches = self.searches()
        return collect(self.spec, self.planned, self.state, self.store, command, searches, published, self.datasets)


def stored_sweep(path: Path, overrides: Sequence[str] = ()) -> StoredSweep:
    """The sweep's trials, those of a search included. Data that are not here are as they were when it was submitted.

    Raises:
        NotPreparedError: its data set is not prepared here, and the store does not remember one.
    """
    spec, document = load_spec(path, overrides)
    store = Store(spec.storage)
    spec, rows = expanded(spec, document)
    trials = rows
    listed = store.read_record(f"sweeps/{spec.name}/trials.json", TrialList) if spec.search is not None else None
    if listed is not None:
        trials = [TrialSpec.model_validate(item.trial) for item in listed.trials]
    data = SweepData(Place(store, spec.name), spec, document)
    data.find([*trials, *rows], data_root())
    unknown = next((trial.dataset for trial in trials if trial.dataset not in data.contents), None)
    if unknown is not None:
        submit = shlex.join(["ssl-sweep", "submit", str(path), *options_of(overrides)])
        raise NotPreparedError(data.why_absent(unknown), _what_to_do(data, submit, unknown), store, spec.name)
    data.warn()
    with located(document):
        planned = plan_trials(data.recognised(trials), data.contents)
    catalog = read_catalog(store, [item.trial_id for item in planned])
    return StoredSweep(store, spec, planned, SweepState().add(planned, catalog), rows, data.contents)


def _what_to_do(data: SweepData, submit: str, unknown: DatasetConfig) -> str:
    """`submit`: the command."""
    store, folder = data.place.store, data.place.folder
    if not store.exists(f"{folder}/trials.json"):
        return "nothing has run" + ("" if data.absent[unknown].gone else f", start with: {submit}")
    report = store.path(f"{folder}/report/report.html")
    return f"an earlier version submitted it, of which the data are needed for this; its last report is {report}"
