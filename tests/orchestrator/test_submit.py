"""Whole sweeps through Ray and MLflow, also when something dies."""

import json
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from command import Running, all_gone, mlflow_metrics, mlflow_runs, ssl_sweep

SweepFile = Callable[..., Path]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
EPOCHS = 30  # a killed driver's workers train on for some seconds before Ray ends them
LONG: dict[str, Any] = {
    "pretrain": {"epochs": EPOCHS, "batch_size": 32},
    "evaluate": [{"name": "knn", "k": 20}],
    "resources": {"checkpoint_minutes": 0, "concurrent_trials": 1},
}


def trials(storage: Path) -> dict[str, Path]:
    """Folder of each trial by its method and seed."""
    folders = sorted((storage / "trials").iterdir())
    return {f"{folder.name.split('-')[0]} {folder.name.rsplit('-', 2)[1]}": folder for folder in folders}


def events(folder: Path) -> list[dict[str, Any]]:
    segments = sorted((folder / "events").glob("*.jsonl"))
    return [json.loads(line) for path in segments for line in path.read_text().split("\n")[:-1]]


def epochs(folder: Path) -> list[int]:
    return [event["epoch"] for event in events(folder) if event["kind"] == "epoch"]


def stages(storage: Path) -> Counter[str]:
    """How often each stage was begun, over all trials."""
    return Counter(
        f"{name}: {event['stage']}"
        for name, folder in trials(storage).items()
        for event in events(folder)
        if event["kind"] == "stage"
    )


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
    assert "Ray" not in text  # nothing to carry, so nothing is started
    assert stages(storage) == first
    assert mlflow_runs(storage) == runs

    evaluate = [{"name": "knn", "k": 20}, {"name": "linear", "epochs": 3, "augment": False}]
    ssl_sweep("submit", sweep_file(methods=methods, seeds=[0, 1], evaluate=evaluate))
    grown = stages(storage) - first
    again = {"random s0: linear": 1, "simclr s0: linear": 1}
    new = {f"{method} s1: {stage}": 1 for method in methods for stage in ("pretrain", "knn", "linear")}
    assert grown == Counter(again | new)
    rows = json.loads(ssl_sweep("status", sweep_file(methods=methods, seeds=[0, 1], evaluate=evaluate), "--json"))
    assert [row["status"] for row in rows] == ["finished"] * 4


def test_a_killed_worker_and_a_failing_trial(sweep_file: SweepFile, tmp_path: Path) -> None:
    """Two data-parallel workers: one is killed, the group comes back; a trial that diverges fails alone."""
    storage = tmp_path / "runs"
    broken = {"name": "byol", "pretrain": {"optimizer": {"name": "sgd", "lr": 1e30}, "schedule": {"warmup_epochs": 0}}}
    resources = {"workers": 2, "checkpoint_minutes": 0, "concurrent_trials": 1}
    running = Running(sweep_file(**LONG | {"methods": ["simclr", broken], "resources": resources}))
    running.wait_for(lambda: (storage / "trials").exists() and "simclr s0" in trials(storage))
    running.wait_for(lambda: len(epochs(trials(storage)["simclr s0"])) >= 2)
    running.workers()[0].kill()
    text = running.end(expect=1)
    assert "the loss is not finite" in text
    record = json.loads((trials(storage)["simclr s0"] / "pretrain.json").read_text())
    assert record["attempts"] == 2
    done = epochs(trials(storage)["simclr s0"])
    assert sorted(set(done)) == list(range(1, EPOCHS + 1))
    assert len(done) <= EPOCHS + 1  # at most the epoch that a step's loss repeats
    statuses = {name.split("-")[0]: status for name, status in mlflow_runs(storage).items()}
    assert statuses == {"small": "FAILED", "simclr": "FINISHED", "byol": "FAILED"}
    assert "not finite" in (storage / "sweeps/small/report/report.md").read_text()


def test_a_killed_driver_then_one_that_is_asked_to_end(sweep_file: SweepFile, tmp_path: Path) -> None:
    storage = tmp_path / "runs"
    path = sweep_file(**LONG | {"methods": ["random", "simclr"]})
    running = Running(path)
    running.wait_for(lambda: (storage / "trials").exists() and "simclr s0" in trials(storage))
    running.wait_for(lambda: len(epochs(trials(storage)["simclr s0"])) >= 2)
    assert list(trials(storage)["random s0"].glob("evaluations/*.json"))  # trials run in the order of the file
    family = running.descendants()
    running.signal(signal.SIGKILL)
    running.process.wait()
    assert all_gone(family, seconds=90) == []
    assert "RUNNING" in mlflow_runs(storage).values()  # nobody was left to say so
    rows = json.loads(ssl_sweep("status", path, "--json"))
    assert sorted(row["status"] for row in rows) == ["finished", "missing"]
    assert "RUNNING" not in mlflow_runs(storage).values()
    before = epochs(trials(storage)["simclr s0"])

    running = Running(path)
    running.wait_for(lambda: len(epochs(trials(storage)["simclr s0"])) >= len(before) + 2)
    family = running.descendants()
    running.signal(signal.SIGTERM)  # which Ray would answer by ending the process
    running.signal(signal.SIGTERM)  # `timeout` signals the process and its group
    text = running.end(expect=130)
    assert (storage / "sweeps/small/report/report.html").exists()
    assert "stopping: each trial keeps what it has" in text
    assert "go on with: ssl-sweep submit" in text
    assert all_gone(family, seconds=30) == []
    assert "RUNNING" not in mlflow_runs(storage).values()

    ssl_sweep("submit", path)
    done = epochs(trials(storage)["simclr s0"])
    assert sorted(set(done)) == list(range(1, EPOCHS + 1))
    assert len(done) <= EPOCHS + 2  # two interruptions, at most one repeated epoch each
    assert stages(storage)["random s0: knn"] == 1
    assert set(mlflow_runs(storage).values()) == {"FINISHED"}


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
    best = max((point for point in points if not point["stopped"]), key=lambda point: point["value"])
    finals = [json.loads((folder / "trial.json").read_text())["trial"] for folder in (storage / "trials").iterdir()]
    (final,) = [trial for trial in finals if trial["split"] == "test"]
    assert final["method"]["temperature"] == best["values"]["method.temperature"]
    before = pq.read_table(storage / "sweeps/small/report/results.parquet")
    assert sum(before["search"].to_pylist()) >= 3
    text = ssl_sweep("submit", path)
    assert "Ray" not in text
    again = pq.read_table(storage / "sweeps/small/report/results.parquet")
    assert again.drop_columns(["created"]).sort_by("trial_id") == before.drop_columns(["created"]).sort_by("trial_id")
