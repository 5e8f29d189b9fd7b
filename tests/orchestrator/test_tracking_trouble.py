"""MLflow in trouble: absent, locked, full, damaged, or refusing. The sweep goes on, and the runs are whole in the end."""

import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
import yaml
from by_hand import BEGAN, SweepByHand, duplicates, rows, wait_for
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE
from mlflow.tracking._tracking_service import utils
from ssl_sweep.orchestrator.store.events import StatusChanged, StepDone
from ssl_sweep.orchestrator.store.trial_state import TrialState
from ssl_sweep.orchestrator.tracking import database, outages, tracker
from ssl_sweep.orchestrator.tracking.ledger import Ledger
from ssl_sweep.orchestrator.tracking.mlflow_runs import Runs


def test_an_absent_server_costs_nothing_but_lateness(sweep: SweepByHand, caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    sweep.run()
    following = sweep.tracker(f"http://127.0.0.1:{port}")
    sweep.follow(following, sweep.folder.events())
    assert not following.close(TrialState.FINISHED)
    assert caplog.text.count("events wait in the store") == 1
    assert sweep.track()  # elsewhere, or later: all of it is there
    assert sweep.runs[1].data.metrics["knn/final_top1"] == 44.44444


@pytest.mark.parametrize("damage", ["locked", "not a database"])
def test_a_database_that_cannot_be_used_stops_nothing(
    sweep: SweepByHand, damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    path = tmp_path / "runs" / "mlflow.db"
    sweep.run()
    whole = path.read_bytes()
    if damage == "locked":
        with sqlite3.connect(path) as other:
            other.execute("begin exclusive")
            following = sweep.tracker()
            sweep.follow(following, sweep.folder.events())
            assert not following.close(TrialState.FINISHED)
            other.rollback()
    else:
        path.write_bytes(b"not a database" * 1000)
        assert not sweep.track()
        path.write_bytes(whole)
    assert sweep.track()
    assert sweep.runs[1].data.metrics["knn/final_top1"] == 44.44444


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("ssl_sweep")]


class Failing:
    """Fails some times, as a locked database does, then does what it stands in for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: type, name: str, times: int = 10**9):
        self.real, self.times, self.calls = getattr(owner, name), times, 0
        monkeypatch.setattr(owner, name, lambda *arguments, **named: self(*arguments, **named))

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        self.calls += 1
        if self.times > 0:
            self.times -= 1
            raise MlflowException("database is locked", TEMPORARILY_UNAVAILABLE)
        return self.real(*arguments, **named)


def test_an_outage_is_told_once_and_its_end_once(
    sweep: SweepByHand, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outages, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(tracker, "FLUSH_SECONDS", 0.0)
    sweep.run()
    failing = Failing(monkeypatch, Runs, "metrics", times=3)
    following = sweep.tracker()
    events = sweep.folder.events()
    sweep.follow(following, events)
    assert following.close(TrialState.FINISHED)
    assert failing.calls > 3 and not duplicates(sweep.uri)
    failed, works = warnings(caplog)
    assert failed.endswith("database is locked; events wait in the store") and works.endswith("works again")
    child = sweep.runs[1]
    assert child.info.status == "FINISHED" and child.data.metrics["knn/final_top1"] == 44.44444
    client = MlflowClient(sweep.uri)
    assert [metric.step for metric in client.get_metric_history(child.info.run_id, "loss")] == [1, 2, 3, 4]


def test_a_run_that_could_not_be_ended_is_ended_with_the_sweep(
    sweep: SweepByHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep.run()
    Failing(monkeypatch, Runs, "end", times=1)
    following = sweep.tracker()
    sweep.follow(following, sweep.folder.events())
    assert following.close(TrialState.FINISHED)
    assert [run.info.status for run in sweep.runs] == ["FINISHED", "FINISHED"]


def test_the_end_of_a_sweep_does_not_wait_for_ever(sweep: SweepByHand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "CLOSING_SECONDS", 0.0)
    monkeypatch.setattr(outages, "CLOSING_RETRY_SECONDS", 0.0)
    sweep.run()
    with monkeypatch.context() as patch:
        Failing(patch, Runs, "end")
        assert not sweep.track()
    assert sweep.track()
    assert [run.info.status for run in sweep.runs] == ["FINISHED", "FINISHED"]


def test_files_that_cannot_be_attached_leave_no_run_of_the_sweep_running(
    sweep: SweepByHand, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sweep.run()
    blocked = tmp_path / "runs" / "mlartifacts"
    blocked.touch()  # a file, where a folder must be
    assert not sweep.track()
    assert sweep.runs[0].info.status == "FINISHED"
    assert any("refuses" in text for text in warnings(caplog))
    blocked.unlink()
    assert sweep.track()
    assert [run.info.status for run in sweep.runs] == ["FINISHED", "FINISHED"]
    assert sweep.files(sweep.runs[1]) == {"trial.json", "log.txt", "backbone.safetensors"}


@contextmanager
def full(path: Path) -> Generator[None]:
    """No database takes more than this one has now."""
    with closing(sqlite3.connect(path)) as connection:
        (pages,) = connection.execute("pragma page_count").fetchone()

    def limit(connection: sqlite3.Connection, _: object) -> None:
        connection.execute(f"pragma max_page_count = {pages}")

    sqlalchemy.event.listen(sqlalchemy.Engine, "connect", limit)
    try:
        yield
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "connect", limit)


def test_a_full_database_stops_nothing(
    sweep: SweepByHand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")
    monkeypatch.setattr(outages, "CLOSING_SECONDS", 0.0)
    path = tmp_path / "runs" / "mlflow.db"
    sweep.begin()
    steps = [StepDone(step=step, loss=1.0 / step, lr=0.1, images_per_second=9.0) for step in range(1, 3000)]
    sweep.tell(1, *steps)
    sweep.finish()
    with full(path):
        following = sweep.tracker()
        sweep.follow(following, sweep.folder.events())
        assert not following.close(TrialState.FINISHED)
    assert "is full" in warnings(caplog)[0]
    assert sweep.track() and not duplicates(sweep.uri)
    child = sweep.runs[1]
    assert child.info.status == "FINISHED"
    assert len(MlflowClient(sweep.uri).get_metric_history(child.info.run_id, "loss")) == 2999


@pytest.mark.parametrize("ledger", ["lost", "old"])
def test_another_driver_resumes_without_repeating_points(sweep: SweepByHand, ledger: str, tmp_path: Path) -> None:
    """The first driver is killed, with its ledger as it was when it began; of the last step, the worker told it alone."""
    name = Ledger.name(sweep.spec.name)
    sweep.begin()
    sweep.train(last=3)
    killed = sweep.tracker()
    lost = StepDone(time=BEGAN + 4, step=4, loss=9.0, lr=0.1, images_per_second=9.0)
    sweep.follow(killed, [*sweep.folder.events(), lost])
    wait_for(lambda: any("'loss', 9.0" in row for row in rows(sweep.uri)["metrics"]))
    old = sweep.store.read(name)
    assert old is not None
    killed.close(TrialState.RUNNING)  # so that its thread ends; what it leaves is as of a killed one
    if ledger == "lost":
        sweep.store.delete(name)
    else:
        sweep.store.write(name, old)
    with closing(sqlite3.connect(tmp_path / "runs" / "mlflow.db")) as connection, connection:
        connection.execute("update runs set status = 'RUNNING'")
        connection.execute("delete from tags where key = 'ssl_sweep.settled'")

    sweep.tell(20, StatusChanged(state=TrialState.RUNNING, attempt=2))
    resumed, before = sweep.tracker(), sweep.status
    begun = len(sweep.folder.events())
    sweep.follow(resumed, sweep.folder.events()[-1:])
    sweep.train(first=3)  # from the checkpoint after step 2, at other times
    sweep.finish()
    sweep.follow(resumed, sweep.folder.events()[begun:], before)
    assert resumed.close(TrialState.FINISHED)
    assert duplicates(sweep.uri) == []
    parent, child = sweep.runs
    assert parent.info.status == child.info.status == "FINISHED"
    history = MlflowClient(sweep.uri).get_metric_history(child.info.run_id, "loss")
    assert [(metric.step, metric.value) for metric in history] == [(1, 4.0), (2, 3.0), (3, 2.0), (4, 9.0)]


def test_artifacts_follow_a_store_that_is_moved(
    sweep: SweepByHand, sweep_file: Callable[..., Path], tmp_path: Path
) -> None:
    sweep.run()
    assert sweep.track()
    moved = tmp_path / "other place" / "ü"
    moved.parent.mkdir()
    (tmp_path / "runs").rename(moved)
    utils._artifact_repos_cache.clear()  # a submit is a process of its own
    there = SweepByHand(sweep_file("there.yaml", evaluate=[{"name": "knn", "k": 20}], storage=str(moved)))
    assert there.track()
    client = MlflowClient(there.uri)
    parent, child = there.runs
    assert there.files(child) == {"trial.json", "log.txt", "backbone.safetensors"}
    assert Path(client.download_artifacts(child.info.run_id, "log.txt")).read_text() == "epoch 1 of 2\n"
    assert there.files(parent) == {"sweep.yaml"}
    assert not (tmp_path / "runs").exists()
    before = rows(there.uri)["runs"]
    assert there.track() and len(rows(there.uri)["runs"]) == len(before)


PARALLEL = """
import sys
from pathlib import Path
from ssl_sweep.orchestrator.api.environment import configure
configure()
import mlflow
from ssl_sweep.orchestrator.spec.load import load_spec
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.trial_state import TrialState
from ssl_sweep.orchestrator.tracking.database import tracking_uri
from ssl_sweep.orchestrator.tracking.tracker import Tracker
spec, _ = load_spec(Path(sys.argv[1]))
store = Store(spec.storage)
print("ready", flush=True)
sys.stdin.readline()
print(Tracker(spec, store, tracking_uri(spec, store, Path(sys.argv[1]).parent)).close(TrialState.FINISHED))
"""


def test_two_sweeps_that_begin_together_create_one_database(sweep_file: Callable[..., Path], tmp_path: Path) -> None:
    paths = [sweep_file(f"{name}.yaml", name=name) for name in ("one", "two")]
    (tmp_path / "runs").mkdir()
    left = tmp_path / "runs" / ".mlflow.db.0123.tmp"  # by a process that was killed in the middle
    left.touch()
    os.utime(left, (0, 0))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PARALLEL, str(path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for path in paths
    ]  # fmt: skip
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.communicate() for process in processes] == [("True\n", ""), ("True\n", "")]
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"mlflow.db", "sweeps"}
    client = MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")
    for name in ("one", "two"):
        experiment = client.get_experiment_by_name(name)
        assert experiment is not None
        (run,) = client.search_runs([experiment.experiment_id])
        assert run.info.status == "FINISHED"


def test_names_and_values_that_mlflow_does_not_take(sweep_file: Callable[..., Path], sweep: SweepByHand) -> None:
    options = {"k" * 3000 + end: "v" * 9000 + end for end in ("1", "2")} | {"a//b": 1, "ü?#%": 2, "a/b": 3}
    document = yaml.safe_load(sweep_file().read_text())
    backbone = {**document["backbone"], "options": {**document["backbone"]["options"], **options}}
    long = SweepByHand(sweep_file(evaluate=[{"name": "knn", "k": 20}], backbone=backbone))
    long.begin()
    long.tell(1, StatusChanged(state=TrialState.FAILED, reason="x" * 9000))
    assert long.track()
    child = long.runs[1]
    assert child.info.status == "FAILED" and len(child.data.tags["failure"]) == 8000
    params = {key: value for key, value in child.data.params.items() if key.startswith("backbone.options.kk")}
    assert len(params) == len(set(params.values())) == 2
    assert {len(key) for key in params} == {250} and {len(value) for value in params.values()} == {6000}
    assert child.data.params["backbone.options.a/b"] == "3"
    assert "ssl_sweep.parameters" in child.data.tags
