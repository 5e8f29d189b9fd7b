"""A step's loss on its way to the CPU: a training that reads it a step late never waits for its GPU."""

import torch
import torch.distributed as dist
from torch import Tensor


class PendingLoss:
    """The mean over the ranks of one step's loss; every rank makes one."""

    def __init__(self, loss: Tensor, world_size: int):
        mean = loss.detach().float().clone()
        if world_size > 1:
            dist.all_reduce(mean)
            mean /= world_size
        self._mean = mean.to("cpu", non_blocking=True)
        self._arrival: torch.cuda.Event | None = None
        if mean.is_cuda:
            self._arrival = torch.cuda.Event(blocking=True)
            self._arrival.record(torch.cuda.current_stream(mean.device))

    def wait(self) -> float:
        """The number, once it is there."""
        if self._arrival is not None:
            self._arrival.synchronize()
        return self._mean.item()
