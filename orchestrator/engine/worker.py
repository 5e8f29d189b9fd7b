"""What each worker of a group does: take a job from the board, run it, take the next."""

import gc
import sys
import threading
import time
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.train.torch
import torch
import torch.distributed as dist

from ..store.events import Event
from ..store.files import Store
from ..store.trial_state import TrialState
from ..trial.runtime import Runtime
from .batch import Batch
from .group_config import GroupConfig
from .protocol import Job
from .run_job import run_job

IDLE_SECONDS = 20.0
"""How long rank 0 waits for a job before it tells the others so: their collective must not time out in an idle group."""
REPORT_SECONDS = 0.25
STOP_POLL_SECONDS = 0.5


def work(config: GroupConfig) -> None:
    """Run jobs from the board until it closes."""
    context = ray.train.get_context()
    rank, world_size = context.get_world_rank(), context.get_world_size()
    device = ray.train.torch.get_device() if config.gpus else torch.device("cpu")
    runtime = Runtime(device, rank, world_size, config.checkpoint_seconds, config.compile, config.decoders)
    torch.set_num_threads(config.threads)
    board = ray.get_actor(config.board, namespace=config.namespace)
    store = Store(config.storage)
    tidy = _Tidy(device)
    while True:
        job, closed = _next_job(board, config, runtime)
        if closed:
            return
        if job is not None:
            listener = _BoardListener(board, job.trial_id)
            try:
                run_job(job, store, Path(config.data_root), runtime, listener)
            finally:
                listener.flush()
            tidy()


def _next_job(board: Any, config: GroupConfig, runtime: Runtime) -> tuple[Job | None, bool]:
    """The next job if there is one, and whether the board is closed; the same on every rank."""
    message: list[Any] = [None, False]
    if runtime.is_first:
        job: Any = ray.get(board.next_job.remote(config.name, IDLE_SECONDS))
        message = [None if job is None else tuple(job), job is None and ray.get(board.is_closed.remote())]
    if runtime.world_size > 1:
        dist.broadcast_object_list(message, 0, device=runtime.device)
    job_values, closed = message
    return None if job_values is None else Job(*job_values), bool(closed)


class _BoardListener:
    """Passes a trial's events to the board in batches, and its wish to stop back.

    A call of an actor takes a millisecond of three processes: short trials would wait for their reports.
    """

    def __init__(self, board: Any, trial_id: str):
        self.board, self.trial_id = board, trial_id
        self.waiting: list[Event] = []
        self.timer: threading.Timer | None = None
        self.lock = threading.Lock()
        self.asked = time.monotonic()  # a job that is asked to stop is not handed out
        self.stop: TrialState | None = None

    def on_event(self, event: Event) -> None:
        """Report it soon, with what follows until then."""
        with self.lock:
            self.waiting.append(event)
            if self.timer is None:
                self.timer = threading.Timer(REPORT_SECONDS, self.flush)
                self.timer.daemon = True
                self.timer.start()

    def flush(self) -> None:
        """Report what waits."""
        with self.lock:
            if self.timer is not None:
                self.timer.cancel()
                self.timer = None
            if self.waiting:
                self.board.report.remote(Batch.of(self.trial_id, self.waiting))
                self.waiting = []

    def stop_requested(self) -> TrialState | None:
        """Asks the board at most twice a second."""
        if self.stop is None and time.monotonic() - self.asked > STOP_POLL_SECONDS:
            self.stop = ray.get(self.board.stop_requested.remote(self.trial_id))
            self.asked = time.monotonic()
        return self.stop


class _Tidy:
    """Leaves the next trial a process as good as new.

    What is imported stays: half a million objects, which a collection takes 50 ms to look at, and need not. Trials import
    what they need, so more may have come with any of them.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.modules = 0
        self()

    def __call__(self) -> None:
        """Collect what the last trial left."""
        gc.collect()
        if len(sys.modules) > self.modules:
            gc.freeze()
            self.modules = len(sys.modules)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
