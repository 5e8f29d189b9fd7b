"""Events and near-empty trials for `scale.py`, on a Ray that this process starts."""

import time
from pathlib import Path
from typing import Any

import psutil
import ray
from scale_store import planned_of
from ssl_sweep.orchestrator.engine.board import Board
from ssl_sweep.orchestrator.engine.board_listener import BoardListener
from ssl_sweep.orchestrator.engine.cluster import NAMESPACE
from ssl_sweep.orchestrator.engine.protocol import Job, Shape
from ssl_sweep.orchestrator.engine.ray_engine import RayEngine
from ssl_sweep.orchestrator.spec.models import TrialSpec, data_root
from ssl_sweep.orchestrator.store.catalog import Catalog
from ssl_sweep.orchestrator.store.events import EpochDone, StatusChanged, StepDone
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.planned import PlannedTrial
from ssl_sweep.orchestrator.store.trial_folder import TrialStore
from ssl_sweep.orchestrator.store.trial_state import TrialState
from ssl_sweep.orchestrator.sweep.state import SweepState

BACKLOG = 40
"""Batches that wait for the driver until the worker pauses: it makes them far faster than training does."""
MEGABYTE = 1e6
SHAPE = Shape(workers=1, cpus=1, gpus=0, threads=1, decoders=0)
HANG_SECONDS = 1800.0


class MeasuredBoard(Board):
    """A board that tells its size."""

    async def resident(self) -> float:
        return resident()

    async def backlog(self) -> int:
        return len(self._news)


def resident() -> float:
    """Megabytes of this process."""
    return psutil.Process().memory_info().rss / MEGABYTE


def _send(board: Any, events: int) -> None:
    """A worker that trains nothing: takes every job and tells its events."""
    while (job := ray.get(board.next_job.remote("group", SHAPE, 1.0))) is not None:
        listener = BoardListener(board, job.trial_id)
        listener.on_event(StatusChanged(state=TrialState.RUNNING, attempt=1, time=1.7e9))
        for i in range(events - 2):
            listener.on_event(StepDone(step=i, loss=1 / (i + 1), lr=0.1, images_per_second=800, time=1.7e9 + i))
        listener.on_event(StatusChanged(state=TrialState.FINISHED, time=1.7e9 + events))
        listener.flush()
        while ray.get(board.backlog.remote()) > BACKLOG:
            time.sleep(0.01)


def pass_events(planned: list[PlannedTrial], events: int) -> list[str]:
    """Send `events` of each trial through a board in an actor and the driver's fold; memory at 10 %, 50 % and 100 %."""
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, namespace=NAMESPACE)
    board: Any = ray.remote(MeasuredBoard).options(num_cpus=0, max_concurrency=10_000).remote(HANG_SECONDS)
    state = SweepState().add(planned, Catalog({}))
    jobs = [(SHAPE, Job(item.trial_id, item.trial.model_dump_json(), item.prepared.fingerprint)) for item in planned]
    ray.get(board.submit.remote(jobs))
    ray.remote(_send).remote(board, events)
    total, taken, lines, marks = len(planned) * events, 0, [], [10, 50, 100]
    began = time.perf_counter()
    while taken < total:
        for batch in ray.get(board.news.remote(1.0)).batches:
            for trial_id, event in batch.events():
                state = state.apply(trial_id, event)
                taken += 1
        while marks and taken >= total * marks[0] // 100:
            megabytes = f"board {ray.get(board.resident.remote()):.0f} MB, driver {resident():.0f} MB"
            rate = taken / (time.perf_counter() - began)
            lines.append(f"{marks.pop(0)} %: {megabytes}, {rate:,.0f} events/s")
    assert all(status.state is TrialState.FINISHED for status in state.trials.values())
    ray.shutdown()
    return lines


# -- near-empty trials --


class Turn:
    """Seconds of some trials: in all, and of each `run_trial` alone."""

    def __init__(self, seconds: float, trials: list[float]):
        self.seconds, self.trials = seconds, trials


def _run_bare(trial_json: str, trial_id: str, storage: str, root: str) -> float:
    """A trial in a plain Ray task, without lease, log and board; returns the seconds of `run_trial`."""
    import torch
    from ssl_sweep.datasets.prepare import prepare
    from ssl_sweep.orchestrator.trial.run import run_trial
    from ssl_sweep.orchestrator.trial.runtime import Runtime

    torch.set_num_threads(1)
    trial = TrialSpec.model_validate_json(trial_json)
    prepared = prepare(trial.dataset, Path(root))
    began = time.perf_counter()
    run_trial(trial, TrialStore(Store(storage), trial_id), prepared, Runtime(torch.device("cpu")))
    return time.perf_counter() - began


class SideBySide:
    """One worker group, and plain tasks in another warm worker of the same Ray, by turns."""

    def __init__(self, path: Path):
        spec, self.planned = planned_of(path)
        self.store = Store(spec.storage)
        resources = spec.resources.model_copy(update={"concurrent_trials": 1})
        spec = spec.model_copy(update={"resources": resources})
        self.engine = RayEngine(spec, self.store, data_root(), None, str)
        self.engine.start()
        self.task: Any = ray.remote(_run_bare)

    def __enter__(self) -> "SideBySide":
        self.on_engine(1)
        self.on_tasks(1)
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.close()

    def on_engine(self, count: int) -> Turn:
        """The next trials through the engine, all queued at once."""
        items = [self.planned.pop() for _ in range(count)]
        began = time.perf_counter()
        self.engine.submit([Job(i.trial_id, i.trial.model_dump_json(), i.prepared.fingerprint) for i in items])
        first: dict[str, float] = {}
        trials: list[float] = []
        while len(trials) < count:
            for trial_id, event in self.engine.events(0.25):
                if isinstance(event, StatusChanged) and event.state is TrialState.RUNNING:
                    first[trial_id] = event.time
                elif isinstance(event, StatusChanged):
                    assert event.state is TrialState.FINISHED, event.reason
                    trials.append(event.time - first[trial_id])
        return Turn(time.perf_counter() - began, trials)

    def on_tasks(self, count: int) -> Turn:
        """The next trials as plain tasks, one after another, all queued at once."""
        items = [self.planned.pop() for _ in range(count)]
        arguments = [(i.trial.model_dump_json(), i.trial_id, self.store.location, str(data_root())) for i in items]
        began = time.perf_counter()
        trials = ray.get([self.task.remote(*given) for given in arguments])
        return Turn(time.perf_counter() - began, trials)


def first_event(store: Store, item: PlannedTrial) -> float | None:
    """Unix time of a trial's first event, once there is one."""
    events = [event for event in TrialStore(store, item.trial_id).events() if not isinstance(event, EpochDone)]
    return events[0].time if events else None
