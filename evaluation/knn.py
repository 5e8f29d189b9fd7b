"""kNN: weighted vote of the nearest training images (Wu et al., Instance Discrimination, arXiv:1805.01978, sec. 3.4)."""

from typing import TYPE_CHECKING, Literal

from pydantic import PositiveFloat, PositiveInt

from .base import ACCURACY, Evaluation, EvaluationConfig

if TYPE_CHECKING:
    from torch import Tensor

    from .task import Score, Task

QUERIES = 1024
"""Rows of the similarity matrix that are held at once."""


class KnnConfig(EvaluationConfig):
    """Weighted vote of the k nearest training images by cosine similarity; weight exp(similarity / temperature)."""

    name: Literal["knn"] = "knn"
    protocol: Literal["knn/lightly@1"] = "knn/lightly@1"
    k: PositiveInt = 200
    temperature: PositiveFloat = 0.1


def evaluate_knn(task: "Task", config: KnnConfig) -> "Score":
    """Classify each test image by its k nearest training images.

    Raises:
        ValueError: the training set has fewer than k images.
    """
    import torch
    import torch.nn.functional as F

    from .features import all_features, own_features
    from .task import count, total

    bank, bank_labels = all_features(task, task.train)
    if len(bank) < config.k:
        raise ValueError(f"knn: k is {config.k}, and the training set has {len(bank)} images; set a smaller k")
    queries, labels = own_features(task, task.test)
    bank = F.normalize(bank, dim=1).T.contiguous()  # (D, N)
    hits = torch.zeros(4, dtype=torch.long, device=task.device)
    for chunk, truth in zip(queries.split(QUERIES), labels.split(QUERIES), strict=True):
        hits += count(vote(F.normalize(chunk, dim=1) @ bank, bank_labels, task.train.num_classes, config), truth)
        task.is_alive()
    return total(hits).score()


def vote(similarity: "Tensor", bank_labels: "Tensor", num_classes: int, config: KnnConfig) -> "Tensor":
    """Class scores (Q, C) from similarities (Q, N): the sum of exp(s / T) over the k nearest of each class."""
    nearest, index = similarity.topk(config.k, dim=1)  # (Q, k)
    weights = (nearest / config.temperature).exp()
    scores = weights.new_zeros(len(similarity), num_classes)
    return scores.scatter_add_(1, bank_labels[index], weights)


def _misfit(config: KnnConfig, images: int) -> str | None:
    return f"k = {config.k}" if config.k > images else None


KNN = Evaluation("knn", "kNN", KnnConfig, (KnnConfig(),), evaluate_knn, metrics=ACCURACY, monitors=True, misfit=_misfit)
