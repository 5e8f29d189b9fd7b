"""What every evaluation gets and gives."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
import torch.distributed as dist
from torch import Tensor

from ..datasets.image_set import ImageSet
from ..methods.config import BackboneConfig
from ..methods.encoder import Encoder


class Counts(NamedTuple):
    """How many of `images` have their label first, and among the first five."""

    correct1: int
    correct5: int
    images: int

    @property
    def top1(self) -> float:
        """In percent."""
        return 100 * self.correct1 / self.images

    @property
    def top5(self) -> float:
        """In percent."""
        return 100 * self.correct5 / self.images


class Checkpoints(Protocol):
    """Keeps the state of an evaluation that trains, so that its next run resumes there. Every rank calls every method."""

    def load(self) -> bytes | None:
        """The state that was kept last, the same on every rank; None if there is none."""
        ...

    def due(self) -> bool:
        """Whether to keep a checkpoint now; the ranks agree."""
        ...

    def save(self, content: Callable[[], bytes]) -> None:
        """Keep what `content` returns, which is called at once, on the rank that writes. What this raises ends the evaluation."""
        ...


class NoCheckpoints:
    """Keeps nothing: an evaluation that is interrupted starts anew."""

    def load(self) -> bytes | None:
        return None

    def due(self) -> bool:
        return False

    def save(self, content: Callable[[], bytes]) -> None: ...


class Task(NamedTuple):
    """A pretrained backbone and the images that it is scored on. All ranks hold the same backbone."""

    encoder: Encoder
    backbone: BackboneConfig
    train: ImageSet
    test: ImageSet
    image_size: int
    seed: int = 0
    bf16: bool = False
    rank: int = 0
    world_size: int = 1
    after_epoch: Callable[[int, int, Counts], None] = lambda _epoch, _epochs, _counts: None
    """Told by every rank after each epoch of a training. What it raises ends the evaluation."""
    checkpoints: Checkpoints = NoCheckpoints()

    @property
    def device(self) -> torch.device:
        return next(self.encoder.parameters()).device

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)


class Score(NamedTuple):
    """The result of an evaluation: the last epoch's counts, and all epochs' for what is trained."""

    counts: Counts
    epochs: tuple[Counts, ...] = ()


def count(scores: Tensor, labels: Tensor) -> Tensor:
    """Hits (3,) of class scores (B, C) against labels (B,): in the first place, in the first five, and B."""
    first = scores.topk(min(5, scores.shape[1]), dim=1).indices
    hits = first == labels[:, None]
    return torch.stack([hits[:, 0].sum(), hits.sum(), hits.new_full((), len(labels), dtype=torch.long)])


def total(hits: Tensor) -> Counts:
    """The sum of `count` over all ranks."""
    if dist.is_initialized() and dist.get_world_size() > 1:
        dist.all_reduce(hits)
    return Counts(*(int(value) for value in hits.tolist()))
