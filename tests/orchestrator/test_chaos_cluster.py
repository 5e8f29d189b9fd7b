"""A cluster of three machines on which processes, machines and the whole of Ray are lost, again and again.

Whatever happens, every trial ends once with the numbers of an undisturbed sweep, MLflow has what the store has, and nothing
is left behind. The order is drawn with a seed; each time the trials wait at a gate, so it does not depend on their speed.
"""

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from command import Running, all_gone, ssl_sweep
from gates import Gates
from ssl_sweep.orchestrator.store.events import EvaluationDone
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.trial_folder import TrialStore
from ssl_sweep.orchestrator.store.trial_state import TrialState
from started_ray import OPEN, Cluster, processes
from tracked import assert_tracked
from weights import assert_same_weights

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]

SweepFile = Callable[..., Path]
GATE = 15
"""The encoder's pass at which every process waits: after seven steps of its own."""
RANKS = 3
"""That train at once: of a trial of two workers and of one of one."""
PATIENCE = 60.0
"""Seconds after which those that have come to the gate are disturbed without the others."""
TIMEOUT = 600.0
WORKER, CONTROLLER, BOARD = "RayTrainWorker", "TrainController", "ray::Board"
COUNTS = {
    "kill worker": 20,
    "kill driver": 10,
    "remove node": 5,
    "stop rank": 3,
    "kill board": 1,
    "kill controller": 1,
    "kill raylet": 1,
    "kill head": 1,
}
SWEEP: dict[str, Any] = {
    "pretrain": {"epochs": 32, "batch_size": 32},
    "evaluate": [{"name": "knn", "k": 20}],
    "resources": {"checkpoint_minutes": 0, "concurrent_trials": 2, "max_failures": 100, "hang_minutes": 60},
}


@pytest.fixture
def gates(ray_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gates:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "package"))
    for name, value in OPEN.items():
        monkeypatch.setenv(name, value)
    (ray_folder / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(ray_folder / "tmp"))
    return Gates(tmp_path / "package")


class Chaos:
    """A sweep on a cluster, and what happens to both."""

    def __init__(self, sweep: Path, cluster: Cluster, gates: Gates, seed: int):
        self.sweep, self.cluster, self.gates = sweep, cluster, gates
        self.random = random.Random(seed)
        self.running: Running | None = None
        self.family: set[psutil.Process] = set()

    def go_through(self, counts: dict[str, int]) -> None:
        """Every disturbance, in a drawn order, each once the trials have come to the gate."""
        kinds = list(Counter(counts).elements())
        self.random.shuffle(kinds)
        doomed: list[psutil.Process] = []
        for kind in kinds:
            running, waiting = self.settled(doomed)
            doomed = self.disturb(kind, running, waiting)
        self.settled(doomed)
        self.gates.open(GATE)

    def disturb(self, kind: str, running: Running, waiting: list[psutil.Process]) -> list[psutil.Process]:
        """Returns the processes at the gate that end by it."""
        doomed = waiting
        match kind:
            case "kill worker":
                doomed = [self.random.choice(waiting)]
                doomed[0].kill()
            case "stop rank":
                doomed = [self.random.choice(waiting)]
                doomed[0].send_signal(signal.SIGSTOP)
            case "kill driver":
                running.process.kill()
                running.process.wait()
            case "remove node":
                raylet = self.random.choice(self.cluster.raylets(head=False))
                doomed = [process for process in waiting if process.ppid() == raylet.pid]
                raylet.kill()
            case "kill raylet":
                self.cluster.raylets(head=True)[0].kill()
            case "kill head":
                processes("gcs/gcs_server")[0].kill()
            case "kill board":
                processes(BOARD)[0].kill()
            case "kill controller":
                doomed = []  # those of its group, which nothing tells
                self.random.choice(processes(CONTROLLER)).kill()
            case _:
                raise ValueError(kind)
        return doomed

    def settled(self, doomed: list[psutil.Process]) -> tuple[Running, list[psutil.Process]]:
        """The sweep, which is submitted again if its driver has gone, and its processes that have come to the gate."""
        began = time.monotonic()
        while True:
            running = self.submitted()
            waiting = self.at_the_gate()
            enough = len(waiting) >= RANKS or (waiting and time.monotonic() - began > PATIENCE)
            if enough and not any(map(is_alive, doomed)):
                self.family |= set(processes(""))
                return running, waiting
            assert time.monotonic() - began < TIMEOUT, f"no trial comes to the gate\n{running.log.read_text()}"
            time.sleep(0.1)

    def submitted(self) -> Running:
        """The driver on a whole cluster."""
        if not self.cluster.is_up():
            if self.running is not None:  # it must end by itself, with a sentence
                self.running.process.wait(TIMEOUT)
            self.cluster.restart()
        self.cluster.fill()
        if self.running is None or self.running.process.poll() is not None:
            if self.running is not None:
                assert "Traceback" not in self.running.log.read_text(), self.running.log.read_text()
            self.running = Running(self.sweep, "--address", self.cluster.address)
        return self.running

    def at_the_gate(self) -> list[psutil.Process]:
        here = {int(file.name) for file in (self.gates.folder / "gates" / str(GATE)).glob("[0-9]*")}
        return [process for process in processes(WORKER) if process.pid in here]

    def end(self) -> None:
        """Wait for the end of the sweep."""
        while self.submitted().process.wait(TIMEOUT):
            pass


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


PLACEMENT_GROUPS = """
import sys, ray
from ray.util import placement_group_table

ray.init(sys.argv[1], log_to_driver=False)
print(sorted({group["state"] for group in placement_group_table().values()}))
"""


@pytest.mark.parametrize("seed", [0])
def test_a_cluster_in_chaos(seed: int, ray_folder: Path, sweep_file: SweepFile, gates: Gates, tmp_path: Path) -> None:
    two = {"resources": {"workers": 2}, "temperature": 0.2}
    changes = SWEEP | {"methods": [gates.method() | two, gates.method()], "seeds": [0, 1]}
    sweep = sweep_file(**changes)
    undisturbed = sweep_file("undisturbed.yaml", **changes, storage=str(tmp_path / "undisturbed"))
    gates.close(GATE)
    with Cluster(ray_folder, machines=RANKS) as cluster:
        chaos = Chaos(sweep, cluster, gates, seed)
        chaos.go_through(COUNTS)
        chaos.end()
        said = subprocess.run(
            [sys.executable, "-c", PLACEMENT_GROUPS, cluster.address], check=True, capture_output=True, text=True
        )
        assert said.stdout.strip() in ("[]", "['REMOVED']")
    assert all_gone(list(chaos.family), seconds=90) == []
    assert list((ray_folder / "tmp").iterdir()) == []
    ssl_sweep("submit", undisturbed)
    assert_same(tmp_path / "runs", tmp_path / "undisturbed")
    assert_tracked(tmp_path / "runs", tmp_path / "runs/mlflow.db")


def assert_same(storage: Path, undisturbed: Path) -> None:
    """Each trial has ended once, with the weights and numbers of the undisturbed sweep."""
    stores = Store(str(storage)), Store(str(undisturbed))
    names, others = (store.names("trials") for store in stores)
    assert sorted(names) == sorted(others)
    for name in names:
        here, there = (TrialStore(store, name) for store in stores)
        statuses = here.status(), there.status()
        assert [status.state for status in statuses] == [TrialState.FINISHED] * 2
        ended = Counter(type(event) for event in here.events())
        assert ended[EvaluationDone] == 1
        losses = [{epoch.epoch: epoch.loss for epoch in item.history()} for item in (here, there)]
        assert losses[0] == losses[1]
        ((ours,), (theirs,)) = (status.evaluations.values() for status in statuses)
        assert ours.metrics == theirs.metrics
        assert_same_weights(here, there)
