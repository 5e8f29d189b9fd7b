"""What each worker of a group does: take a job from the board, run it, take the next."""

import gc
import sys
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.train.torch
import torch
import torch.distributed as dist

from ..store.files import Store
from ..trial.runtime import Runtime
from .batch import Batch
from .board_listener import BoardListener
from .group_config import GroupConfig
from .heartbeat import Heartbeat
from .protocol import Job
from .run_job import run_job

IDLE_SECONDS = 20.0
"""How long rank 0 waits for a job before it tells the others so: their collective must not time out in an idle group."""


def work(config: GroupConfig) -> None:
    """Run jobs from the board until it lets the group go."""
    context = ray.train.get_context()
    shape = config.shape
    rank, world_size = context.get_world_rank(), context.get_world_size()
    device = ray.train.torch.get_device() if shape.gpus else torch.device("cpu")
    runtime = Runtime(device, rank, world_size, config.checkpoint_seconds, config.compile, shape.decoders, shape.gpus)
    torch.set_num_threads(shape.threads)
    board = ray.get_actor(config.board, namespace=config.namespace)
    Heartbeat(board, config, runtime)
    store = Store(config.storage)
    tidy = _Tidy(device)
    last: Batch | None = None
    while True:
        job, is_over = _next_job(board, config, runtime, last)
        last = None
        if is_over:
            return
        if job is not None:
            listener = BoardListener(board, job.trial_id)
            try:
                run_job(job, store, Path(config.data_root), runtime, listener)
            except BaseException:  # this process ends
                listener.flush()
                raise
            last = listener.rest()
            tidy()


def _next_job(board: Any, config: GroupConfig, runtime: Runtime, last: Batch | None) -> tuple[Job | None, bool]:
    """The next job if there is one, and whether the group is to end; the same on every rank.

    `last`: the end of the job before, which travels with the question. Only the first rank tells how a job ended well.
    """
    message: list[Any] = [None, False]
    if runtime.is_first:
        job: Any = ray.get(board.next_job.remote(config.name, config.shape, IDLE_SECONDS, last))
        message = [None if job is None else tuple(job), job is None and ray.get(board.is_over.remote(config.name))]
    if runtime.world_size > 1:
        dist.broadcast_object_list(message, 0, device=runtime.device)
    job_values, is_over = message
    return None if job_values is None else Job(*job_values), bool(is_over)


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
