"""A sweep that is written to its store by hand, and what MLflow has of it."""

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from functools import reduce
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run
from ssl_sweep.datasets.prepared import Prepared, SplitInfo
from ssl_sweep.evaluation.knn import KnnConfig
from ssl_sweep.evaluation.registry import resolve
from ssl_sweep.orchestrator.spec.expand import expand
from ssl_sweep.orchestrator.spec.identity import evaluation_id
from ssl_sweep.orchestrator.spec.load import load_spec
from ssl_sweep.orchestrator.store.events import (
    EpochDone,
    EvaluationDone,
    Event,
    PretrainingDone,
    StageStarted,
    StatusChanged,
    StepDone,
)
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.planned import PlannedTrial
from ssl_sweep.orchestrator.store.records import Cost, EvaluationRecord, PretrainRecord
from ssl_sweep.orchestrator.store.trial_folder import TrialStore
from ssl_sweep.orchestrator.store.trial_state import TrialState
from ssl_sweep.orchestrator.store.trial_status import TrialStatus
from ssl_sweep.orchestrator.tracking.tracker import Tracker

BEGAN = 1_700_000_000
COST = Cost(seconds=8.0, workers=1, device="cpu", resident=1_234_567_890)
TRIAL = "simclr-vit-digits-b32-e2-s0-0123456789"
KNN = [{"name": "knn", "k": 20}]


class SweepByHand:
    """A sweep whose one trial is written to its store by hand."""

    def __init__(self, path: Path):
        self.spec, document = load_spec(path)
        trial = expand(self.spec, document)[0]
        split = SplitInfo(count=9, encoding="raw", height=8, width=8, class_counts=(9,), checksums=("",))
        prepared = Prepared(
            name="digits", fingerprint="feedbeef", classes=("0",), train=split, test=split,
            folder=path.parent, image_size=8, holdout=0.1,
        )  # fmt: skip
        self.item = PlannedTrial(TRIAL, trial, prepared)
        self.store = Store(self.spec.storage)
        self.folder = TrialStore(self.store, TRIAL)
        self.uri = f"sqlite:///{self.store.path('mlflow.db')}"
        self.store.write(f"sweeps/{self.spec.name}/sweep.yaml", b"name: small\n")

    @property
    def status(self) -> TrialStatus:
        return self.folder.status()

    def tell(self, when: float, *events: Event) -> None:
        """Events of the trial, as its journal writes them."""
        timed = [event.model_copy(update={"time": BEGAN + when}) for event in events]
        self.folder.add_events(timed)
        self.folder.write_status(reduce(TrialStatus.apply, timed, self.status))

    def evaluation(self, k: int, top1: float) -> EvaluationDone:
        trial = self.item.trial
        config = resolve(KnnConfig(k=(k,)), trial.backbone.name, trial.dataset.name)
        record = EvaluationRecord(
            name="knn", protocol=config.protocol, settings=config.model_dump(exclude={"name", "protocol"}),
            metrics={"top1": top1, "top5": 99.0}, images=100, split="test", cost=COST,
        )  # fmt: skip
        self.folder.finish_evaluation(config, record)
        return EvaluationDone(stage="knn", evaluation_id=evaluation_id(config), **dict(record))

    def begin(self) -> None:
        environment = {"torch": "2.13.0", "git_commit": "0123456789ab+"}
        self.folder.start(self.item.trial, "feedbeef", environment)
        started = StatusChanged(
            state=TrialState.RUNNING, attempt=1, environment=environment, dataset_fingerprint="feedbeef"
        )
        self.tell(0, started, StageStarted(stage="pretrain"))

    def train(self, first: int = 1, last: int = 4) -> None:
        for step in range(first, last + 1):
            self.tell(step, StepDone(step=step, loss=5.0 - step, lr=0.1, images_per_second=9.0))
            if step % 2 == 0:
                logs = {"knn/top1": 40.0 + step}
                epoch = {"epoch": step // 2, "epochs": 2, "seconds": step, "logs": logs}
                self.tell(step, EpochDone(step=step, loss=5.0 - step, lr=0.1, images_per_second=9.0, **epoch))

    def finish(self) -> None:
        self.store.write(self.folder.name("log.txt"), b"epoch 1 of 2\n")
        record = PretrainRecord(cost=COST, epochs=2, final_loss=1.0, images_per_second=9.0)
        self.folder.finish_pretraining(record, b"weights")
        other = self.evaluation(7, 11.0)  # of another sweep over this store
        self.tell(5, PretrainingDone(**dict(record)), self.evaluation(20, 44.44444444444444), other)
        self.tell(6, StatusChanged(state=TrialState.FINISHED))

    def run(self) -> None:
        self.begin()
        self.train()
        self.finish()

    def tracker(self, uri: str | None = None) -> Tracker:
        tracker = Tracker(self.spec, self.store, uri or self.uri)
        tracker.on_trials([self.item], [self.status])
        return tracker

    def track(self) -> bool:
        """A sweep for which nothing is left to run."""
        return self.tracker().close(TrialState.FINISHED)

    def follow(self, tracker: Tracker, events: list[Event], status: TrialStatus | None = None) -> None:
        """Events as the driver passes them on, after `status`."""
        status = status or TrialStatus()
        for event in events:
            status = status.apply(event)
            tracker.on_event(self.item, event, status)

    @property
    def runs(self) -> tuple[Run, Run]:
        """The sweep's run and the trial's."""
        client = MlflowClient(self.uri)
        experiment = client.get_experiment_by_name(self.spec.name)
        assert experiment is not None
        runs = client.search_runs([experiment.experiment_id])
        (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
        (child,) = [run for run in runs if run is not parent]
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
        return parent, child

    def files(self, run: Run) -> set[str]:
        return {file.path for file in MlflowClient(self.uri).list_artifacts(run.info.run_id)}


def rows(uri: str) -> dict[str, list[Any]]:
    """All that the database says of runs."""
    tables = ("runs", "metrics", "latest_metrics", "params", "tags", "inputs", "datasets")
    with sqlite3.connect(uri.removeprefix("sqlite:///")) as database:
        return {table: sorted(map(repr, database.execute(f"select * from {table}"))) for table in tables}


def wait_for(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def duplicates(uri: str) -> list[Any]:
    """Keys and steps that a run has twice."""
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as database:
        query = "select run_uuid, key, step from metrics group by run_uuid, key, step having count(*) > 1"
        return database.execute(query).fetchall()
