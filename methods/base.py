"""The contract between a method and the one training loop that runs them all."""

from abc import ABC, abstractmethod
from typing import Any, Generic, NamedTuple, TypeVar

from torch import Tensor, nn

from .config import MethodConfig
from .encoder import Encoder

ConfigT = TypeVar("ConfigT", bound=MethodConfig)


class View(NamedTuple):
    """One augmented crop of each image of a batch."""

    image: Tensor  # (B, 3, H, W), normalised
    box: Tensor  # (B, 4): x0, y0, x1, y1 of the crop in its source image, in [0, 1]; flipped crops have x0 > x1


class Batch(NamedTuple):
    """The views of the same B images of this rank; `labels` are -1 where the data set has none."""

    global_views: list[View]
    local_views: list[View]  # empty unless the method asks for small crops
    labels: Tensor  # (B,), int64


class Progress(NamedTuple):
    """Where training stands. Every schedule is a pure function of this, so a resume restores no schedule."""

    step: int
    total_steps: int
    steps_per_epoch: int
    seed: int = 0  # of the trial: random draws of a method are keyed by (seed, step)

    @property
    def epoch(self) -> int:
        """Epochs that are complete."""
        return self.step // self.steps_per_epoch

    @property
    def fraction(self) -> float:
        """Share of the training that is done: 0 at the first step, 1 at the last."""
        return self.step / max(1, self.total_steps - 1)


class StepOutput(NamedTuple):
    loss: Tensor  # scalar, float32
    logs: dict[str, Tensor | float]


class Method(nn.Module, ABC, Generic[ConfigT]):
    """A pretraining method: networks, a loss, and at most two hooks around the optimizer's step.

    All state is parameters and persistent buffers. The loop trains what has ``requires_grad``; whatever is frozen for
    a while drops its gradients in `before_optimizer_step`.
    """

    def __init__(self, config: ConfigT, encoder: Encoder, num_classes: int):
        """`num_classes` of the training set: for baselines that learn from labels."""
        super().__init__()
        self.config = config

    @property
    @abstractmethod
    def backbone(self) -> Encoder:
        """What evaluation sees: the teacher's where the paper publishes the teacher."""

    @abstractmethod
    def training_step(self, batch: Batch, progress: Progress) -> StepOutput:
        """The loss of this rank's batch; its mean over the ranks is the loss of the global batch."""

    def before_optimizer_step(self, progress: Progress) -> None:
        """Called between backward and the optimizer: set ``grad = None`` on what is frozen for now."""

    def after_optimizer_step(self, progress: Progress) -> None:
        """Called after the optimizer: move teachers, normalise prototypes, reset groups."""

    def param_groups(self) -> list[dict[str, Any]]:
        """Groups for the optimizer. One with ``decay=False`` is what `exclude_norm_and_bias` frees from weight decay."""
        trained = [p for p in self.parameters() if p.requires_grad]
        return [
            {"params": [p for p in trained if p.ndim > 1], "decay": True},
            {"params": [p for p in trained if p.ndim <= 1], "decay": False},
        ]

    def forward(self, batch: Batch, progress: Progress) -> StepOutput:
        """`training_step` under the name that DistributedDataParallel synchronises."""
        return self.training_step(batch, progress)
