"""A sweep that goes on without its terminal, and is stopped and resumed from another one."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from by_hand import KNN
from command import ssl_sweep
from gates import Gates
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.lease import held, holder

SweepFile = Callable[..., Path]


def test_errors_of_the_file_appear_at_once(sweep_file: SweepFile, tmp_path: Path) -> None:
    text = ssl_sweep("submit", sweep_file(seeds=["zero"]), "--detach", expect=2)
    assert "seeds[0]" in text
    assert not (tmp_path / "runs").exists()
    text = ssl_sweep("submit", sweep_file(), "--detach", "--address", "http://nowhere:8265", expect=2)
    assert "leave out --detach" in text


def test_a_driver_that_ends_at_once_is_heard(sweep_file: SweepFile, tmp_path: Path) -> None:
    """Of another sweep with this name, another file must not take over; that shows only once it has begun."""
    path = sweep_file(evaluate=KNN)
    store = Store(str(tmp_path / "runs"))
    store.write_json("sweeps/small/origin.json", {"file": "elsewhere:/sweep.yaml"})
    store.write("sweeps/small/sweep.yaml", b"name: small\n")
    text = ssl_sweep("submit", path, "--detach", expect=2)
    assert "is the sweep of elsewhere:/sweep.yaml" in text
    assert "is the sweep of" in (tmp_path / "runs/sweeps/small/driver.log").read_text()
    with held(store, "sweeps/small"):
        assert "is running already" in ssl_sweep("submit", path, "--detach", expect=2)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_detached_sweep_is_stopped_and_resumed(
    sweep_file: SweepFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [str(tmp_path / "package"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    gates = Gates(tmp_path / "package")
    gates.close(9)
    path = sweep_file(methods=[gates.method()], evaluate=KNN, pretrain={"epochs": 3, "batch_size": 32})
    text = ssl_sweep("submit", path, "--detach")
    store = Store(str(tmp_path / "runs"))
    driver = holder(store, "sweeps/small")
    assert driver is not None and f"process {driver.pid}" in text
    process = psutil.Process(driver.pid)
    assert os.getsid(driver.pid) == driver.pid, "a session of its own, which has no terminal"
    log = tmp_path / "runs/sweeps/small/driver.log"
    wait_until(lambda: gates.reached(9), process, log)
    assert "not running" not in ssl_sweep("stop", path, "--no-wait")
    wait_until(lambda: "stopping: each trial keeps a checkpoint" in log.read_text(), process, log)
    gates.open(9)
    process.wait(timeout=240)
    assert "is not running" in ssl_sweep("stop", "small", "--storage", tmp_path / "runs")
    assert "interrupted" in ssl_sweep("status", path)
    ssl_sweep("resume", path)
    (row,) = json.loads(ssl_sweep("status", path, "--json"))
    assert row["status"] == "finished"
    assert ssl_sweep("path", row["trial"], "--storage", tmp_path / "runs").strip().endswith("backbone.safetensors")
    assert "epoch 3" in ssl_sweep("logs", "gated seed 0", "-f", "--storage", tmp_path / "runs")


def wait_until(happened: Callable[[], bool], process: psutil.Process, log: Path) -> None:
    deadline = time.monotonic() + 480
    while not happened():
        assert process.is_running() and time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
