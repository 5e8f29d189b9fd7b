"""The contract between a method and the one training loop that runs them all."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, Generic, NamedTuple, TypeVar

from torch import Tensor, nn

from .config import MethodConfig
from .encoder import Encoder
from .parts.draws import Purpose, drawing

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
    samples: Tensor  # (B,), int64: the number of each image in its data set


class TrainingSet(NamedTuple):
    """What a method may know of the training images before it sees one."""

    num_samples: int  # their numbers are less; a number need not occur
    num_classes: int


class Progress(NamedTuple):
    """Where training stands. Every schedule is a pure function of this, so a resume restores no schedule."""

    step: int
    total_steps: int
    steps_per_epoch: int
    seed: int = 0  # of the trial: random draws are keyed by it
    part: int = 0  # of the step's batch, where gradients are accumulated over several parts
    parts: int = 1

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


def decay_groups(named: Iterable[tuple[str, nn.Parameter]], **options: Any) -> list[dict[str, Any]]:
    """Trained parameters as two groups with `options`: matrices and kernels decay, vectors and scalars do not."""
    trained = [p for _, p in named if p.requires_grad]
    matrices, vectors = [p for p in trained if p.ndim > 1], [p for p in trained if p.ndim <= 1]
    return [{"params": matrices, "decay": True, **options}, {"params": vectors, "decay": False, **options}]


class Method(nn.Module, ABC, Generic[ConfigT]):
    """A pretraining method: networks, a loss, and at most two hooks around the optimizer's step.

    All state is parameters and persistent buffers. The loop trains what has ``requires_grad``; whatever is frozen for
    a while drops its gradients in `before_optimizer_step`.
    """

    def __init__(self, config: ConfigT, encoder: Encoder, data: TrainingSet):
        """Build the networks around `encoder`."""
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
        """Groups for the optimizer; every parameter with ``requires_grad`` stands in one.

        ``decay=False`` is what `exclude_norm_and_bias` frees from weight decay. A group may have ``lr_scale``, a factor on
        the rate, and ``constant_lr=True``: the schedule leaves its rate at the peak.
        """
        return decay_groups(self.named_parameters())

    def forward(self, batch: Batch, progress: Progress) -> StepOutput:
        """`training_step` under the name that DistributedDataParallel synchronises; encoders draw for the batch's samples."""
        with drawing(progress.seed, Purpose.PRETRAIN, progress.step, batch.samples):
            return self.training_step(batch, progress)
