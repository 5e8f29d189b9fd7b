"""The memory of contrastive and clustering methods: the newest rows, first in, first out."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .collectives import gather


class Queue(nn.Module):
    """The newest `size` rows of all ranks, equal on every rank. Starts with random rows of length 1."""

    rows: Tensor  # (size, dim), float32
    position: Tensor  # (), int64: where the next row goes

    def __init__(self, size: int, dim: int):
        super().__init__()
        self.register_buffer("rows", F.normalize(torch.randn(size, dim), dim=1))
        self.register_buffer("position", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def push(self, rows: Tensor) -> None:
        """Replace the oldest rows by this rank's `rows` (B, dim) and those of the other ranks."""
        new = gather(rows.detach().to(self.rows.dtype))[-len(self.rows) :]
        places = (self.position + torch.arange(len(new), device=new.device)) % len(self.rows)
        self.rows[places] = new
        self.position.add_(len(new)).remainder_(len(self.rows))
