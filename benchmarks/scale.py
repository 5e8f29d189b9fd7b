"""Ten thousand trials: what a sweep costs beside its training. One line per figure.

    python benchmarks/scale.py [submit] [status] [files] [engine] [overhead] [start] [--trials 1000 10000]

submit    a finished sweep is submitted again, as a process; and its reads of the store, counted in this process
status    of the same sweeps
files     2,000 trials that are missing start in a process that may open 1,024 files
engine    10,000 trials with 1,000 events each pass through the board and the driver's fold: resident memory
overhead  50 near-empty trials on a warm worker group, beside the same trials as plain Ray tasks in warm workers
start     from the command to the first event of its first trial, and what that time is made of

Without a section all are run. Everything is written to a temporary folder (`--folder` keeps it); the finished sweeps are made
by the store's own functions, with a ledger that says that MLflow has them all.
"""

import argparse
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from unittest.mock import patch

from scale_store import finished_sweep, write_sweep
from ssl_sweep.orchestrator.api.environment import configure
from ssl_sweep.orchestrator.store.files import Store

COMMAND = [sys.executable, "-m", "ssl_sweep.orchestrator.cli.main"]
MISSING, OPEN_FILES = 2000, 1024
TRIALS, EVENTS = 10_000, 1000
NEAR_EMPTY, ROUNDS = 50, 5


def main() -> None:
    sections: dict[str, Callable[[argparse.Namespace], None]] = {
        "submit": submit, "status": status, "files": files, "engine": engine, "overhead": overhead, "start": start,
    }  # fmt: skip
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", choices=[*sections, []], help="all, unless some are named")
    parser.add_argument("--trials", type=int, nargs="+", default=[1000, 10_000], help="of the finished sweeps")
    parser.add_argument("--folder", type=Path, help="where to write; a finished sweep that is there is used again")
    arguments = parser.parse_args()
    configure()
    with tempfile.TemporaryDirectory(prefix="ssl-sweep-scale-") as scratch:
        arguments.folder = (arguments.folder or Path(scratch)).absolute()
        arguments.folder.mkdir(parents=True, exist_ok=True)
        for name in arguments.sections or sections:
            sections[name](arguments)


def say(section: str, what: str, value: str) -> None:
    print(f"{section:9s} {what}: {value}", flush=True)


def command(*arguments: object) -> tuple[float, float]:
    """Seconds that a command takes as a process of its own, and those of a CPU: on a busy machine they differ."""
    began, used = time.perf_counter(), _cpu()
    done = subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return time.perf_counter() - began, _cpu() - used


def _cpu() -> float:
    """Seconds of all processes that this one has waited for."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def submit(arguments: argparse.Namespace) -> None:
    for count in arguments.trials:
        path = finished_sweep(arguments.folder, count)
        if not (path.parent / "runs/sweeps" / path.stem / "report").exists():
            say(
                "submit",
                f"{count:,} finished trials for the first time, with the report",
                _seconds([command("submit", path)]),
            )
        seconds = [command("submit", path) for _ in range(3)]
        goal = 5 if count <= 1000 else 30
        say("submit", f"{count:,} finished trials again (goal {goal} s), three times", _seconds(seconds))
        say("submit", f"{count:,} finished trials, reads of the store (goal 2 a trial)", _reads(path, count))


def _seconds(values: Iterable[tuple[float, float]]) -> str:
    return ", ".join(f"{wall:.2f} s (CPU {cpu:.2f} s)" for wall, cpu in values)


def _reads(path: Path, count: int) -> str:
    """In this process, as `ssl-sweep submit` does it."""
    from ssl_sweep.orchestrator.cli.live_table import LiveTable
    from ssl_sweep.orchestrator.engine.interrupts import interrupts
    from ssl_sweep.orchestrator.engine.ray_engine import RayEngine
    from ssl_sweep.orchestrator.sweep.submit import run_sweep

    read, read_many = Store.read, Store.read_many
    names: list[str] = []

    def one(store: Store, name: str) -> bytes | None:
        names.append(name)
        return read(store, name)

    def many(store: Store, wanted: list[str]) -> list[bytes | None]:
        names.extend(wanted)
        return read_many(store, wanted)

    with patch.object(Store, "read", one), patch.object(Store, "read_many", many), interrupts() as stop:
        run_sweep(path, LiveTable(), stop, lambda *given: RayEngine(*given, None, print))
    of_trials = sum(name.startswith("trials/") for name in names)
    return f"{of_trials / count:.2f} a trial, {len(names) - of_trials} of the sweep"


def status(arguments: argparse.Namespace) -> None:
    for count in arguments.trials:
        path = finished_sweep(arguments.folder, count)
        seconds = [command("status", path) for _ in range(3)]
        say("status", f"{count:,} trials (goal 4 s), three times", _seconds(seconds))


# -- open files --


def files(arguments: argparse.Namespace) -> None:
    name = f"missing-{time.time_ns()}"
    storage = arguments.folder / name
    resources = {"concurrent_trials": 1}
    path = write_sweep(arguments.folder, name, storage=str(storage), seeds=list(range(MISSING)), resources=resources)
    log = path.with_suffix(".log")
    began = time.perf_counter()
    with log.open("w") as stream:
        shell = f'ulimit -n {OPEN_FILES}; exec "$@"'
        process = subprocess.Popen(
            ["bash", "-c", shell, "-", *COMMAND, "submit", str(path)], stdout=stream, stderr=stream
        )
    trials = storage / "trials"
    while process.poll() is None and len(list(trials.glob("random-*/evaluations/*.json"))) < 3:
        time.sleep(0.1)
    seconds = time.perf_counter() - began
    done = len(list(trials.glob("random-*/evaluations/*.json")))
    descriptors = len(list(Path(f"/proc/{process.pid}/fd").iterdir())) if process.poll() is None else 0
    if process.poll() is None:
        os.kill(process.pid, signal.SIGINT)
    code = process.wait(timeout=120)
    what = f"{MISSING:,} missing trials under ulimit -n {OPEN_FILES}"
    say(
        "files",
        what,
        f"{done} finished after {seconds:.1f} s, the driver has {descriptors} open files; then Ctrl-C: {code}",
    )
    if done < 3 or code != 130:
        print(log.read_text()[-2000:])


# -- events --


def engine(arguments: argparse.Namespace) -> None:
    from scale_load import pass_events
    from scale_store import planned_of

    _, planned = planned_of(write_sweep(arguments.folder, "events", seeds=list(range(TRIALS))))
    for line in pass_events(planned, EVENTS):
        say("engine", f"{TRIALS:,} trials x {EVENTS:,} events", line)


# -- near-empty trials --


def overhead(arguments: argparse.Namespace) -> None:
    from scale_load import SideBySide

    name = f"near-empty-{time.time_ns()}"
    path = write_sweep(arguments.folder, name, storage=str(arguments.folder / name), seeds=list(range(200)))
    with SideBySide(path) as pair:
        share = NEAR_EMPTY // ROUNDS
        turns = [(pair.on_engine(share), pair.on_tasks(share)) for _ in range(ROUNDS)]
    ours, bare = ([turn[i].seconds / share * 1000 for turn in turns] for i in (0, 1))
    alone = [seconds * 1000 for turn in turns for seconds in turn[1].trials]
    beyond = statistics.mean(ours) - statistics.mean(alone)
    ratio = statistics.mean(ours) / statistics.mean(bare)
    say("overhead", f"{NEAR_EMPTY} trials, each through the engine", f"{statistics.mean(ours):.0f} ms")
    inside = [seconds * 1000 for turn in turns for seconds in turn[0].trials]
    say("overhead", "of it from the trial's first event to its last", f"{statistics.mean(inside):.0f} ms")
    say(
        "overhead",
        "each as a plain Ray task",
        f"{statistics.mean(bare):.0f} ms, of it the trial {statistics.mean(alone):.0f} ms",
    )
    say("overhead", "beyond the trial itself (goal 100 ms)", f"{beyond:.0f} ms")
    say("overhead", "engine / plain tasks (goal 1.3)", f"{ratio:.2f}")


PARTS = {
    "the command line": "cli.main",
    "sweep and store": "sweep.submit",
    "MLflow": "tracking.mlflow_writer",
    "Ray and Ray Train": "engine.ray_engine",
    "a worker: torch, Ray Train, the trial": "engine.worker",
}


def start(arguments: argparse.Namespace) -> None:
    from scale_load import first_event
    from scale_store import planned_of

    name = f"start-{time.time_ns()}"
    path = write_sweep(arguments.folder, name, storage=str(arguments.folder / name))
    spec, (item,) = planned_of(path)
    began = time.time()
    process = subprocess.Popen([*COMMAND, "submit", str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    process.wait()
    first = first_event(Store(spec.storage), item)
    assert process.returncode == 0 and first is not None
    say("start", "from the command to the first event of its first trial (goal 7 s)", f"{first - began:.1f} s")
    say("start", "from the command to its end", f"{time.time() - began:.1f} s")
    for part, module in PARTS.items():
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", f"import ssl_sweep.orchestrator.{module}"], check=True)
        say("start", f"a process that imports {part}", f"{time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main()
