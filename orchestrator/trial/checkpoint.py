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
    return Snapshot(
        {
            "method": method.state_dict(),
            "optimizer": optimizer.state_dict(),
            "parameters": _names(method, optimizer),
            "state": asdict(state),
        }
    )


class Saved:
    """A checkpoint that was read."""

    def __init__(self, content: bytes, device: torch.device):
        """Its tensors are put on `device`."""
        self._content = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
        self.state = State(**self._content["state"])

    def load_into(self, method: Method[Any], optimizer: Optimizer) -> None:
        """Put the networks and what the optimizer knows of each parameter into these; rates are what these were made with."""
        method.load_state_dict(self._content["method"])
        names = _names(method, optimizer)
        saved: list[str] = self._content.get("parameters", names)  # earlier versions had one order
        of = {name: self._content["optimizer"]["state"].get(i) for i, name in enumerate(saved)}
        known = {i: of[name] for i, name in enumerate(names) if of[name] is not None}
        optimizer.load_state_dict({"state": known, "param_groups": optimizer.state_dict()["param_groups"]})


def _names(method: Method[Any], optimizer: Optimizer) -> list[str]:
    """Of the parameters, in the order of the optimizer's numbers: groups may differ after a change of rates."""
    names = {id(parameter): name for name, parameter in method.named_parameters()}
    return [names[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]
