"""Trials that only say what a training would: for tests of what drives them, thousands of times as fast."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import yaml
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.orchestrator.engine.in_process import InProcessEngine
from ssl_sweep.orchestrator.engine.interrupts import Interrupts
from ssl_sweep.orchestrator.engine.protocol import Job, TrialEvent
from ssl_sweep.orchestrator.search.group_search import GroupSearch
from ssl_sweep.orchestrator.spec.expand import expand
from ssl_sweep.orchestrator.spec.identity import evaluation_id
from ssl_sweep.orchestrator.spec.load import load_spec
from ssl_sweep.orchestrator.spec.models import SweepSpec, TrialSpec, data_root
from ssl_sweep.orchestrator.store.events import EpochDone, EvaluationDone, Event, PretrainingDone, StatusChanged
from ssl_sweep.orchestrator.store.fault import Fault
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.records import Cost, EvaluationRecord, PretrainRecord
from ssl_sweep.orchestrator.store.trial_folder import TrialStore
from ssl_sweep.orchestrator.store.trial_state import TrialState
from ssl_sweep.orchestrator.sweep.driver import Driver
from ssl_sweep.orchestrator.sweep.plan import plan_trials
from ssl_sweep.orchestrator.sweep.searches import make_searches
from ssl_sweep.orchestrator.sweep.submit import run_missing
from ssl_sweep.orchestrator.trial.journal import Listener

COST = Cost(seconds=36.0, workers=1, device="cpu", resident=1_000_000_000)
Script = Callable[[TrialSpec], float | str]
"""The score of a trial in percent; or ``fails``, ``nan`` or ``killed`` (after which it starts again, and scores)."""


class Crash(BaseException):
    """The driver's process ends here."""


def score_of(trial: TrialSpec) -> float:
    """Some number, the same for the same trial."""
    content = trial.model_dump_json(exclude={"axes"})
    return int(hashlib.sha256(content.encode()).hexdigest()[:6], 16) / 16**6 * 100


def scripted_engine(script: Script, crash_after: int | None = None) -> type[InProcessEngine]:
    """An engine whose trials go by the script; the driver dies as it hears the event number `crash_after`."""

    class Scripted(InProcessEngine):
        heard: ClassVar[int] = 0
        started: ClassVar[list[str]] = []

        def events(self, timeout: float) -> list[TrialEvent]:
            found = super().events(timeout)
            Scripted.heard += len(found)
            if crash_after is not None and Scripted.heard >= crash_after:
                raise Crash
            return found

        def carry_out(self, job: Job, listener: Listener) -> None:
            Scripted.started.append(job.trial_id)
            _Trial(job, self.store, listener).run(script)

    Scripted.heard, Scripted.started = 0, []
    return Scripted


class _Trial:
    def __init__(self, job: Job, store: Store, listener: Listener):
        self.trial, self.listener = job.trial, listener
        self.folder = TrialStore(store, job.trial_id)
        self.status = self.folder.status()

    def tell(self, *events: Event) -> None:
        for event in events:
            timed = event.model_copy(update={"time": 1_700_000_000.0})
            self.status = self.status.apply(timed)
            self.folder.write_status(self.status)
            self.listener.on_event(timed)

    def run(self, script: Script) -> None:
        said = script(self.trial)
        attempt = self.status.attempts + 1
        self.tell(StatusChanged(state=TrialState.RUNNING, attempt=attempt, environment={}, dataset_fingerprint="f"))
        if said in ("fails", "nan"):
            reason = "the loss is not finite at step 3" if said == "nan" else f"ValueError: no {self.folder.trial_id}"
            fault = Fault.DIVERGED if said == "nan" else Fault.CODE_ERROR
            self.tell(StatusChanged(state=TrialState.FAILED, reason=reason, fault=fault))
            return
        if said == "killed":
            self.tell(self.epoch(1, 1.0), StatusChanged(state=TrialState.RUNNING, attempt=attempt + 1))
        score = said if isinstance(said, float) else score_of(self.trial)
        if self.status.pretrain is None and not self.pretrained(score):
            return
        for config in self.trial.evaluate:
            name = evaluation_id(config)
            if name not in self.status.evaluations:
                record = EvaluationRecord(
                    name=config.name, protocol=config.protocol, settings={}, metrics={"top1": score, "top5": 99.0},
                    images=100, split=self.trial.split, cost=COST,
                )  # fmt: skip
                self.folder.finish_evaluation(config, record)
                self.tell(EvaluationDone(stage=config.name, evaluation_id=name, **dict(record)))
        self.tell(StatusChanged(state=TrialState.FINISHED))

    def pretrained(self, score: float) -> bool:
        """Whether it came to the end of its epochs."""
        epochs = self.trial.pretrain.epochs
        for epoch in range(self.status.progress.epoch + 1, epochs + 1):
            wanted = self.listener.stop_requested()
            if wanted is not None:
                self.tell(StatusChanged(state=wanted, reason="stopped"))
                return False
            self.tell(self.epoch(epoch, score * epoch / epochs))
        record = PretrainRecord(cost=COST, epochs=epochs, final_loss=1.0, images_per_second=9.0, parameters=1000)
        self.folder.finish_pretraining(record, b"weights")
        self.tell(PretrainingDone(**dict(record)))
        return True

    def epoch(self, epoch: int, score: float) -> EpochDone:
        logs = {"knn/top1": score} if self.trial.pretrain.knn_every else {}
        return EpochDone(
            epoch=epoch, step=epoch, epochs=self.trial.pretrain.epochs, seconds=epoch,
            loss=1.0, lr=0.1, images_per_second=9.0, logs=logs,
        )  # fmt: skip


class Ran(NamedTuple):
    spec: SweepSpec
    searches: list[GroupSearch]
    driver: Driver
    started: list[str]


def run(folder: Path, content: dict[str, Any], script: Script, crash_after: int | None = None) -> Ran | None:
    """What a submission does, without a report and MLflow; None if the driver dies."""
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump(content))
    spec, document = load_spec(path)
    trials = expand(spec, document)
    store = Store(spec.storage)
    datasets = {trial.dataset: prepare(trial.dataset, data_root()) for trial in trials}
    engine_class = scripted_engine(script, crash_after)
    made: list[InProcessEngine] = []

    def make_engine() -> InProcessEngine:
        made.append(engine_class(spec, store, data_root()))
        return made[0]

    driver = Driver(store, datasets, make_engine, (), Interrupts(), max_failures=2)
    try:
        searches = make_searches(spec, store, datasets) if spec.search is not None else []
        run_missing(spec, plan_trials(trials, datasets), store, driver, searches)
        driver.close()
    except Crash:
        return None
    finally:
        for engine in made:
            engine.close()
    return Ran(spec, make_searches(spec, store, datasets), driver, engine_class.started)
