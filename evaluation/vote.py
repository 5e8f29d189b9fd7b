"""The weighted vote of neighbours: a class has the sum of exp(similarity / temperature) of those that belong to it."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .details import Answers

SCORES = 2**22
"""Of classes, that are held at once: 32 MB."""


class Vote(NamedTuple):
    """On Q images."""

    counts: Tensor  # (P, 4): `count_votes` under each pair
    answers: list[Answers]
    """Under the first pair, in the images' order; a confidence is a share of the votes."""


def vote(
    similarity: Tensor, classes: Tensor, labels: Tensor, num_classes: int, pairs: Sequence[tuple[int, float]]
) -> Vote:
    """The vote under each of the P pairs of a number of neighbours and a temperature.

    similarity, classes: (Q, K), of the nearest neighbours, the nearest first; labels: (Q,).
    """
    rows = max(1, SCORES // num_classes)
    counts = torch.zeros(len(pairs), 4, dtype=torch.long, device=labels.device)
    answers: list[Answers] = []
    for near, of, truth in zip(similarity.split(rows), classes.split(rows), labels.split(rows), strict=True):
        for i, (k, temperature) in enumerate(pairs):
            votes = log_votes(near[:, :k], of[:, :k], num_classes, temperature)
            counts[i] += count_votes(votes, truth)
            if i == 0:
                answers.append(first_place(votes))
    return Vote(counts, answers)


def first_place(votes: Tensor) -> Answers:
    """Of `log_votes` (Q, C), the class with the greatest; of equal ones the lowest, as in `count_votes`."""
    greatest = votes.amax(dim=1, keepdim=True)
    numbers = torch.arange(votes.shape[1], device=votes.device)
    first = torch.where(votes == greatest, numbers, votes.shape[1]).amin(dim=1)
    return Answers(first, 1 / (votes - greatest).exp().sum(dim=1))


def log_votes(similarity: Tensor, classes: Tensor, num_classes: int, temperature: float) -> Tensor:
    """Logarithm (Q, C), float64, of each class's sum over the neighbours (Q, k); -inf for a class without a neighbour.

    Each class's greatest term is taken out of its sum, so that nothing overflows, and nothing vanishes, at any temperature.
    """
    powers = similarity.double() / temperature  # (Q, k)
    greatest = powers.new_full((len(powers), num_classes), -torch.inf).scatter_reduce_(1, classes, powers, "amax")
    terms = (powers - greatest.gather(1, classes)).exp()
    return greatest + torch.zeros_like(greatest).scatter_add_(1, classes, terms).log()


def count_votes(votes: Tensor, labels: Tensor) -> Tensor:
    """Of `log_votes` (Q, C) against labels (Q,): hits in the first place, in the first five, Q, and 0, as of `task.count`.

    Of equal classes the lower one comes first; one without a vote is never a hit.
    """
    own = votes.gather(1, labels[:, None])  # (Q, 1)
    lower = torch.arange(votes.shape[1], device=votes.device) < labels[:, None]
    place = ((votes > own) | ((votes == own) & lower)).sum(dim=1)
    place = place.masked_fill(own[:, 0] == -torch.inf, votes.shape[1] + 5)
    return torch.stack([(place < 1).sum(), (place < 5).sum(), place.new_full((), len(labels)), place.new_zeros(())])
