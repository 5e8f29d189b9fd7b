"""``ssl-sweep`` as a process of its own, and what it leaves in MLflow."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

COMMAND = [sys.executable, "-m", "ssl_sweep.orchestrator.cli.main"]
TIMEOUT = 480


def ssl_sweep(*arguments: object, expect: int = 0) -> str:
    """Run a command to its end; returns all that it prints."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    text = done.stdout + done.stderr
    assert done.returncode == expect, f"exit status {done.returncode}\n{text}"
    return text


class Running:
    """A ``submit`` that runs."""

    def __init__(self, sweep: Path, *options: str):
        self.log = sweep.with_suffix(f".{time.monotonic_ns()}.log")
        with self.log.open("w") as stream:
            self.process = subprocess.Popen(
                [*COMMAND, "submit", str(sweep), *options], stdout=stream, stderr=subprocess.STDOUT
            )

    def wait_for(self, happened: Callable[[], object]) -> None:
        deadline = time.monotonic() + TIMEOUT
        while not happened():
            assert self.process.poll() is None, f"it ended\n{self.log.read_text()}"
            assert time.monotonic() < deadline, f"it takes too long\n{self.log.read_text()}"
            time.sleep(0.05)

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def workers(self) -> list[psutil.Process]:
        """The processes that train."""
        found = []
        for process in self.descendants():
            try:
                if "RayTrainWorker" in " ".join(process.cmdline()):
                    found.append(process)
            except psutil.NoSuchProcess:
                continue
        return found

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    def end(self, expect: int) -> str:
        """Wait for the end; returns all that it printed."""
        status = self.process.wait(timeout=TIMEOUT)
        text = self.log.read_text()
        assert status == expect, f"exit status {status}\n{text}"
        return text


def all_gone(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Those that are still there after `seconds`."""
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return [process for process in alive if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def mlflow_runs(storage: Path) -> dict[str, str]:
    """Name and status of every run, read from the database itself."""
    with sqlite3.connect(storage / "mlflow.db") as database:
        return dict(database.execute("select name, status from runs"))


def mlflow_metrics(storage: Path, run: str) -> dict[str, float]:
    query = "select key, value from latest_metrics join runs using (run_uuid) where name = ?"
    with sqlite3.connect(storage / "mlflow.db") as database:
        return dict(database.execute(query, (run,)))
