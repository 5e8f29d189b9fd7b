"""What a classifier's answers say beside its accuracy: which classes it confuses, and whether its confidence is right."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .features import interleaved
from .task import Task, first_places

BINS = 15
"""Of the calibration error, as in its paper."""


class Details(NamedTuple):
    """Of the answers to all test images, the same on every rank."""

    confusion: Mapping[tuple[int, int], int]
    """The confusion matrix without its zeros: by true and predicted class, how many images."""
    ece: float | None = None
    """`expected_calibration_error`; None if the scores are no probabilities."""
    hits: bytes = b""
    """Whether each test image is classified rightly, in their order: a bit each, the first image in the highest bit."""

    @property
    def recalls(self) -> dict[int, float]:
        """Share of its images that have a class as answer, in percent, of each class that has images."""
        images: dict[int, int] = {}
        for (truth, _), count in self.confusion.items():
            images[truth] = images.get(truth, 0) + count
        return {truth: 100 * self.confusion.get((truth, truth), 0) / images[truth] for truth in sorted(images)}

    @property
    def balanced_top1(self) -> float:
        """Balanced accuracy: the mean of `recalls`, in which each class counts alike (scikit-learn's `balanced_accuracy_score`)."""
        recalls = self.recalls
        return sum(recalls.values()) / len(recalls)


class Answers(NamedTuple):
    """A classifier's answers to B images."""

    predicted: Tensor  # (B,), int64
    confidence: Tensor  # (B,), float64: the probability of the predicted class


def answers(scores: Tensor) -> Answers:
    """Of class scores (B, C): the first place, as `task.count` has it, and its softmax."""
    confidence = (scores.amax(dim=1) - scores.logsumexp(dim=1)).exp()
    return Answers(first_places(scores)[:, 0], confidence.double())


def details_of(task: Task, own: Sequence[Answers], *, probabilities: bool = True) -> Details:
    """Of all ranks' answers to the test images; every rank calls it.

    own: to this rank's images in their order, batch by batch.
    probabilities: whether the confidences are some.
    """
    labels, classes = task.test.labels, task.test.num_classes
    predicted = _of_all(task, [part.predicted for part in own], torch.int64)
    cells, counts = (labels * classes + predicted).unique(return_counts=True)
    confusion = {divmod(cell, classes): count for cell, count in zip(cells.tolist(), counts.tolist(), strict=True)}
    correct = predicted == labels  # (N,)
    hits = np.packbits(correct.numpy()).tobytes()
    if not probabilities:
        return Details(confusion, hits=hits)
    confidence = _of_all(task, [part.confidence for part in own], torch.float64)
    return Details(confusion, expected_calibration_error(confidence, correct), hits)


def _of_all(task: Task, own: list[Tensor], dtype: torch.dtype) -> Tensor:
    """Values of all test images (N,) in their order, on the CPU, from those of this rank, which may have none."""
    values = torch.cat([torch.empty(0, dtype=dtype, device=task.device), *own])
    return (values if task.world_size == 1 else interleaved(values, len(task.test), task.world_size)).cpu()


def expected_calibration_error(confidence: Tensor, correct: Tensor) -> float:
    """Expected calibration error in percent (Guo et al., arXiv:1706.04599, eq. 3), over 15 bins of equal width.

    The m-th bin has the images whose confidence is in ((m - 1) / 15, m / 15]. Its accuracy and its mean confidence differ by
    a gap; the error is the mean of the gaps, each weighted by the images of its bin.

    Args:
        confidence: (N,), float64, the probability of the predicted class.
        correct: (N,), bool.
    """
    edges = torch.arange(1, BINS, dtype=torch.float64) / BINS
    surplus = torch.bucketize(confidence, edges).bincount(confidence - correct.double(), minlength=BINS)  # (BINS,)
    return 100 * float(surplus.abs().sum()) / len(confidence)
