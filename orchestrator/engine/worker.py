"""What each worker of a gang does: take a trial from the board, carry it, say how it ended, take the next."""

import contextlib
import gc
import logging
import time
import traceback
from collections.abc import Generator
from pathlib import Path
from typing import Any, NamedTuple

import ray
import ray.train
import ray.train.torch
import torch
import torch.distributed as dist

from ...datasets.prepare import prepare
from ...datasets.prepared import find_known
from ..spec.models import TrialSpec
from ..store.files import Store
from ..store.trial_folder import Failure, TrialStore
from ..trial.event_log import Listener, TrialFailed, TrialStopped
from ..trial.run import run_trial
from ..trial.runtime import Runtime
from .board import Job, Status
from .worker_group import GangConfig

log = logging.getLogger(__name__)

IDLE_SECONDS = 0.05
IDLE_ROUNDS = 100
"""Polls before rank 0 tells the others that it is still waiting: a collective must not time out over an idle gang."""
STOP_POLL_SECONDS = 0.5


class _Call(NamedTuple):
    """What rank 0 tells the others to do next; both empty: keep waiting."""

    job: Job | None = None
    go_home: bool = False


def work(config: GangConfig) -> None:
    """Carry trials from the board until it closes."""
    context = ray.train.get_context()
    rank, world_size = context.get_world_rank(), context.get_world_size()
    device = ray.train.torch.get_device() if config.gpus else torch.device("cpu")
    runtime = Runtime(device, rank, world_size, config.checkpoint_seconds, config.compile, config.decoders)
    torch.set_num_threads(config.threads)
    board = ray.get_actor(config.board, namespace=config.namespace)
    store = Store(config.storage)
    while True:
        call = _next_call(board, config, runtime)
        if call.go_home:
            return
        if call.job is not None:
            _carry(call.job, board, store, config, runtime)
            _tidy(device)


def _next_call(board: Any, config: GangConfig, runtime: Runtime) -> _Call:
    call = _ask(board, config) if runtime.is_first else _Call()
    if runtime.world_size == 1:
        return call
    message: list[Any] = [tuple(call)]
    dist.broadcast_object_list(message, 0, device=runtime.device)
    job, go_home = message[0]
    return _Call(Job(*job) if job is not None else None, go_home)


def _ask(board: Any, config: GangConfig) -> _Call:
    for _ in range(IDLE_ROUNDS):
        job: Any = ray.get(board.lease.remote(config.name))
        if job is not None:
            return _Call(Job(*job))
        if ray.get(board.is_closed.remote()):
            return _Call(go_home=True)
        time.sleep(IDLE_SECONDS)
    return _Call()


class _BoardListener(Listener):
    """Passes a trial's events to the board, and its wish to stop back."""

    def __init__(self, board: Any, trial_id: str):
        self.board, self.trial_id = board, trial_id
        self.asked = 0.0
        self.stop = False

    def tell(self, event: dict[str, Any]) -> None:
        self.board.report.remote(self.trial_id, event)

    def stop_requested(self) -> bool:
        if not self.stop and time.monotonic() - self.asked > STOP_POLL_SECONDS:
            self.stop = bool(ray.get(self.board.stop_requested.remote(self.trial_id)))
            self.asked = time.monotonic()
        return self.stop


def _carry(job: Job, board: Any, store: Store, config: GangConfig, runtime: Runtime) -> None:
    """Run one trial and tell the board how it ended.

    What all ranks see alike (a loss that is not finite, a stop) ends the trial and not the gang. Anything else may
    have left the ranks at different places, or the GPU in a bad state: it ends the process too, and Ray Train starts
    a fresh gang. On one rank without a GPU there is nobody to be out of step with.
    """
    trial = TrialSpec.model_validate(job.trial)
    folder = TrialStore(store, job.trial_id)
    status: Status = "finished"
    reason: str | None = None
    with _logging_to(folder, runtime):
        try:
            root = Path(config.data_root)
            prepared = find_known(trial.dataset, job.fingerprint, root) or prepare(trial.dataset, root)
            if prepared.fingerprint != job.fingerprint:
                raise TrialFailed(f"the images of '{trial.dataset.title}' on this node are not those of the sweep")
            run_trial(trial, folder, prepared, runtime, _BoardListener(board, job.trial_id))
        except TrialStopped as stop:
            status, reason = "stopped", str(stop)
            log.info("%s", stop)
        except TrialFailed as failure:
            status, reason = "failed", str(failure)
            log.error("%s", failure)
            _keep_failure(folder, reason, runtime)
        except Exception as error:
            reason = _one_line(error)
            log.error("%s", traceback.format_exc())
            if _lost_a_peer(error):
                raise  # the other rank knows why, or it is dead: then the trial goes on with the next gang
            _keep_failure(folder, reason, runtime, every_rank=True)
            ray.get(board.finish.remote(job.trial_id, "failed", reason))
            if runtime.world_size > 1 or runtime.device.type == "cuda":
                raise
            return
    if runtime.is_first:
        ray.get(board.finish.remote(job.trial_id, status, reason))


def _keep_failure(folder: TrialStore, reason: str, runtime: Runtime, *, every_rank: bool = False) -> None:
    if runtime.is_first or every_rank:
        stage = "evaluation" if folder.pretrained() else "pretrain"
        folder.fail(Failure(stage=stage, reason=reason))


def _lost_a_peer(error: Exception) -> bool:
    """Whether a collective failed because another rank has gone. Gloo says so in words alone."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error).lower())


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


@contextlib.contextmanager
def _logging_to(folder: TrialStore, runtime: Runtime) -> Generator[None]:
    """Send what this process logs to the trial's log; each rank's lines carry its number."""
    handler = _StoreHandler(folder, runtime.rank)
    logger = logging.getLogger("ssl_sweep")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _StoreHandler(logging.Handler):
    """Adds to the trial's log: the first rank everything, the others what went wrong."""

    def __init__(self, folder: TrialStore, rank: int):
        super().__init__(logging.INFO if rank == 0 else logging.ERROR)
        self.folder = folder
        self.setFormatter(logging.Formatter(f"%(asctime)s rank {rank} %(levelname)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.folder.add_log(self.format(record).splitlines())


def _tidy(device: torch.device) -> None:
    """Leave the next trial a process as good as new."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
