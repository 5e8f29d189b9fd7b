"""MLflow as a projection of a store made by hand: whole, the same when made twice, and late where a server is absent."""

import shutil
import socket
import sqlite3
import time
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from ssl_sweep.datasets.prepared import Prepared, SplitInfo
from ssl_sweep.evaluation.knn import KnnConfig
from ssl_sweep.orchestrator.spec.errors import UserError
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
from ssl_sweep.orchestrator.tracking import mlflow_values as projection
from ssl_sweep.orchestrator.tracking.database import tracking_uri
from ssl_sweep.orchestrator.tracking.mlflow_runs import Runs
from ssl_sweep.orchestrator.tracking.tracker import Tracker

BEGAN = 1_700_000_000
COST = Cost(seconds=8.0, workers=1, device="cpu", resident=1_234_567_890)
TRIAL = "simclr-vit-digits-b32-e2-s0-0123456789"
KNN = [{"name": "knn", "k": 20}]


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """To be copied: MLflow takes seconds to make its tables."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


class Sweep:
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

    def evaluation(self, config: KnnConfig, top1: float) -> EvaluationDone:
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

    def train(self, first: int = 1) -> None:
        for step in range(first, 5):
            self.tell(step, StepDone(step=step, loss=5.0 - step, lr=0.1, images_per_second=9.0))
            if step % 2 == 0:
                logs = {"knn/top1": 40.0 + step}
                epoch = {"epoch": step // 2, "epochs": 2, "seconds": step, "logs": logs}
                self.tell(step, EpochDone(step=step, loss=5.0 - step, lr=0.1, images_per_second=9.0, **epoch))

    def finish(self) -> None:
        self.store.write(self.folder.name("log.txt"), b"epoch 1 of 2\n")
        record = PretrainRecord(cost=COST, epochs=2, final_loss=1.0, images_per_second=9.0)
        self.folder.finish_pretraining(record, b"weights")
        other = self.evaluation(KnnConfig(k=7), 11.0)  # of another sweep over this store
        self.tell(5, PretrainingDone(**dict(record)), self.evaluation(KnnConfig(k=20), 44.44444444444444), other)
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

    def follow(self, tracker: Tracker, events: list[Event]) -> None:
        """Events as the driver passes them on."""
        status = TrialStatus()
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


@pytest.fixture
def sweep(sweep_file: Callable[..., Path], empty_database: Path, tmp_path: Path) -> Sweep:
    (tmp_path / "runs").mkdir()
    shutil.copy(empty_database, tmp_path / "runs" / "mlflow.db")
    return Sweep(sweep_file(evaluate=KNN))


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


def test_the_whole_of_a_trial(sweep: Sweep) -> None:
    sweep.run()
    report = "# small\n\none\n\n## Results on digits\n\n| a |\n\n- ¹ note\n\n### Training\n\nx\n"
    sweep.store.write("sweeps/small/report/report.md", report.encode())
    assert sweep.track()
    parent, child = sweep.runs
    assert parent.info.run_name == "small" and parent.info.status == child.info.status == "FINISHED"
    assert child.info.run_name == "simclr-s0-0123456789"
    assert (child.info.start_time, child.info.end_time) == (BEGAN * 1000, BEGAN * 1000 + 6000)
    tags = parent.data.tags
    assert tags["mlflow.note.content"].startswith("one\n\n## Results on digits\n\n| a |\n\nNotes, plots")
    assert sweep.files(parent) == {"sweep.yaml", "report"}

    metrics = child.data.metrics
    assert metrics["loss"] == 1.0 and metrics["epoch"] == 2 and metrics["knn/top1"] == 44.0
    assert metrics["knn/final_top1"] == 44.44444 and metrics["knn/final_top5"] == 99.0
    assert metrics["pretrain/seconds"] == 8.0 and metrics["knn/resident_memory_gb"] == 1.234568
    client = MlflowClient(sweep.uri)
    assert [(m.step, m.value) for m in client.get_metric_history(child.info.run_id, "loss")] == [
        (1, 4.0), (2, 3.0), (3, 2.0), (4, 1.0),
    ]  # fmt: skip
    assert [m.step for m in client.get_metric_history(child.info.run_id, "knn/top1")] == [2, 4]
    params = child.data.params
    assert params["method.name"] == "simclr" and params["pretrain.optimizer.lr"]
    assert params["evaluate.knn.k"] == "20" and params["dataset.path"] == "none" and params["seed"] == "0"
    assert params == projection.parameters(sweep.item.trial)
    tags = child.data.tags
    assert tags["ssl_sweep.trial"] == TRIAL and tags["dataset_fingerprint"] == "feedbeef"
    assert tags["environment.git_commit"] == "0123456789ab+" and tags["mlflow.source.git.commit"] == "0123456789ab"
    (data,) = child.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("digits", "feedbeef")
    assert sweep.files(child) == {"trial.json", "log.txt", "backbone.safetensors"}


def test_a_second_time_changes_nothing(sweep: Sweep) -> None:
    sweep.run()
    assert sweep.track()
    before = rows(sweep.uri)
    assert sweep.track()
    after = rows(sweep.uri)
    ended = sweep.runs[0].info  # the sweep's own end is the only thing that moves
    assert len(before.pop("runs")) == len(after.pop("runs")) == 2
    assert before == after and sweep.runs[0].info.run_id == ended.run_id
    assert sweep.runs[1].info.end_time == BEGAN * 1000 + 6000


def test_what_is_settled_is_known_without_events_and_requests(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep.run()
    assert sweep.track()

    def refuse(*arguments: object) -> None:
        raise AssertionError("a settled trial needs neither")

    monkeypatch.setattr(TrialStore, "events", refuse)
    monkeypatch.setattr(Runs, "search", refuse)
    monkeypatch.setattr(Runs, "metrics", refuse)
    assert sweep.track()


@pytest.mark.parametrize("lost", ["sweeps/small/mlflow.json", None])
def test_another_database_or_a_lost_ledger_are_filled_again(
    sweep: Sweep, lost: str | None, empty_database: Path, tmp_path: Path
) -> None:
    sweep.run()
    assert sweep.track()
    before = rows(sweep.uri)["metrics"]
    if lost is None:
        sweep.uri = f"sqlite:///{shutil.copy(empty_database, tmp_path / 'other.db')}"
    else:
        sweep.store.delete(lost)
    assert sweep.track()
    assert len(rows(sweep.uri)["metrics"]) == len(before)


def test_live_metrics_are_those_that_the_store_would_give(sweep: Sweep) -> None:
    sweep.run()
    tracker = sweep.tracker()
    sweep.follow(tracker, [event for event in sweep.folder.events() if event.time < BEGAN + 6])
    wait_for(lambda: rows(sweep.uri)["metrics"])
    assert sweep.runs[1].info.status == "RUNNING"
    live = set(rows(sweep.uri)["metrics"])
    sweep.follow(tracker, sweep.folder.events())
    assert tracker.close(TrialState.FINISHED)
    assert set(rows(sweep.uri)["metrics"]) == live
    assert sweep.runs[1].info.status == "FINISHED"


def test_steps_that_a_resumed_trial_repeats_are_written_once(sweep: Sweep) -> None:
    sweep.begin()
    sweep.train()
    sweep.tell(10, StatusChanged(state=TrialState.INTERRUPTED))
    assert sweep.track()
    sweep.tell(20, StatusChanged(state=TrialState.RUNNING, attempt=2))
    sweep.train(first=2)  # two steps after the checkpoint, once more
    sweep.finish()
    tracker = sweep.tracker()
    sweep.follow(tracker, sweep.folder.events())
    assert tracker.close(TrialState.FINISHED)
    child = sweep.runs[1]
    assert child.info.status == "FINISHED"
    client = MlflowClient(sweep.uri)
    for key, steps in {"loss": [1, 2, 3, 4], "epoch_loss": [2, 4], "knn/final_top1": [0]}.items():
        assert [metric.step for metric in client.get_metric_history(child.info.run_id, key)] == steps


def test_a_crash_leaves_no_run_running(sweep: Sweep) -> None:
    sweep.begin()
    sweep.train()
    crashed = sweep.tracker()
    sweep.follow(crashed, sweep.folder.events())
    wait_for(lambda: rows(sweep.uri)["metrics"])  # then nothing more is heard of it
    assert [run.info.status for run in sweep.runs] == ["RUNNING", "RUNNING"]
    sweep.folder.write_status(sweep.status.apply(StatusChanged(state=TrialState.INTERRUPTED)))
    assert sweep.tracker().close(TrialState.INTERRUPTED)
    assert [run.info.status for run in sweep.runs] == ["KILLED", "KILLED"]
    assert sweep.runs[1].info.end_time == BEGAN * 1000 + 4000


def test_a_failure_that_was_made_good(sweep: Sweep) -> None:
    sweep.begin()
    sweep.tell(4, StatusChanged(state=TrialState.FAILED, reason="the loss is not finite"))
    assert sweep.track()
    child = sweep.runs[1]
    assert child.info.status == "FAILED" and child.data.tags["failure"] == "the loss is not finite"
    sweep.run()
    assert sweep.track()
    child = sweep.runs[1]
    assert child.info.status == "FINISHED" and "failure" not in child.data.tags


def test_other_evaluations_make_another_run(sweep: Sweep, sweep_file: Callable[..., Path]) -> None:
    """Parameters of a run cannot be changed, and the old ones would tell of numbers that are no longer there."""
    sweep.run()
    assert sweep.track()
    other = Sweep(sweep_file("other.yaml", evaluate=[{"name": "knn", "k": 7}]))
    assert other.track()
    child = other.runs[1]
    assert child.data.params["evaluate.knn.k"] == "7" and child.data.metrics["knn/final_top1"] == 11.0


def test_names_tell_the_trials_of_a_sweep_apart(sweep: Sweep) -> None:
    def name(**changes: Any) -> str:
        return projection.run_name(sweep.spec, sweep.item.trial.model_copy(update=changes), TRIAL)

    axes = {"method.temperature": 0.123456, "backbone.name": "resnet18", "pretrain.batch_size": 64}
    assert name(axes=axes) == "simclr-temperature=0.1235-backbone=resnet18-batch_size=64-s0-0123456789"
    assert name(split="holdout", seed=3) == "simclr-search-s3-0123456789"


@pytest.mark.parametrize("address", ["nosuch://x", "mlruns"])
def test_a_useless_address(sweep: Sweep, address: str) -> None:
    with pytest.raises(UserError, match=rf"tracking: got '{address}'; must be"):
        tracking_uri(sweep.spec.model_copy(update={"tracking": address}), sweep.store)


def test_an_absent_server_costs_nothing_but_lateness(sweep: Sweep, caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    sweep.run()
    tracker = sweep.tracker(f"http://127.0.0.1:{port}")
    sweep.follow(tracker, sweep.folder.events())
    assert not tracker.close(TrialState.FINISHED)
    assert "events wait in the store" in caplog.text
    assert sweep.track()  # elsewhere, or later: all of it is there
    assert sweep.runs[1].data.metrics["knn/final_top1"] == 44.44444


@pytest.mark.parametrize("damage", ["locked", "not a database"])
def test_a_database_that_cannot_be_used_stops_nothing(
    sweep: Sweep, damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")
    path = tmp_path / "runs" / "mlflow.db"
    sweep.run()
    whole = path.read_bytes()
    if damage == "locked":
        with sqlite3.connect(path) as other:
            other.execute("begin exclusive")
            tracker = sweep.tracker(f"{sweep.uri}?timeout=0.1")
            sweep.follow(tracker, sweep.folder.events())
            assert not tracker.close(TrialState.FINISHED)
            other.rollback()
    else:
        path.write_bytes(b"not a database" * 1000)
        assert not sweep.track()
        path.write_bytes(whole)
    assert sweep.track()
    assert sweep.runs[1].data.metrics["knn/final_top1"] == 44.44444
