"""What features tell without labels: their effective rank, the decay of their spectrum, their spread on the sphere."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .features import all_features
from .task import Task

FITTED = (12, 100)
"""Numbers of the eigenvalues that a power law is fitted to."""
NOISE = 1e-12
"""Eigenvalues below this share of the largest are rounding errors of float32 features."""
PAIRED = 1024
"""Features whose pairs with all others are held at once."""
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
    gram = _gram(features.double())
    if not gram.isfinite().all():
        return float("nan")
    return effective_rank(torch.linalg.eigvalsh(gram).clamp(min=0).sqrt())


def effective_rank(values: Tensor) -> float:
    """exp of the entropy of the shares of values (n,), not negative (Roy and Vetterli, 2007); 1 if all are 0."""
    shares = values / values.sum().clamp(min=1e-30)
    return float(torch.special.entr(shares).sum().exp())


def _gram(x: Tensor) -> Tensor:
    """The smaller one of x^T x and x x^T, which have the same eigenvalues but for zeros. x: (N, D)."""
    return x.T @ x if x.shape[0] > x.shape[1] else x @ x.T


def spread(features: Tensor) -> float:
    """Mean over the width D of the standard deviation of l2-normalised features (N, D), times sqrt(D)."""
    unit = F.normalize(features.double(), dim=1)
    return float(unit.std(dim=0).mean() * unit.shape[1] ** 0.5)


def eigenspectrum(features: Tensor) -> Tensor:
    """Eigenvalues (min(N, D),), float64, of the covariance of features (N, D); the largest first."""
    x = features.double()
    return torch.linalg.eigvalsh(_gram(x - x.mean(dim=0)) / len(x)).clamp(min=0).flip(0)


def power_law(spectrum: Tensor) -> float | None:
    """alpha of a spectrum (n,), the largest first, that falls as i^-alpha: the quality that alpha-ReQ measures (arXiv:2202.05808).

    A line through the logarithms of the eigenvalues `FITTED`, each weighted by 1 / i, as its authors' code has it after
    Stringer et al. (doi:10.1038/s41586-019-1346-5). What is noise beside the largest is left out; of fewer than 24 that are
    left it is the second half. None if fewer than two eigenvalues are left.
    """
    last = min(FITTED[1], int((spectrum > NOISE * spectrum[0]).sum()))
    first = min(FITTED[0], max(1, last // 2))
    if last <= first:
        return None
    i = torch.arange(first, last + 1, dtype=torch.double, device=spectrum.device)
    weight, x, y = 1 / i, i.log(), spectrum[first - 1 : last].double().log()
    x = x - (weight * x).sum() / weight.sum()
    return -float((weight * x * y).sum() / (weight * x.square()).sum())


def uniformity(features: Tensor) -> float:
    """log mean exp(-2 |x - y|^2) over all pairs of features (N, D) on the unit sphere (Wang and Isola, arXiv:2005.10242, eq. 2).

    0 if all are the same; the lower, the more evenly they fill the sphere. 0 too for a single one.
    """
    unit = F.normalize(features.double(), dim=1)
    squares = unit.square().sum(dim=1)  # 1, or 0 for features that are 0
    count, total = len(unit), 0.0
    for start in range(0, count, PAIRED):
        block = unit[start : start + PAIRED]
        terms = (4 * block @ unit.T - 2 * squares[start : start + PAIRED, None] - 2 * squares).exp()
        terms.diagonal(start).zero_()  # an image is no pair with itself
        total += float(terms.sum())
    return math.log(total / (count * (count - 1))) if count > 1 else 0.0
