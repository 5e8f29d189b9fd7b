"""A sweep from its file to its report: `run_sweep` is what ``ssl-sweep submit`` does."""

import contextlib
import os
import platform
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ...datasets.config import DatasetConfig
from ...datasets.prepared import Prepared
from ..cli.live_table import Display
from ..engine.interrupts import Interrupts
from ..search.rounds import Point, best_point, group_key, random_trials, read_points, run_group, score, write_points
from ..spec.errors import UserError
from ..spec.expand import Group, expand, groups, resolve
from ..spec.load import load_spec
from ..spec.models import SweepSpec, TrialSpec, data_root
from ..spec.yaml_document import Document
from ..store.files import Store
from ..store.records import ListedTrial, SweepResult, TrialList
from ..store.trial_folder import TrialStore
from .plan import Planned, data_errors, plan_trials
from .results import collect, keep_report

if TYPE_CHECKING:
    from ..engine.ray_engine import Engine
    from ..tracking.mlflow_tracker import Tracker

BUSY_SECONDS = 2.0


class Outcome(NamedTuple):
    """How a sweep ended."""

    result: SweepResult
    report: Path | str
    tracking: str
    interrupted: bool
    tracked: bool
    """False where MLflow was out of reach."""

    @property
    def status(self) -> int:
        """Exit status: 0, 1 where a trial failed, 130 where the user stopped it."""
        if self.interrupted:
            return 130
        return int(any(trial.status != "finished" and not trial.search for trial in self.result.trials))


def run_sweep(path: Path, display: Display, interrupts: Interrupts, address: str | None = None) -> Outcome:
    """Run what is missing of the sweep in `path`, and write its report.

    Raises:
        UserError: the file, the data, the store or the cluster do not allow it; nothing already computed is lost.
        KeyboardInterrupt: the user ended it before there was anything to report.
    """
    spec, document = load_spec(path)
    trials = expand(spec, document)
    store = Store(spec.storage)
    with store.lock(f"sweeps/{spec.name}/lock") as free:
        if not free:
            raise UserError(f"sweep '{spec.name}' is running already; `ssl-sweep status {path}` shows it")
        store.write(f"sweeps/{spec.name}/sweep.yaml", path.read_bytes())
        store.write_json(driving_name(spec), {"host": platform.node(), "pid": os.getpid()})
        try:
            return _Sweep(spec, document, store, display, interrupts, address).run(trials)
        finally:
            store.delete(driving_name(spec))


def driving_name(spec: SweepSpec) -> str:
    """A file that is there while a sweep is driven, and after its driver was killed."""
    return f"sweeps/{spec.name}/driving.json"


def mend_after_kill(spec: SweepSpec, store: Store, planned: list[Planned]) -> None:
    """Where a driver was killed, end the runs that it left running in MLflow."""
    if not store.exists(driving_name(spec)):
        return
    with store.lock(f"sweeps/{spec.name}/lock") as free:
        if not free:
            return
        from ..tracking.database import tracking_uri
        from ..tracking.mlflow_tracker import Tracker

        tracker = Tracker(spec, store, tracking_uri(spec, store))
        sync_runs(tracker, planned)
        if tracker.close(None, "stopped"):
            store.delete(driving_name(spec))


def sync_runs(tracker: "Tracker", planned: list[Planned]) -> None:
    """Every trial's run in MLflow as the store has it, also those that nothing was run for."""
    ends = {"finished": "finished", "failed": "failed"}
    for item in planned:
        status = item.status()
        if status == "finished" or item.folder.started():
            tracker.sync(item.trial_id, item.trial, ends.get(status, "stopped"))


def prepare_datasets(trials: list[TrialSpec], root: Path, display: Display) -> dict[DatasetConfig, Prepared]:
    """The trials' data sets, prepared where they were not."""
    from ...datasets.prepare import prepare

    datasets: dict[DatasetConfig, Prepared] = {}
    for config in {trial.dataset: None for trial in trials}:
        with data_errors(), display.preparing(config.name) as on_progress:
            datasets[config] = prepare(config, root, on_progress)
        display.remarks(datasets[config])
    return datasets


class _Sweep:
    def __init__(
        self,
        spec: SweepSpec,
        document: Document,
        store: Store,
        display: Display,
        interrupts: Interrupts,
        address: str | None,
    ):
        self.spec, self.document, self.store, self.display = spec, document, store, display
        self.interrupts, self.address = interrupts, address
        self.root = data_root()
        self.datasets: dict[DatasetConfig, Prepared] = {}
        self.planned: dict[str, Planned] = {}
        self.tracker: Tracker | None = None
        self.engine: Engine | None = None
        self.stack = contextlib.ExitStack()

    def run(self, trials: list[TrialSpec]) -> Outcome:
        self.datasets = prepare_datasets(trials, self.root, self.display)
        from ..tracking.database import tracking_uri
        from ..tracking.mlflow_tracker import Tracker

        self._plan(trials)  # refuses what cannot run before anything starts
        uri = tracking_uri(self.spec, self.store)
        self.tracker = Tracker(self.spec, self.store, uri)
        try:
            with self.stack, self.display.live():
                finals = self._search() if self.spec.search else self._plan(trials)
                self._list_trials()
                self._carry([item for item in finals if item.missing()])
        except KeyboardInterrupt:
            self.display.say("ending at once; the report follows")
        finally:
            result = self._finish_runs()
            scratch, report = keep_report(self.store, result)
            status = "stopped" if self.interrupts.requested else "failed" if _failed(result) else "finished"
            tracked = self.tracker.close(report, status)
            scratch.cleanup()
        place = self.store.path(f"sweeps/{self.spec.name}/report")
        return Outcome(result, place, uri, self.interrupts.requested, tracked)

    # -- trials --

    def _plan(self, trials: list[TrialSpec]) -> list[Planned]:
        items = plan_trials(trials, self.store, self.datasets)
        self.planned |= {item.trial_id: item for item in items}
        self.display.plan(items)
        return items

    def _list_trials(self) -> None:
        listed = [
            ListedTrial(id=item.trial_id, trial=item.trial.model_dump(mode="json")) for item in self.planned.values()
        ]
        self.store.write_record(f"sweeps/{self.spec.name}/trials.json", TrialList(trials=tuple(listed)))

    def _carry(self, items: list[Planned]) -> None:
        """Run trials. What another sweep is computing is waited for, and taken over should it stop."""
        waiting = items
        while waiting and not self.interrupts.requested:
            with contextlib.ExitStack() as locks:
                mine = [item for item in waiting if locks.enter_context(self.store.lock(item.folder.name("lock")))]
                jobs = [item.job() for item in mine if item.missing()]
                if jobs:
                    self._started().run(jobs)
            waiting = [item for item in waiting if item not in mine and item.missing()]
            if waiting:
                self.display.say(f"waiting for {len(waiting)} trials that another sweep is computing")
                time.sleep(BUSY_SECONDS)

    def _started(self) -> "Engine":
        """The engine; Ray starts when there is something to carry, and only once."""
        if self.engine is None:
            from ..engine.ray_engine import started

            self.display.say("starting Ray" if self.address is None else f"joining Ray at {self.address}")
            self.engine = self.stack.enter_context(
                started(
                    self.spec.resources,
                    self.store,
                    self.root,
                    self._news,
                    self.interrupts,
                    self._stopping,
                    self.address,
                )
            )
        return self.engine

    def _stopping(self) -> None:
        self.display.say("stopping: each trial keeps what it has at its next step or epoch; Ctrl-C again ends at once")

    def _news(self, trial_id: str, event: dict[str, Any]) -> None:
        """An event of a trial: to the live table and to MLflow."""
        assert self.tracker is not None
        if trial_id not in self.planned:  # sampled by a searcher
            trial = TrialSpec.model_validate(event["trial"])
            prepared = self.datasets[self.spec.dataset]
            self.planned[trial_id] = Planned(trial, prepared, TrialStore(self.store, trial_id))
            self.display.plan([self.planned[trial_id]])
        item = self.planned[trial_id]
        self.display.event(trial_id, event)
        if event["kind"] != "status":
            self.tracker.event(trial_id, event)
        elif event["status"] == "running":
            self.tracker.begin(trial_id, item.trial)
        elif event["status"] in ("finished", "failed", "stopped"):
            if event["status"] == "failed" and item.folder.failure() is None:
                from ..store.trial_folder import Failure

                item.folder.fail(Failure(stage="pretrain", reason=event["reason"]))
            if item.folder.started():
                self.tracker.sync(trial_id, item.trial, event["status"])

    # -- search --

    def _search(self) -> list[Planned]:
        """Run the search of every group, then plan the trials of the table at the best points."""
        best: list[TrialSpec] = []
        for group in groups(self.spec):
            values = self._search_group(group)
            if values is None or self.interrupts.requested:
                continue
            best += [resolve(self.spec, group, seed, values) for seed in self.spec.seeds]
        for trial in best:
            self.datasets.setdefault(trial.dataset, self.datasets[self.spec.dataset])
        first = {item.trial_id for item in self.planned.values() if item.trial.split == "test"}
        for trial_id in first:  # those at the sweep's own values gave way to the best
            del self.planned[trial_id]
        self.display.forget(first)
        return self._plan(best)

    def _search_group(self, group: Group) -> dict[str, Any] | None:
        assert self.spec.search is not None
        others = set(self.planned)
        points = read_points(self.spec, self.store)
        known = [point for point in points if point.group == group_key(group)]
        rest = [point for point in points if point.group != group_key(group)]
        earlier = [TrialStore(self.store, point.trial_id).trial() for point in known]
        self._plan([trial for trial in earlier if trial is not None and trial.dataset in self.datasets])
        sampled = random_trials(self.spec, group)
        planned = self._plan([trial for _, trial in sampled]) if self.spec.search.algorithm == "random" else []
        template = planned or plan_trials([sampled[0][1]], self.store, self.datasets)
        try:
            run_group(self.spec, group, template, known, self._started)
        finally:
            own = [item for trial_id, item in self.planned.items() if trial_id not in others]
            known = self._points(group, own, known)
            write_points(self.spec, self.store, rest + known)
        return best_point(known, group)

    def _points(self, group: Group, own: list[Planned], known: list[Point]) -> list[Point]:
        """What is known of the group's search now; `own` are its trials."""
        assert self.spec.search is not None
        stopped = {point.trial_id for point in known if point.stopped}
        points: list[Point] = []
        for item in own:
            ended_early = item.missing() and not self.interrupts.requested and item.folder.failure() is None
            points.append(
                Point(
                    group=group_key(group),
                    trial_id=item.trial_id,
                    values={k: v for k, v in item.trial.axes.items() if k in self.spec.search.space},
                    value=score(item.folder, item.trial, self.spec.search.metric),
                    stopped=item.trial_id in stopped or bool(ended_early),
                )
            )
        listed = {point.trial_id for point in points}
        return [point for point in known if point.trial_id not in listed] + points

    # -- the end --

    def _finish_runs(self) -> SweepResult:
        assert self.tracker is not None
        sync_runs(self.tracker, list(self.planned.values()))
        return collect(self.spec, list(self.planned.values()), " ".join(map(shlex.quote, _command())))


def _failed(result: SweepResult) -> bool:
    return any(trial.status != "finished" for trial in result.trials if not trial.search)


def _command() -> list[str]:
    return ["ssl-sweep", *sys.argv[1:]]
