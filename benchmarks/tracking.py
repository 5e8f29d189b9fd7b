"""MLflow: metric points per second of a sweep's tracker, beside a plain loop of `MlflowClient.log_metric` calls.

    python benchmarks/tracking.py --trials 50 --steps 400

Trials that were never trained have their events in a store; the tracker hears them as fast as it can be told, interleaved as
from trials that run side by side, and writes them into SQLite, then through a real `mlflow server` over SQLite. Its time begins
with empty databases that MLflow has set up, and ends when it is closed: runs, parameters, tags and artifacts are in it. The
number of points in the database is compared with the number that the events have. The loop writes the same kind of points, one
request each, into the same place. On a machine with other work, the points per second of CPU and the ratio tell more.
"""

import argparse
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil
import yaml
from ssl_sweep.datasets.prepared import Prepared, SplitInfo
from ssl_sweep.orchestrator.api.environment import configure
from ssl_sweep.orchestrator.spec.expand import expand
from ssl_sweep.orchestrator.spec.load import load_spec
from ssl_sweep.orchestrator.store.events import Event, StatusChanged, StepDone
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.planned import PlannedTrial
from ssl_sweep.orchestrator.store.trial_folder import TrialStore
from ssl_sweep.orchestrator.store.trial_state import TrialState
from ssl_sweep.orchestrator.store.trial_status import TrialStatus

POINTS = 3
"""Of one step: loss, learning rate, images per second."""
START_SECONDS = 120


class Rate(NamedTuple):
    """Points and the seconds that they took."""

    points: int
    seconds: float
    cpu: float
    """Seconds of processor time, of this process and a server."""

    @property
    def per_second(self) -> float:
        return self.points / self.seconds


def cpu_seconds() -> float:
    """Of this process and those that it started."""
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def sweep_file(folder: Path, trials: int) -> Path:
    path = folder / "sweep.yaml"
    spec = {
        "name": "tracking",
        "dataset": {"name": "digits"},
        "backbone": {"name": "resnet18"},
        "methods": ["simclr"],
        "seeds": list(range(trials)),
        "storage": str(folder / "runs"),
    }
    path.write_text(yaml.safe_dump(spec))
    return path


def planned(path: Path) -> list[PlannedTrial]:
    split = SplitInfo(count=9, encoding="raw", height=8, width=8, class_counts=(9,), checksums=("",))
    prepared = Prepared(
        name="digits", fingerprint="feedbeef", classes=("0",), train=split, test=split,
        folder=path.parent, image_size=8, holdout=0.1,
    )  # fmt: skip
    return [
        PlannedTrial(f"simclr-{i:04d}-0123456789", trial, prepared) for i, trial in enumerate(expand(*load_spec(path)))
    ]


def history(steps: int) -> list[Event]:
    """What each trial tells."""
    now = time.time()
    begun = StatusChanged(time=now, state=TrialState.RUNNING, attempt=1, dataset_fingerprint="feedbeef")
    done = [
        StepDone(time=now + step, step=step, loss=1.0 / step, lr=0.1, images_per_second=99.0 + step)
        for step in range(1, steps + 1)
    ]
    return [begun, *done, StatusChanged(time=now + steps + 1, state=TrialState.INTERRUPTED)]


def tracked(folder: Path, uri: str | None, trials: int, steps: int) -> Rate:
    """The tracker's rate, into the store's own database or the MLflow at `uri`."""
    from ssl_sweep.orchestrator.tracking.database import ready, tracking_uri
    from ssl_sweep.orchestrator.tracking.tracker import Tracker

    path = sweep_file(folder, trials)
    spec, _ = load_spec(path)
    store = Store(spec.storage)
    store.write("sweeps/tracking/sweep.yaml", path.read_bytes())
    items = planned(path)
    events = history(steps)
    for item in items:
        TrialStore(store, item.trial_id).add_events(events)
    statuses = {item.trial_id: TrialStatus() for item in items}
    uri = uri or tracking_uri(spec, store, path.parent)
    ready(uri)
    began, cpu = time.perf_counter(), cpu_seconds()
    tracker = Tracker(spec, store, uri)
    tracker.on_trials(items, list(statuses.values()))
    for event in events:
        for item in items:
            statuses[item.trial_id] = statuses[item.trial_id].apply(event)
            tracker.on_event(item, event, statuses[item.trial_id])
    if not tracker.close(TrialState.INTERRUPTED):
        raise SystemExit("MLflow missed something")
    return Rate(trials * steps * POINTS, time.perf_counter() - began, cpu_seconds() - cpu)


def looped(uri: str, points: int) -> Rate:
    """The rate of one call for each point."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    run = client.create_run(client.create_experiment("loop")).info.run_id
    began, cpu = time.perf_counter(), cpu_seconds()
    for step in range(points // POINTS):
        for key in ("loss", "lr", "images_per_second"):
            client.log_metric(run, key, 1.0 / (step + 1), step=step)
    return Rate(points // POINTS * POINTS, time.perf_counter() - began, cpu_seconds() - cpu)


@contextmanager
def server(folder: Path, workers: int) -> Generator[str]:
    """A real server over SQLite; yields its address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", str(workers),
        "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}", "--artifacts-destination", str(folder / "artifacts"),
    ]  # fmt: skip
    # Its job runners, four processes that poll, have nothing to do with tracking.
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=environment)
    try:
        for _ in range(START_SECONDS * 10):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                if process.poll() is not None:
                    raise SystemExit((folder / "server.log").read_text()) from None
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def stored(database: Path) -> int:
    """Points in a database of MLflow, without those of the loop."""
    with closing(sqlite3.connect(database)) as connection:
        query = (
            "select count(*) from metrics join runs using (run_uuid) join experiments using (experiment_id) "
            "where experiments.name = 'tracking'"
        )
        return int(connection.execute(query).fetchone()[0])


def show(where: str, rate: Rate, peer: Rate, database: Path) -> None:
    found = stored(database)
    if found != rate.points:
        raise SystemExit(f"{where}: {found} points in the database instead of {rate.points}")
    print(
        f"{where}: {rate.points} points in {rate.seconds:.1f} s, {rate.per_second:.0f} points/s "
        f"({rate.points / rate.cpu:.0f} per second of CPU); "
        f"log_metric in a loop: {peer.per_second:.0f} points/s; ratio {rate.per_second / peer.per_second:.1f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=50, help="that run side by side")
    parser.add_argument("--steps", type=int, default=400, help="with metrics, of each trial; three points each")
    parser.add_argument("--peer-points", type=int, default=600, help="that the loop writes")
    parser.add_argument("--workers", type=int, default=1, help="processes of the server")
    arguments = parser.parse_args()
    configure()
    with tempfile.TemporaryDirectory() as name:
        for place in ("sqlite", "server"):
            (Path(name) / place).mkdir()
        folder = Path(name) / "sqlite"
        rate = tracked(folder, None, arguments.trials, arguments.steps)
        database = folder / "runs" / "mlflow.db"
        show("SQLite", rate, looped(f"sqlite:///{database}", arguments.peer_points), database)
        folder = Path(name) / "server"
        with server(folder, arguments.workers) as uri:
            rate = tracked(folder, uri, arguments.trials, arguments.steps)
            show("mlflow server", rate, looped(uri, arguments.peer_points), folder / "mlflow.db")


if __name__ == "__main__":
    main()
