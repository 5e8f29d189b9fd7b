"""What every evaluation gets and gives."""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from torch import Tensor

from ..datasets.image_set import ImageSet
from ..methods.config import BackboneConfig
from ..methods.encoder import Encoder
from ..methods.parts.collectives import total_over_ranks
from ..methods.quantities import noun_of
from ..methods.snapshot import Snapshot
from .base import CONSTANT_ANSWER

if TYPE_CHECKING:
    from .details import Details


class Counts(NamedTuple):
    """How many of `images` have their label first, and among the first five."""

    correct1: int
    correct5: int
    images: int

    def score(self) -> "Score":
        """The metrics of `base.ACCURACY`, in percent."""
        metrics = {"top1": 100 * self.correct1 / self.images, "top5": 100 * self.correct5 / self.images}
        return Score(metrics, self.images, {"correct1": self.correct1, "correct5": self.correct5})


class Refused(ValueError):
    """An evaluation cannot be made of these images with these settings; every rank raises it alike.

    The message says why, and what can be done about it.
    """


class NotFinite(ArithmeticError):
    """Scores of classes are not finite, as those of features or weights that are not: they would count as chance.

    Every rank raises it.
    """


class FeaturesNotFinite(NotFinite):
    """The backbone's features of whole images are not finite: no evaluation of it means anything."""


class Checkpoints(Protocol):
    """Keeps the state of an evaluation that trains, so that its next run resumes there. Every rank calls every method."""

    def load(self) -> bytes | None:
        """The state that was kept last, the same on every rank; None if there is none."""
        ...

    def due(self) -> bool:
        """Whether to keep a checkpoint now; the ranks agree. What this raises ends the evaluation, on every rank."""
        ...

    def save(self, step: int, snapshot: Callable[[], Snapshot]) -> None:
        """Keep what `snapshot` returns, the state after `step` steps; it is called at once, on the rank that writes.

        The evaluation may go on before it is written. What this raises ends the evaluation.
        """
        ...


class NoCheckpoints:
    """Keeps nothing: an evaluation that is interrupted starts anew."""

    def load(self) -> bytes | None:
        return None

    def due(self) -> bool:
        return False

    def save(self, step: int, snapshot: Callable[[], Snapshot]) -> None: ...


class Extracted:
    """Features of whole image sets, which the evaluations of one frozen backbone share: each image is encoded once.

    They are in the host's memory, as fine-tuning wants the GPU's. What has no room is extracted again.
    """

    LIMIT = 4 * 2**30
    """Bytes on each rank."""

    def __init__(self) -> None:
        self._kept: list[tuple[ImageSet, tuple[str, ...], Tensor]] = []

    def of(self, images: ImageSet, names: tuple[str, ...]) -> Tensor | None:
        """This rank's share (n, D) of the features of these names, if it is kept. Not to be written to."""
        return next((kept for of, what, kept in self._kept if of is images and what == names), None)

    def keep(self, images: ImageSet, names: tuple[str, ...], features: Tensor) -> None:
        """Keep this rank's share (n, D), if it has room beside the others."""
        if features.nbytes + sum(kept.nbytes for *_, kept in self._kept) <= self.LIMIT:
            self._kept.append((images, names, features.cpu()))


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
    after_epoch: Callable[[int, int, Mapping[str, float]], None] = lambda _epoch, _epochs, _metrics: None
    """Told its number, how many there are, and the metrics, by every rank after each epoch of a training."""
    checkpoints: Checkpoints = NoCheckpoints()
    is_alive: Callable[[], None] = lambda: None
    """Called between batches of what has no steps: an evaluation that says nothing for long counts as hung."""
    extracted: Extracted | None = None
    """For what is evaluated more than once as it is; None: every evaluation extracts its own features."""

    @property
    def device(self) -> torch.device:
        return next(self.encoder.parameters()).device

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)


class Variant(NamedTuple):
    """The metrics under one combination of settings that were given as lists, or of one part of what is scored."""

    settings: Mapping[str, bool | int | float | str]
    metrics: Mapping[str, float]


class Score(NamedTuple):
    """The result of an evaluation, the same on every rank."""

    metrics: Mapping[str, float]
    """By name, as the evaluation declares them; of the last epoch for what is trained."""
    images: int
    """How many were scored, each once."""
    counts: Mapping[str, int] = {}
    """Behind the metrics: how many images."""
    epochs: tuple[Mapping[str, float], ...] = ()
    """The metrics after each epoch, for what is trained."""
    variants: tuple[Variant, ...] = ()
    """If settings were given as lists: every combination, the main or selected one first, which `metrics` are of. Of an evaluation
    with parts, as corruptions: every part, of which `metrics` are the mean."""
    remarks: tuple[str, ...] = ()
    """What must be said beside the numbers, as ends of a sentence about the scored images."""
    details: "Details | None" = None
    """What else a classifier's answers say, those behind `metrics`."""


def first_places(scores: Tensor) -> Tensor:
    """The classes (B, 5) of the greatest of scores (B, C), the greatest first; fewer if there are fewer classes."""
    return scores.topk(min(5, scores.shape[1]), dim=1).indices


def count(scores: Tensor, labels: Tensor) -> Tensor:
    """Of class scores (B, C) against labels (B,): hits in the first place, in the first five, B, and rows not finite."""
    hits = first_places(scores) == labels[:, None]
    bad = (~scores.isfinite()).any(dim=1).sum()
    return torch.stack([hits[:, 0].sum(), hits.sum(), hits.new_full((), len(labels), dtype=torch.long), bad])


def total(hits: Tensor) -> Counts:
    """The sum of `count` over all ranks.

    Raises:
        NotFinite: scores of any image are not; on every rank.
    """
    *counts, bad = (int(value) for value in total_over_ranks(hits).tolist())
    if bad:
        raise NotFinite(f"the scores of {bad:,} of {counts[-1]:,} {noun_of(counts[-1], 'image')} are not finite")
    return Counts(*counts)


def guessing_top1(labels: Tensor) -> float | None:
    """The top-1, in percent, up to which answers may be of an image's label by luck alone: the share of the commonest class and two
    standard errors of it. None without labels. labels: (N,), -1 for none."""
    counts = labels[labels >= 0].bincount()
    if not len(counts):
        return None
    share, images = float(counts.max() / counts.sum()), int(counts.sum())
    return 100 * min(1.0, share + 2 * math.sqrt(share * (1 - share) / images))


def majority_remark(labels: Tensor, num_classes: int) -> str | None:
    """What a constant answer scores, where that is much more than chance; None elsewhere. labels: (N,), -1 for none."""
    counts = labels[labels >= 0].bincount()
    share, chance = float(counts.max() / counts.sum()), 1 / num_classes
    if share < min(2 * chance, (1 + chance) / 2):
        return None
    return f"{100 * share:.1f} % of them are of one class, which is the top-1 of {CONSTANT_ANSWER}"
