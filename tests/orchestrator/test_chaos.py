"""A sweep whose processes are killed and stopped, one after another: it ends with the numbers of an undisturbed one."""

import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from command import Running, all_gone, mlflow_runs
from gates import Gates
from ssl_sweep.orchestrator.store.fault import Fault
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.trial_folder import TrialStore
from weights import assert_same_weights

SweepFile = Callable[..., Path]
pytestmark = pytest.mark.timeout(3600)
GATE = 15
"""The encoder's pass at which a process waits to be disturbed: after the seventh step since its checkpoint."""
SWEEP: dict[str, Any] = {
    "pretrain": {"epochs": 30, "batch_size": 32},
    "evaluate": [{"name": "knn", "k": 20}],
    "resources": {"checkpoint_minutes": 0, "concurrent_trials": 1, "max_failures": 100, "hang_minutes": 1},
}


@pytest.fixture
def gates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gates:
    monkeypatch.syspath_prepend(tmp_path / "package")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "package"))
    return Gates(tmp_path / "package")


def part(running: Running, words: str) -> psutil.Process:
    """The sweep's process with these words in its command."""
    return next(process for process in running.descendants() if words in " ".join(process.cmdline()))


class Disturbance:
    """What is done to a running sweep."""

    def __init__(self, words: str, number: signal.Signals, fault: Fault):
        """`words` of the process's command; `fault`: what the trial's restart is put down to."""
        self.words, self.number, self.fault = words, number, fault

    def __call__(self, running: Running) -> None:
        part(running, self.words).send_signal(self.number)


WORKER = "RayTrainWorker"
ALONE = """
import sys
from pathlib import Path

import torch
from in_process import carry, trials_of

torch.set_num_threads(1)
(trial,) = trials_of(Path(sys.argv[1]))
carry(trial, Path(sys.argv[2]))
"""
"""Runs a sweep's trial undisturbed."""
KILL_WORKER = Disturbance(WORKER, signal.SIGKILL, Fault.WORKER_DIED)
STOP_WORKER = Disturbance(WORKER, signal.SIGSTOP, Fault.HUNG)
KILL_CONTROLLER = Disturbance("TrainController", signal.SIGKILL, Fault.WORKER_DIED)
KILL_BOARD = Disturbance("ray::Board", signal.SIGKILL, Fault.ENGINE_LOST)
KILL_RAYLET = Disturbance("raylet/raylet", signal.SIGKILL, Fault.ENGINE_LOST)
KILL_HEAD = Disturbance("gcs/gcs_server", signal.SIGKILL, Fault.ENGINE_LOST)


def disturbed(path: Path, gates: Gates, disturbances: list[Disturbance]) -> TrialStore:
    """The trial of a sweep, whose process is disturbed each time it has come to the gate; returns its folder."""
    gates.close(GATE)
    running = Running(path)
    known: set[str] = set()
    family: list[psutil.Process] = []

    def has_come() -> set[str]:
        return {file.name for file in (gates.folder / "gates" / str(GATE)).glob("[0-9]*")} - known

    for disturb in disturbances:
        running.wait_for(has_come)
        known |= has_come()
        family += running.descendants()
        disturb(running)
    running.wait_for(has_come)
    gates.open(GATE)
    family += running.descendants()
    running.end(expect=0)
    assert all_gone(family, seconds=90) == []
    (name,) = (store := Store(str(path.parent / "runs"))).names("trials")
    return TrialStore(store, name)


def assert_as_undisturbed(folder: TrialStore, path: Path, disturbances: list[Disturbance]) -> None:
    storage = path.parent / "undisturbed"
    # by a process of its own: this one may know the methods since before the gates' package was there
    subprocess.run([sys.executable, "-c", ALONE, str(path), str(storage)], check=True, cwd=Path(__file__).parent)
    (name,) = (store := Store(str(storage))).names("trials")
    other = TrialStore(store, name)
    assert folder.trial_id == other.trial_id
    assert [(epoch.epoch, epoch.loss) for epoch in folder.history()] == [
        (epoch.epoch, epoch.loss) for epoch in other.history()
    ]
    ((here,), (there,)) = (item.status().evaluations.values() for item in (folder, other))
    assert here.metrics == there.metrics
    assert_same_weights(folder, other)
    assert [restart.fault for restart in folder.status().restarts] == [item.fault for item in disturbances]
    assert set(mlflow_runs(path.parent / "runs").values()) == {"FINISHED"}


def test_a_killed_worker_and_a_killed_raylet(sweep_file: SweepFile, gates: Gates) -> None:
    path = sweep_file(**SWEEP, methods=[gates.method()])
    disturbances = [KILL_WORKER, KILL_RAYLET]
    assert_as_undisturbed(disturbed(path, gates, disturbances), path, disturbances)


@pytest.mark.slow
def test_every_part_of_ray_is_killed_and_workers_stop(sweep_file: SweepFile, gates: Gates) -> None:
    path = sweep_file(**SWEEP, methods=[gates.method()])
    disturbances = [KILL_BOARD, STOP_WORKER, KILL_CONTROLLER, KILL_HEAD, STOP_WORKER, STOP_WORKER]
    disturbances += [KILL_WORKER] * 6
    random.Random(0).shuffle(disturbances)
    assert_as_undisturbed(disturbed(path, gates, disturbances), path, disturbances)
