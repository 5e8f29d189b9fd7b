"""Whether features collapse, without labels: their effective rank and their spread on the sphere."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .features import all_features
from .task import Task

IMAGES = 2048
"""Training images that are looked at, evenly spread over the data set."""


class Diagnosis(NamedTuple):
    rank: float
    """RankMe: from 1 (all features on one line) to the smaller of width and number of images."""
    std: float
    """Spread of the normalised features: 0 where all are the same, 1 where they fill the sphere evenly."""


def diagnose(task: Task) -> Diagnosis:
    """Rank and spread of the backbone's features, the same on every rank."""
    count = min(IMAGES, len(task.train))
    rows = torch.arange(count) * len(task.train) // count
    features, _ = all_features(task, task.train, rows)
    return Diagnosis(rankme(features), spread(features))


def rankme(features: Tensor) -> float:
    """exp of the entropy of the singular values' shares (RankMe, arXiv:2210.02885, eq. 1). features: (N, D)."""
    x = features.double()
    gram = x.T @ x if x.shape[0] > x.shape[1] else x @ x.T
    if not gram.isfinite().all():
        return float("nan")
    singular = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt()
    shares = singular / singular.sum().clamp(min=1e-30)
    return float(torch.special.entr(shares).sum().exp())


def spread(features: Tensor) -> float:
    """Mean over the width D of the standard deviation of l2-normalised features (N, D), times sqrt(D)."""
    unit = F.normalize(features.double(), dim=1)
    return float(unit.std(dim=0).mean() * unit.shape[1] ** 0.5)
