"""Whole sweeps through Ray and MLflow, also when something dies."""

import json
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest
from command import Running, all_gone, mlflow_metrics, mlflow_runs, ssl_sweep
from gates import Gates
from ssl_sweep.orchestrator.store.events import EpochDone, ScoreDone, StageStarted
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.trial_folder import TrialStore

SweepFile = Callable[..., Path]
pytestmark = pytest.mark.timeout(1200)
slow = pytest.mark.slow
EPOCHS = 6
PASSES = 21
"""Of the gated method's encoder in an epoch: two views in each of ten steps, and a look at the features."""
LONG: dict[str, Any] = {
    "pretrain": {"epochs": EPOCHS, "batch_size": 32},
    "evaluate": [{"name": "knn", "k": 20}],
    "resources": {"checkpoint_minutes": 0, "concurrent_trials": 1},
}


@pytest.fixture
def gates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gates:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "package"))
    return Gates(tmp_path / "package")


def trials(storage: Path | str) -> dict[str, TrialStore]:
    """Folder of each trial by its method and seed."""
    store = Store(str(storage))
    return {f"{name.split('-')[0]} {name.rsplit('-', 2)[1]}": TrialStore(store, name) for name in store.names("trials")}


def epochs(folder: TrialStore) -> list[int]:
    return [event.epoch for event in folder.events() if isinstance(event, EpochDone)]


def stages(storage: Path) -> Counter[str]:
    """How often each stage was begun, over all trials."""
    return Counter(
        f"{name}: {event.stage}"
        for name, folder in trials(storage).items()
        for event in folder.events()
        if isinstance(event, StageStarted)
    )


def statuses(path: Path) -> dict[str, str]:
    """What `status` says of each trial, by method."""
    rows = json.loads(ssl_sweep("status", path, "--json"))
    return {row["trial"].split("-")[0]: row["status"] for row in rows}


def test_a_sweep_runs_once_and_grows(sweep_file: SweepFile, tmp_path: Path) -> None:
    storage = tmp_path / "runs"
    methods = ["random", "simclr"]
    text = ssl_sweep("submit", sweep_file(methods=methods))
    assert "mlflow ui --backend-store-uri" in text
    report = storage / "sweeps/small/report"
    assert {path.name for path in report.iterdir()} >= {"report.md", "report.html", "results.parquet", "results.csv"}
    assert pq.read_table(report / "results.parquet").num_rows == 6
    runs = mlflow_runs(storage)
    assert len(runs) == 3
    assert set(runs.values()) == {"FINISHED"}
    name = next(run for run in runs if run.startswith("simclr"))
    metrics = mlflow_metrics(storage, name)
    assert {"loss", "lr", "images_per_second", "pretrain/seconds", "pretrain/resident_memory_gb"} <= metrics.keys()
    assert {"knn/final_top1", "linear/final_top5", "finetune/seconds", "finetune/final_top1"} <= metrics.keys()
    first = stages(storage)

    text = ssl_sweep("submit", sweep_file(methods=methods))
    assert "Ray" not in text  # nothing to run, so nothing is started
    assert stages(storage) == first
    assert mlflow_runs(storage) == runs

    evaluate = [{"name": "knn", "k": 20}, {"name": "linear", "epochs": 3, "augment": False}]
    ssl_sweep("submit", sweep_file(methods=methods, seeds=[0, 1], evaluate=evaluate))
    grown = stages(storage) - first
    again = {"random s0: linear": 1, "simclr s0: linear": 1}
    new = {f"{method} s1: {stage}": 1 for method in methods for stage in ("pretrain", "knn", "linear")}
    assert grown == Counter(again | new)
    path = sweep_file(methods=methods, seeds=[0, 1], evaluate=evaluate)
    rows = json.loads(ssl_sweep("status", path, "--json"))
    assert [row["status"] for row in rows] == ["finished"] * 4


@slow
def test_a_killed_worker_and_a_failing_trial(sweep_file: SweepFile, gates: Gates, tmp_path: Path) -> None:
    """Two data-parallel workers: one is killed, the group comes back; a trial that diverges fails alone."""
    storage = tmp_path / "runs"
    broken = {"name": "byol", "pretrain": {"optimizer": {"name": "sgd", "lr": 1e30}, "schedule": {"warmup_epochs": 0}}}
    resources = {"workers": 2, "checkpoint_minutes": 0, "concurrent_trials": 1}
    gates.close(2 * PASSES + 9)
    running = Running(sweep_file(**LONG | {"methods": [gates.method(), broken], "resources": resources}))
    running.wait_for(lambda: gates.reached(2 * PASSES + 9, processes=2))
    running.workers()[0].kill()
    gates.open(2 * PASSES + 9)
    text = running.end(expect=1)
    assert "the loss is not finite" in text
    folder = trials(storage)["gated s0"]
    record = folder.pretrained()
    assert record is not None and record.attempts == 2
    done = epochs(folder)
    assert sorted(set(done)) == list(range(1, EPOCHS + 1))
    assert len(done) <= EPOCHS + 1  # at most the epoch that a step's loss repeats
    runs = {name.split("-")[0]: status for name, status in mlflow_runs(storage).items()}
    assert runs == {"small": "FAILED", "gated": "FINISHED", "byol": "FAILED"}
    assert "not finite" in (storage / "sweeps/small/report/report.md").read_text()


@slow
def test_a_killed_driver_then_one_that_is_asked_to_end(sweep_file: SweepFile, gates: Gates, tmp_path: Path) -> None:
    storage = tmp_path / "runs"
    path = sweep_file(**LONG | {"methods": ["random", gates.method()]})
    gates.close(2 * PASSES + 9)
    running = Running(path)
    running.wait_for(lambda: gates.reached(2 * PASSES + 9))
    assert statuses(path) == {"random": "finished", "gated": "running"}  # trials run in the order of the file
    assert "RUNNING" in mlflow_runs(storage).values()
    before = mlflow_runs(storage)
    family = running.descendants()
    running.signal(signal.SIGKILL)
    running.process.wait()
    assert all_gone(family, seconds=90) == []
    assert statuses(path) == {"random": "finished", "gated": "interrupted"}
    assert mlflow_runs(storage) == before, "status changes nothing"
    row = json.loads(ssl_sweep("status", path, "--json"))[1]
    assert (row["stage"], row["epoch"], row["epochs"]) == ("pretrain", 2, EPOCHS)

    gates.open(2 * PASSES + 9)
    gates.close(40)
    running = Running(path)
    running.wait_for(lambda: gates.reached(40))
    family = running.descendants()
    running.signal(signal.SIGTERM)  # which Ray would answer by ending the process
    running.signal(signal.SIGTERM)  # `timeout` signals the process and its group
    running.wait_for(lambda: "stopping: each trial keeps a checkpoint" in running.log.read_text())
    gates.open(40)
    text = running.end(expect=130)
    assert (storage / "sweeps/small/report/report.html").exists()
    assert "resume with: ssl-sweep submit" in text
    assert all_gone(family, seconds=30) == []
    assert "RUNNING" not in mlflow_runs(storage).values()
    assert statuses(path) == {"random": "finished", "gated": "interrupted"}
    assert "interrupted" in (storage / "sweeps/small/report/report.md").read_text()

    ssl_sweep("submit", path)
    done = epochs(trials(storage)["gated s0"])
    assert sorted(set(done)) == list(range(1, EPOCHS + 1))
    assert len(done) <= EPOCHS + 2  # two interruptions, at most one repeated epoch each
    assert stages(storage)["random s0: knn"] == 1
    assert set(mlflow_runs(storage).values()) == {"FINISHED"}


@slow
@pytest.mark.parametrize("name", ["linear", "finetune"])
def test_a_killed_evaluation_resumes_with_the_undisturbed_numbers(
    name: str, sweep_file: SweepFile, gates: Gates, tmp_path: Path
) -> None:
    """Three epochs of ten steps; killed in the second one."""
    protocol = {} if name == "linear" else {"protocol": "finetune/simclr@1"}
    evaluate = [{"name": name, "epochs": 3, "batch_size": 32, **protocol}]
    resources = {"checkpoint_minutes": 0}
    content = {"methods": [gates.method("gated_random")], "evaluate": evaluate, "resources": resources}
    ssl_sweep("submit", sweep_file("whole.yaml", **content, storage=str(tmp_path / "whole")))
    path = sweep_file(**content)
    gates.close(16)
    running = Running(path)
    running.wait_for(lambda: gates.reached(16))
    family = running.descendants()
    running.signal(signal.SIGKILL)
    running.process.wait()
    assert all_gone(family, seconds=90) == []
    gates.open(16)
    ssl_sweep("submit", path)
    whole, resumed = (trials(tmp_path / storage)["gated_random s0"] for storage in ("whole", "runs"))
    assert [event.epoch for event in resumed.events() if isinstance(event, ScoreDone)] == [1, 2, 3]
    numbers = [
        [r.model_dump(exclude={"cost"}) for r in folder.status().evaluations.values()] for folder in (whole, resumed)
    ]
    assert len(numbers[0]) == 1 and numbers[0] == numbers[1]


@slow
@pytest.mark.parametrize("place", ["disk", "s3"])
def test_two_drivers_compute_each_trial_once(
    place: str, sweep_file: SweepFile, gates: Gates, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The second sweep waits for the trial that the first one computes, and takes it over once its driver is killed."""
    storage = str(tmp_path / "runs") if place == "disk" else request.getfixturevalue("s3_bucket")
    content = LONG | {"storage": storage}
    gates.close(PASSES)
    first = Running(sweep_file("first.yaml", **content | {"name": "first", "methods": [gates.method()]}))
    first.wait_for(lambda: gates.reached(PASSES))
    second = Running(sweep_file("second.yaml", **content | {"name": "second", "methods": ["random", gates.method()]}))
    second.wait_for(lambda: "random s0" in trials(storage))
    second.wait_for(lambda: "another sweep is computing it" in second.log.read_text())
    family = psutil.Process(first.process.pid).children(recursive=True)
    first.signal(signal.SIGKILL)
    first.process.wait()
    assert all_gone(family, seconds=90) == []  # else its worker could end the trial before it hears of the driver's end
    gates.open(PASSES)
    second.end(expect=0)
    folder = trials(storage)["gated s0"]
    assert sorted(epochs(folder)) == list(range(1, EPOCHS + 1))
    record = folder.pretrained()
    assert record is not None and record.attempts == 2


@slow
def test_a_second_file_of_the_same_name_is_refused(sweep_file: SweepFile) -> None:
    ssl_sweep("submit", sweep_file(methods=["random"], evaluate=[{"name": "knn", "k": 20}]))
    other = sweep_file("other.yaml", methods=["random"], evaluate=[{"name": "knn", "k": 7}])
    assert "is the sweep of" in ssl_sweep("submit", other, expect=2)
    ssl_sweep("submit", other, "--replace")


def test_a_search_with_early_stopping(sweep_file: SweepFile, tmp_path: Path) -> None:
    storage = tmp_path / "runs"
    search = {
        "space": {"method.temperature": {"uniform": [0.05, 0.5]}},
        "algorithm": "optuna",
        "trials": 3,
        "early_stopping": {"grace_epochs": 1, "reduction": 2},
    }
    pretrain = {"epochs": 3, "batch_size": 32, "knn_every": 1}
    path = sweep_file(pretrain=pretrain, evaluate=[{"name": "knn", "k": 20}], search=search)
    ssl_sweep("submit", path)
    points = json.loads((storage / "sweeps/small/search.json").read_text())["points"]
    assert len(points) == 3
    assert all(0.05 <= point["values"]["method.temperature"] <= 0.5 for point in points)
    best = max((point for point in points if not point["stopped"]), key=lambda point: point["scores"]["knn/top1"])
    finals = [json.loads((folder / "trial.json").read_text())["trial"] for folder in (storage / "trials").iterdir()]
    (final,) = [trial for trial in finals if trial["split"] == "test"]
    assert final["method"]["temperature"] == best["values"]["method.temperature"]
    before = pq.read_table(storage / "sweeps/small/report/results.parquet")
    assert sum(before["search"].to_pylist()) >= 3
    text = ssl_sweep("submit", path)
    assert "Ray" not in text
    again = pq.read_table(storage / "sweeps/small/report/results.parquet")
    assert again.drop_columns(["created"]).sort_by("trial_id") == before.drop_columns(["created"]).sort_by("trial_id")
