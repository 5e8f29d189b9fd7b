"""MLflow as a projection of a store made by hand: whole, the same when made twice, and late where a server is absent."""

import shutil
import socket
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from ssl_sweep.evaluation.knn import KnnConfig
from ssl_sweep.orchestrator.spec.errors import UserError
from ssl_sweep.orchestrator.spec.expand import expand
from ssl_sweep.orchestrator.spec.load import load_spec
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.records import Cost, EvaluationRecord, PretrainRecord
from ssl_sweep.orchestrator.store.trial_folder import Failure, TrialStore
from ssl_sweep.orchestrator.tracking import mlflow_values as projection
from ssl_sweep.orchestrator.tracking.mlflow_tracker import Tracker

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
        self.trial = expand(self.spec, document)[0]
        self.store = Store(self.spec.storage)
        self.folder = TrialStore(self.store, TRIAL)
        self.uri = f"sqlite:///{self.store.path('mlflow.db')}"
        self.store.write(f"sweeps/{self.spec.name}/sweep.yaml", b"name: small\n")

    def evaluation(self, config: KnnConfig, top1: float, when: float) -> dict[str, Any]:
        record = EvaluationRecord(
            name="knn", protocol=config.protocol, settings=config.model_dump(exclude={"name", "protocol"}),
            metrics={"top1": top1, "top5": 99.0}, images=100, split="test", cost=COST,
        )  # fmt: skip
        self.folder.finish_evaluation(config, record)
        return {"kind": "evaluation", "stage": "knn", "time": BEGAN + when} | record.model_dump(mode="json")

    def pretrain(self) -> None:
        self.folder.start(self.trial, "feedbeef", {"torch": "2.13.0", "git_commit": "0123456789ab+"})
        self.folder.add_events([{"kind": "stage", "stage": "pretrain", "time": BEGAN}])
        for step in range(1, 5):
            event = {"stage": "pretrain", "step": step, "loss": 5.0 - step, "lr": 0.1, "images_per_second": 9.0}
            self.folder.add_events([{"kind": "step", "time": BEGAN + step} | event])
            if step % 2 == 0:
                rest = {"epoch": step // 2, "epochs": 2, "seconds": step, "logs": {"knn/top1": 40.0 + step}}
                self.folder.add_events([{"kind": "epoch", "time": BEGAN + step} | event | rest])

    def finish(self) -> None:
        self.pretrain()
        self.store.write(self.folder.name("log.txt"), b"epoch 1 of 2\n")
        record = PretrainRecord(cost=COST, epochs=2, final_loss=1.0, images_per_second=9.0)
        self.folder.finish_pretraining(record, b"weights")
        other = self.evaluation(KnnConfig(k=7), 11.0, 6)  # of another sweep over this store
        self.folder.add_events([self.evaluation(KnnConfig(k=20), 44.44444444444444, 5), other])

    def track(self, status: str = "finished", report: Path | None = None) -> bool:
        tracker = Tracker(self.spec, self.store, self.uri)
        tracker.sync(TRIAL, self.trial, status)
        return tracker.close(report, "finished")

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


def test_the_whole_of_a_trial(sweep: Sweep, tmp_path: Path) -> None:
    sweep.finish()
    report = tmp_path / "report"
    report.mkdir()
    (report / "report.md").write_text(
        "# small\n\none\n\n## Results on digits\n\n| a |\n\n- ¹ note\n\n### Training\n\nx\n"
    )
    assert sweep.track(report=report)
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
    assert params == projection.parameters(sweep.trial)
    tags = child.data.tags
    assert tags["ssl_sweep.trial"] == TRIAL and tags["dataset_fingerprint"] == "feedbeef"
    assert tags["environment.git_commit"] == "0123456789ab+" and tags["mlflow.source.git.commit"] == "0123456789ab"
    (data,) = child.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("digits", "feedbeef")
    assert sweep.files(child) == {"trial.json", "log.txt", "backbone.safetensors"}


def test_a_second_time_changes_nothing(sweep: Sweep) -> None:
    sweep.finish()
    assert sweep.track()
    before = rows(sweep.uri)
    assert sweep.track()
    after = rows(sweep.uri)
    ended = sweep.runs[0].info  # the sweep's own end is the only thing that moves
    assert len(before.pop("runs")) == len(after.pop("runs")) == 2
    assert before == after and sweep.runs[0].info.run_id == ended.run_id
    assert sweep.runs[1].info.end_time == BEGAN * 1000 + 6000


def test_events_while_it_runs_are_what_a_sync_would_write(sweep: Sweep) -> None:
    tracker = Tracker(sweep.spec, sweep.store, sweep.uri)
    tracker.begin(TRIAL, sweep.trial)
    sweep.finish()
    for event in sweep.folder.events()[:-1]:
        tracker.event(TRIAL, event)
    tracker.queue.put(tracker._flush)  # pyright: ignore[reportPrivateUsage]
    deadline = time.monotonic() + 30
    while not rows(sweep.uri)["metrics"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert sweep.runs[1].info.status == "RUNNING"
    live = set(rows(sweep.uri)["metrics"])
    tracker.sync(TRIAL, sweep.trial, "finished")
    assert tracker.close(None, "finished")
    both = set(rows(sweep.uri)["metrics"])
    assert live < both and all("pretrain/" in row for row in both - live)


def test_a_crash_leaves_no_run_running(sweep: Sweep) -> None:
    sweep.pretrain()
    crashed = Tracker(sweep.spec, sweep.store, sweep.uri)
    crashed.begin(TRIAL, sweep.trial)
    crashed.queue.put(None)  # ends its thread, and tells nobody
    crashed.thread.join()
    assert [run.info.status for run in sweep.runs] == ["RUNNING", "RUNNING"]
    tracker = Tracker(sweep.spec, sweep.store, sweep.uri)
    assert [run.info.status for run in sweep.runs] == ["RUNNING", "KILLED"]
    assert sweep.runs[1].info.end_time == BEGAN * 1000 + 4000
    assert tracker.close(None, "stopped")
    assert [run.info.status for run in sweep.runs] == ["KILLED", "KILLED"]


def test_a_failure_that_was_made_good(sweep: Sweep) -> None:
    sweep.pretrain()
    sweep.folder.fail(Failure(stage="pretrain", reason="the loss is not finite"))
    assert sweep.track("failed")
    child = sweep.runs[1]
    assert child.info.status == "FAILED" and child.data.tags["failure"] == "the loss is not finite"
    sweep.finish()
    assert sweep.track()
    child = sweep.runs[1]
    assert child.info.status == "FINISHED" and "failure" not in child.data.tags


def test_other_evaluations_make_another_run(sweep: Sweep, sweep_file: Callable[..., Path]) -> None:
    """Parameters of a run cannot be changed, and the old ones would tell of numbers that are no longer there."""
    sweep.finish()
    assert sweep.track()
    other = Sweep(sweep_file("other.yaml", evaluate=[{"name": "knn", "k": 7}]))
    assert other.track()
    child = other.runs[1]
    assert child.data.params["evaluate.knn.k"] == "7" and child.data.metrics["knn/final_top1"] == 11.0


def test_names_tell_the_trials_of_a_sweep_apart(sweep: Sweep) -> None:
    def name(**changes: Any) -> str:
        return projection.run_name(sweep.spec, sweep.trial.model_copy(update=changes), TRIAL)

    axes = {"method.temperature": 0.123456, "backbone.name": "resnet18", "pretrain.batch_size": 64}
    assert name(axes=axes) == "simclr-temperature=0.1235-backbone=resnet18-batch_size=64-s0-0123456789"
    assert name(split="holdout", seed=3) == "simclr-search-s3-0123456789"


def test_a_useless_address(sweep: Sweep) -> None:
    with pytest.raises(UserError, match=r"tracking 'nosuch://x' cannot be used"):
        Tracker(sweep.spec, sweep.store, "nosuch://x")


def test_an_absent_server_costs_nothing_but_lateness(sweep: Sweep, caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    began = time.monotonic()
    sweep.finish()
    tracker = Tracker(sweep.spec, sweep.store, f"http://127.0.0.1:{port}")
    tracker.begin(TRIAL, sweep.trial)
    for event in sweep.folder.events():
        tracker.event(TRIAL, event)
    tracker.sync(TRIAL, sweep.trial, "finished")
    assert not tracker.close(None, "finished")
    assert time.monotonic() - began < 20
    assert "does not answer" in caplog.text
    assert sweep.track()  # elsewhere, or later: all of it is there
    assert sweep.runs[1].data.metrics["knn/final_top1"] == 44.44444
