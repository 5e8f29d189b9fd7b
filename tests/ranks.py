"""A pool of gloo processes that run a function on every rank; starting them costs more than the tests."""

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

TIMEOUT = 600.0


class Ranks:
    def __init__(self, size: int, rendezvous: Path):
        context = mp.get_context("forkserver")
        context.set_forkserver_preload(["ssl_sweep.methods.encoder"])  # torch and timm are imported once for all ranks
        self.tasks = [context.Queue() for _ in range(size)]
        self.results = [context.Queue() for _ in range(size)]
        self.processes = [
            context.Process(target=_serve, args=(r, size, str(rendezvous), self.tasks[r], self.results[r]), daemon=True)
            for r in range(size)
        ]
        for process in self.processes:
            process.start()

    def run(self, function: Callable[..., Any], *args: Any) -> list[Any]:
        """What `function(*args)` returns on each rank."""
        for queue in self.tasks:
            queue.put((function, args))
        answers = [queue.get(timeout=TIMEOUT) for queue in self.results]
        for error, _ in answers:
            assert error is None, error
        return [value for _, value in answers]

    def close(self) -> None:
        for queue in self.tasks:
            queue.put(None)
        for process in self.processes:
            process.join(timeout=10)


def _serve(rank: int, size: int, rendezvous: str, tasks: Any, results: Any) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=size)
    while True:
        try:
            if (task := tasks.get()) is None:  # or it names something that cannot be imported here
                break
            function, args = task
            results.put((None, function(*args)))
        except BaseException:
            results.put((traceback.format_exc(), None))
    dist.destroy_process_group()
