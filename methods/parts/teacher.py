"""The momentum copy of a network (BYOL, DINO and their kin)."""

import copy
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from ..encoder import Encoder

ModuleT = TypeVar("ModuleT", bound=nn.Module)


class Teacher(nn.Module, Generic[ModuleT]):
    """A copy that follows its student as an exponential moving average, and never gets a gradient.

    Only parameters are averaged, as in the code of BYOL and DINO: batch norm runs in train mode on the teacher's own
    batches and its running statistics are its own, so they need no average. Dropout and drop path of its encoder are switched off.
    """

    def __init__(self, student: ModuleT):
        """Starts equal to `student`."""
        super().__init__()
        self.module = copy.deepcopy(student).requires_grad_(False)
        for part in self.module.modules():
            if isinstance(part, Encoder):
                part.switch_off_dropout()

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        """The network's output, without gradient."""
        return self.module(image)

    @torch.no_grad()
    def update(self, student: ModuleT, momentum: float) -> None:
        """teacher <- momentum x teacher + (1 - momentum) x student, over parameters."""
        kept: list[Tensor] = list(self.module.parameters())
        new: list[Tensor] = list(student.parameters())
        torch._foreach_lerp_(kept, new, 1 - momentum)  # pyright: ignore[reportPrivateUsage]
