"""Writes a sweep to MLflow: a projection of the store.

Live metrics are written as they come. Whatever a crash, a locked database or an absent server left out is made good from
the store when the trial begins again, when it ends, when the sweep ends, or at the next `submit`. Nothing is written twice:
what is made good is first compared with what the run has.
"""

from collections.abc import Callable, Sequence

from mlflow.entities import Metric, Run

from ..spec.models import SweepSpec
from ..spec.secrets import without_passwords
from ..store.events import EvaluationDone, Event, PretrainingDone, StatusChanged
from ..store.files import Store
from ..store.planned import PlannedTrial
from ..store.trial_folder import TrialStore
from ..store.trial_state import TrialState
from ..store.trial_status import Progress, TrialStatus
from . import mlflow_values as values
from .database import ready
from .ledger import Ledger, Tracked, Written, settled_digest, shown_digest
from .mlflow_runs import PARAMETERS_TAG, SETTLED, Runs
from .moved import follow_store
from .outages import Outages

ARTIFACTS = ("trial.json", "views.png", "backbone.safetensors")


class Writer:
    """The runs of one sweep, written by the thread that makes it. Trouble with MLflow raises nothing."""

    def __init__(self, spec: SweepSpec, store: Store, uri: str, progress: Callable[[], None]):
        """`progress` is called after each request that was answered."""
        self.spec, self.store, self.uri, self.progress = spec, store, uri, progress
        self.ledger = Ledger.read(store, spec.name, uri)
        self.runs: Runs | None = None
        self.outages = Outages(uri, lambda: self.runs is not None and self.runs.works())
        self.written: dict[str, Written] = {}
        """Of trials whose runs have all metrics so far. A trial that misses one waits for its end, so that no gap is left."""
        self.new: set[str] = set()
        """Runs that this process made."""
        self.hopeless: set[str] = set()
        """Trials whose begin MLflow refused."""
        self.live: dict[str, list[Metric]] = {}
        """Metrics on their way, by trial."""

    # -- what happens --

    def open(self) -> None:
        """Find or make the sweep's experiment and run; if that fails, the first call that needs them tries again."""
        self.outages.attempt(self._open)

    def hear(self, item: PlannedTrial, event: Event, status: TrialStatus) -> None:
        """Metrics of a trial that runs, its begin and its end."""
        trial_id = item.trial_id
        if isinstance(event, StatusChanged):
            if event.state is TrialState.RUNNING:
                self.hopeless.discard(trial_id)
                self._try_to_begin(item, status)
            elif event.state is not TrialState.WAITING and status.attempts:
                self._flush(trial_id)
                self.outages.attempt(lambda: self._settle(item, status))
            return
        if trial_id not in self.written and trial_id not in self.hopeless:
            self._try_to_begin(item, status)
        written = self.written.get(trial_id)
        if written is None or _of_another_sweep(item, event):
            return
        after = written.after(event)
        if after != written:
            self.written[trial_id] = after
            self.live.setdefault(trial_id, []).extend(values.metrics_of(_as_here(item, event)))

    def flush(self) -> None:
        """Write the live metrics, each trial's in one request if MLflow takes as many."""
        for trial_id in list(self.live):
            self._flush(trial_id)

    def _flush(self, trial_id: str) -> None:
        metrics = self.live.pop(trial_id, [])
        run_id = self.ledger.trials[trial_id].run_id if metrics else ""
        if metrics and not self.outages.attempt(lambda: self._opened().metrics(run_id, metrics)):
            self.written.pop(trial_id, None)

    def finish(self, end: TrialState, trials: Sequence[tuple[PlannedTrial, TrialStatus]]) -> bool:
        """Make every run whole, and end the sweep's; returns whether all of it is done."""
        self.flush()
        for item, status in trials:
            if not self.ledger.misses(item, status):
                continue
            if not self.outages.insist(lambda item=item, status=status: self._settle(item, status)):
                return False  # MLflow is away, for the rest too
        self.outages.insist(lambda: self._opened().attach_report())
        self.outages.insist(lambda: self._opened().end_sweep(values.ENDS[end]))
        whole = not self.outages.out and not self.outages.refused
        shown = shown_digest(self.store, self.spec.name, end) if whole else ""
        self._write_ledger(complete=whole and not self.outages.happened, shown=shown)
        return whole

    def _write_ledger(self, *, complete: bool, shown: str = "") -> None:
        ledger = self.ledger.model_copy(update={"complete": complete, "shown": shown})
        self.store.write_record(Ledger.name(self.spec.name), ledger)

    # -- runs --

    def _opened(self) -> Runs:
        if self.runs is None:
            self._open()
        assert self.runs is not None
        return self.runs

    def _open(self) -> None:
        """Open MLflow; if the ledger may not know all runs, MLflow is asked for them."""
        follow_store(self.store, self.uri)
        ready(self.uri)
        runs = Runs(self.spec, self.store, self.uri, self.progress)
        found = runs.open(self.ledger.parent, search=not self.ledger.complete)
        if found is not None:
            trials = _tracked(found)
            self.ledger = Ledger(uri=without_passwords(self.uri), parent=runs.parent, trials=trials)
            kept = {runs.parent, *(tracked.run_id for tracked in trials.values())}
            for run in found:
                if run.info.run_id not in kept and values.TRIAL_TAG in run.data.tags:
                    runs.delete(run.info.run_id)  # made by a request whose answer was lost
        # From here on the ledger in the store is behind MLflow, until this process has ended well.
        self._write_ledger(complete=False)
        self.runs = runs

    def _run(self, item: PlannedTrial, status: TrialStatus) -> str:
        """The trial's run, made on first need, and anew if its parameters changed: MLflow never changes one."""
        runs = self._opened()  # first: it may know the run
        params = values.parameters(item.trial)
        wanted = values.digest(params)
        tracked = self.ledger.trials.get(item.trial_id)
        if tracked is not None and tracked.parameters == wanted:
            return tracked.run_id
        if tracked is not None:
            runs.delete(tracked.run_id)
            del self.ledger.trials[item.trial_id]
            self.written.pop(item.trial_id, None)
        name = values.run_name(self.spec, item.trial, item.trial_id)
        began = values.milliseconds(status.began) or None
        run_id = runs.create(name, {values.TRIAL_TAG: item.trial_id}, began)
        self.new.add(run_id)
        self.ledger.trials[item.trial_id] = Tracked(run_id=run_id, parameters="")  # should the next line fail
        runs.parameters(run_id, params, wanted)
        self.ledger.trials[item.trial_id] = Tracked(run_id=run_id, parameters=wanted)
        return run_id

    def _try_to_begin(self, item: PlannedTrial, status: TrialStatus) -> None:
        if not self.outages.attempt(lambda: self._begin(item, status)) and not self.outages.out:
            self.hopeless.add(item.trial_id)

    def _begin(self, item: PlannedTrial, status: TrialStatus) -> None:
        """The trial runs: bring its run up to date, so that live metrics can follow."""
        known = item.trial_id in self.ledger.trials
        run_id = self._run(item, status)
        if known:
            self._opened().running(run_id)
            self._note_settled(item, "")
        if item.trial_id not in self.written:
            self.written[item.trial_id] = self._make_good(item, status, run_id)

    def _settle(self, item: PlannedTrial, status: TrialStatus) -> None:
        """Make a trial's run show all that the store has of it, and end it."""
        runs, run_id = self._opened(), self._run(item, status)
        written = self.written.get(item.trial_id)
        if written is None or not _has_all(written, item, status):
            self.written[item.trial_id] = self._make_good(item, status, run_id)
        folder = TrialStore(self.store, item.trial_id)
        for name in ARTIFACTS:
            runs.artifact(run_id, folder.name(name), name)
        runs.attach(run_id, folder.log_content(), "log.txt")
        settled = settled_digest(status, item.evaluation_ids, item.trial.dataset.title)
        data = values.dataset_input(item.trial, status.dataset_fingerprint)
        again = run_id not in self.new or status.attempts > 1
        tags = values.status_tags(status) | values.data_tags(item.trial) | {SETTLED: settled}
        runs.describe(run_id, tags, data, again=again)
        runs.end(run_id, values.ENDS[status.state], values.milliseconds(status.ended) or None)
        self._note_settled(item, settled)

    def _note_settled(self, item: PlannedTrial, settled: str) -> None:
        tracked = self.ledger.trials[item.trial_id]
        self.ledger.trials[item.trial_id] = tracked.model_copy(update={"settled": settled})

    # -- what the store has --

    def _make_good(self, item: PlannedTrial, status: TrialStatus, run_id: str) -> Written:
        """Write what the store has of a trial and its run has not; returns what the run has then."""
        events, written = self._stored_events(item, status)
        metrics = [metric for event in events for metric in values.metrics_of(_as_here(item, event))]
        if not metrics:
            return written
        points = self._opened().points(run_id)
        self._opened().metrics(run_id, [metric for metric in metrics if (metric.key, metric.step) not in points])
        # A worker that was killed may have told of more steps than it could store.
        step = max((step for key, step in points if key == "loss"), default=0)
        epoch = int(max((value for (key, _), value in points.items() if key == "epoch"), default=0))
        return written.model_copy(update={"step": max(step, written.step), "epoch": max(epoch, written.epoch)})

    def _stored_events(self, item: PlannedTrial, status: TrialStatus) -> tuple[list[Event], Written]:
        """Events with metrics, of a step that was trained twice the first, without evaluations of other sweeps alone."""
        written = Written()
        if status.attempts <= 1 and status.progress == Progress() and not status.evaluations and not status.pretrain:
            return [], written  # it has only begun
        events: list[Event] = []
        folder = TrialStore(self.store, item.trial_id)
        for event in [*folder.events(), *_of_records(item, status)]:
            after = written.after(event)
            if after != written and not _of_another_sweep(item, event):
                events.append(event)
                written = after
        return events, written


def _of_records(item: PlannedTrial, status: TrialStatus) -> list[Event]:
    """As events, the records whose own may be lost, or are of the first edition, which had no ids in them."""
    when = status.ended or 0.0
    events: list[Event] = []
    if status.pretrain is not None:
        events.append(PretrainingDone(time=when, **dict(status.pretrain)))
    for name, config in zip(item.evaluation_ids, item.trial.evaluate, strict=True):
        if name in status.evaluations:
            record = dict(status.evaluations[name])
            events.append(EvaluationDone(time=when, stage=config.known_as, evaluation_id=name, **record))
    return events


def _has_all(written: Written, item: PlannedTrial, status: TrialStatus) -> bool:
    """Whether no record's metrics are missing: an event may be lost on its way."""
    wanted = [name for name in item.evaluation_ids if name in status.evaluations]
    return {*wanted, *(["pretrain"] if status.pretrain else [])} <= set(written.stages)


def _as_here(item: PlannedTrial, event: Event) -> Event:
    """A result of an evaluation under the name that this sweep has for it: the trial may have run for another one."""
    if not isinstance(event, EvaluationDone) or event.evaluation_id not in item.evaluation_ids:
        return event
    config = item.trial.evaluate[item.evaluation_ids.index(event.evaluation_id)]
    return event.model_copy(update={"stage": config.known_as})


def _of_another_sweep(item: PlannedTrial, event: Event) -> bool:
    """Whether the trial did this for a sweep that asks for another evaluation."""
    return isinstance(event, EvaluationDone) and event.evaluation_id not in item.evaluation_ids


def _tracked(found: Sequence[Run]) -> dict[str, Tracked]:
    """What MLflow's runs say of themselves; of two of one trial, the one that shows all of it."""
    trials: dict[str, Tracked] = {}
    for run in sorted(found, key=lambda run: SETTLED not in run.data.tags):
        tags = run.data.tags
        trial_id = tags.get(values.TRIAL_TAG)
        if trial_id is not None and trial_id not in trials:
            settled = tags.get(SETTLED, "") if run.info.status != "RUNNING" else ""
            parameters = tags.get(PARAMETERS_TAG, "")
            trials[trial_id] = Tracked(run_id=run.info.run_id, parameters=parameters, settled=settled)
    return trials
