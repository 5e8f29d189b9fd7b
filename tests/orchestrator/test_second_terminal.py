"""A sweep on a cluster that `ray start` began: detached, then followed, stopped, resumed and reported by other commands."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from by_hand import KNN
from command import COMMAND, TIMEOUT, ssl_sweep
from gates import Gates
from started_ray import started, with_token

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SweepFile = Callable[..., Path]
GATE = 9
"""The encoder's pass at which the trial waits."""


def test_a_cluster_with_a_token_is_used_from_two_terminals(
    ray_folder: Path, sweep_file: SweepFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "package"))
    gates = Gates(tmp_path / "package")
    gates.close(GATE)
    small: dict[str, Any] = {"evaluate": KNN, "pretrain": {"epochs": 3, "batch_size": 32}}
    sweep = sweep_file(**small, methods=[gates.method()])
    pair = sweep_file("pair.yaml", **small, name="pair", resources={"workers": 2})
    wide = sweep_file("wide.yaml", **small, name="wide", resources={"workers": 4})
    for name, value in with_token("a" * 32).items():
        monkeypatch.setenv(name, value)
    with started(ray_folder, {}, cpus=3) as address:
        text = ssl_sweep("submit", wide, "--address", address, expect=2)
        assert "3 CPUs, 0 GPUs: room for 3 of these workers" in text
        assert "Traceback" not in text
        ssl_sweep("submit", sweep, "--detach", "--address", address)
        wait_until(lambda: gates.reached(GATE), tmp_path / "runs/sweeps/small/driver.log")
        with following(sweep) as watch:
            ssl_sweep("submit", pair, "--address", address)  # meanwhile, of another shape
            assert status_of(sweep) == "running"
            ssl_sweep("stop", sweep, "--no-wait")
            gates.open(GATE)
            said, _ = watch.communicate(timeout=TIMEOUT)
        assert "runs on" in said
        assert "sweep 'small' has ended" in said
        assert status_of(sweep) == "interrupted"
        ssl_sweep("resume", sweep, "--address", address)
    assert [status_of(path) for path in (sweep, pair)] == ["finished"] * 2
    assert "report.html" in ssl_sweep("report", sweep)


def following(sweep: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen([*COMMAND, "status", str(sweep), "--watch"], stdout=subprocess.PIPE, text=True)


def status_of(sweep: Path) -> str:
    (row,) = json.loads(ssl_sweep("status", sweep, "--json"))
    return row["status"]


def wait_until(happened: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not happened():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
