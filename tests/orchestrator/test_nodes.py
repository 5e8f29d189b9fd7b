"""A cluster whose machines come and go while a sweep runs."""

import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from command import Running
from gates import Gates
from ssl_sweep.orchestrator.store.fault import Fault
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.trial_folder import TrialStore
from started_ray import OPEN, joined, started

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SweepFile = Callable[..., Path]
FIRST, SECOND = 15, 25
"""Passes of the encoder at which a process waits."""


@pytest.fixture
def gates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gates:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "package"))
    for name, value in OPEN.items():
        monkeypatch.setenv(name, value)
    return Gates(tmp_path / "package")


def raylet_of(gates: Gates, forward_pass: int) -> psutil.Process:
    """Of the machine whose worker waits at a gate."""
    (file,) = (gates.folder / "gates" / str(forward_pass)).glob("[0-9]*")
    raylet = psutil.Process(int(file.name)).parent()
    assert raylet is not None
    return raylet


DRAIN = """
import sys, ray
from ray.scripts.scripts import main

address, socket = sys.argv[1:]
ray.init(address, log_to_driver=False)
node = next(node["NodeID"] for node in ray.nodes() if node["RayletSocketName"] == socket)
reason = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "taken back"]
sys.argv = ["ray", "drain-node", "--address", address, "--node-id", node, *reason]
main()
"""


def announce_end(address: str, raylet: psutil.Process) -> None:
    """As a provider does that takes the machine back."""
    options = dict(word.split("=", 1) for word in raylet.cmdline() if "=" in word)
    subprocess.run([sys.executable, "-c", DRAIN, address, options["--raylet_socket_name"]], check=True, timeout=300)


def test_machines_join_are_taken_back_and_are_lost(
    ray_folder: Path, sweep_file: SweepFile, gates: Gates, tmp_path: Path
) -> None:
    sweep = sweep_file(
        methods=[gates.method()],
        pretrain={"epochs": 6, "batch_size": 32},
        evaluate=[{"name": "knn", "k": 20}],
        resources={"checkpoint_minutes": 0},
    )
    gates.close(FIRST)
    gates.close(SECOND)
    with ExitStack() as stack:
        address = stack.enter_context(started(ray_folder, OPEN, cpus=0))
        stack.enter_context(joined(ray_folder, address, OPEN))
        running = Running(sweep, "--address", address)
        running.wait_for(lambda: gates.reached(FIRST))
        stack.enter_context(joined(ray_folder, address, OPEN))
        announce_end(address, raylet_of(gates, FIRST))
        running.wait_for(lambda: "a node is going to be taken back" in running.log.read_text())
        gates.open(FIRST)
        running.wait_for(lambda: gates.reached(SECOND))
        stack.enter_context(joined(ray_folder, address, OPEN))
        raylet_of(gates, SECOND).kill()
        gates.open(SECOND)
        running.end(expect=0)
    (name,) = (store := Store(str(tmp_path / "runs"))).names("trials")
    status = TrialStore(store, name).status()
    announced, lost = (restart.fault for restart in status.restarts)
    assert announced is Fault.PREEMPTED
    assert lost in (Fault.NODE_LOST, Fault.WORKER_DIED)  # Ray tells of whichever it notices first
