"""An MLflow server that goes away while a sweep runs, and comes back after two minutes."""

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from command import Running
from gates import Gates
from started_ray import free_port
from tracked import assert_tracked

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SweepFile = Callable[..., Path]
FIRST, SECOND = 9, 40
"""Passes of the encoder at which the trial waits: before and after the server goes."""
AWAY = 120.0
"""Seconds."""


@contextlib.contextmanager
def server(folder: Path, port: int) -> Iterator[None]:
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    places = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder)]
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen([*command, *places], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 240
        while not answers(port):
            assert process.poll() is None and time.monotonic() < deadline, (folder / "server.log").read_text()
            time.sleep(0.2)
        yield
    finally:
        family = [process, *psutil.Process(process.pid).children(recursive=True)]
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.send_signal(signal.SIGKILL)
        process.wait()


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def test_two_minutes_without_mlflow(sweep_file: SweepFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "package"))
    gates, port = Gates(tmp_path / "package"), free_port()
    (tmp_path / "tracking").mkdir()
    gates.close(FIRST)
    gates.close(SECOND)
    sweep = sweep_file(
        methods=[gates.method()],
        seeds=[0, 1],
        pretrain={"epochs": 4, "batch_size": 32},
        evaluate=[{"name": "knn", "k": 20}],
        tracking=f"http://127.0.0.1:{port}",
    )
    with server(tmp_path / "tracking", port):
        running = Running(sweep)
        running.wait_for(lambda: gates.reached(FIRST))
        running.wait_for(lambda: (tmp_path / "runs/sweeps/small/mlflow.json").exists())
    gates.open(FIRST)
    running.wait_for(lambda: gates.reached(SECOND))
    time.sleep(AWAY)
    with server(tmp_path / "tracking", port):
        gates.open(SECOND)
        text = running.end(expect=0)
    assert text.count("events wait in the store") == 1
    assert text.count("works again") == 1
    assert "Traceback" not in text
    assert_tracked(tmp_path / "runs", tmp_path / "tracking/mlflow.db")
