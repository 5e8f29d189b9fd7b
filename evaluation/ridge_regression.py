"""Ridge regression on one-hot labels in closed form, with its leave-one-out error, of data that lie spread over the ranks."""

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..methods.parts.collectives import total_over_ranks

ROWS = 4096
"""Of features, that are held in float64 at once."""
LEAST = 1e-200
"""Stands for the mean eigenvalue of features that are all the same, which is 0."""


class RidgeRegression:
    """Least squares with a penalty of `alpha` times the mean eigenvalue of the features' scatter; the intercepts have none.

    Every rank calls every method, with its own part of the images. One eigendecomposition serves every `alpha`.
    """

    def __init__(self, features: Tensor, labels: Tensor, num_classes: int, is_alive: Callable[[], None]):
        """features: (n, D), labels: (n,), of this rank."""
        self.features, self.labels, self.is_alive = features, labels, is_alive
        images = total_over_ranks(labels.bincount(minlength=num_classes))
        self.size = int(images.sum())
        self.shares = images.double() / self.size  # (C,), the mean of the one-hot labels
        self.mean = total_over_ranks(features.sum(dim=0, dtype=torch.float64)) / self.size
        dim = features.shape[1]
        sums = torch.zeros(dim, dim + num_classes, dtype=torch.float64, device=features.device)
        for x, y in self._blocks():
            sums.addmm_(x.T, torch.cat([x, y], dim=1))
        sums = total_over_ranks(sums)
        eigenvalues, self.basis = torch.linalg.eigh(sums[:, :dim])  # (D,), (D, D)
        self.eigenvalues = eigenvalues.clamp(min=0)
        self.cross = self.basis.T @ sums[:, dim:]  # (D, C)
        self.unit = self.eigenvalues.mean().clamp(min=LEAST)

    def _blocks(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Centred features (b, D) and labels (b, C), float64."""
        for x, labels in zip(self.features.split(ROWS), self.labels.split(ROWS), strict=True):
            yield x.double() - self.mean, F.one_hot(labels, len(self.shares)) - self.shares
            self.is_alive()

    def _shrunk(self, alpha: float) -> Tensor:
        """1 / (eigenvalue + penalty), (D,)."""
        return 1 / (self.eigenvalues + alpha * self.unit)

    def leave_one_out(self, alphas: Sequence[float]) -> list[float]:
        """Mean over images and classes of the squared error at an image that the regression did not see, for each alpha.

        The error is the residual over one minus the leverage (Allen's PRESS, doi:10.1080/00401706.1974.10489157).
        """
        shrunk = torch.stack([self._shrunk(alpha) for alpha in alphas], dim=1)  # (D, A)
        errors = shrunk.new_zeros(len(alphas))
        smallest = torch.finfo(torch.float64).eps
        for x, y in self._blocks():
            rotated = x @ self.basis
            unseen = (1 - 1 / self.size - rotated.square() @ shrunk).clamp(min=smallest)  # (b, A)
            for i in range(len(alphas)):
                residuals = y - rotated @ (shrunk[:, i, None] * self.cross)  # (b, C)
                errors[i] += (residuals / unseen[:, i, None]).square().sum()
        return (total_over_ranks(errors) / (self.size * len(self.shares))).tolist()

    def scores(self, features: Tensor, alpha: float) -> Tensor:
        """Predicted one-hot labels (n, C) of features (n, D)."""
        weights = self.basis @ (self._shrunk(alpha)[:, None] * self.cross)  # (D, C)
        return torch.cat([(x.double() - self.mean) @ weights + self.shares for x in features.split(ROWS)])
