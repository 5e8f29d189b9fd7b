"""Checkpoints of pretraining: everything that a resume needs to go on bit for bit.

Random numbers are keyed by seed and step, and schedules are functions of progress, so neither has a state to keep.
"""

import io
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch.optim import Optimizer

from ...methods.base import Method
from ...methods.snapshot import Snapshot


@dataclass
class State:
    """How far pretraining has come, beside the networks and the optimizer."""

    step: int = 0
    seconds: float = 0.0
    attempts: int = 1
    epoch_loss: float = 0.0
    """Sum over the steps of the current epoch."""
    epoch_seconds: float = 0.0


def snapshot(method: Method[Any], optimizer: Optimizer, state: State) -> Snapshot:
    """Networks with teachers and queues, the optimizer, and how far training has come."""
    return Snapshot({"method": method.state_dict(), "optimizer": optimizer.state_dict(), "state": asdict(state)})


def load(content: bytes, method: Method[Any], optimizer: Optimizer, device: torch.device) -> State:
    """Put a checkpoint's state into `method` and `optimizer`, and return where training stood."""
    saved = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
    method.load_state_dict(saved["method"])
    optimizer.load_state_dict(saved["optimizer"])
    return State(**saved["state"])
