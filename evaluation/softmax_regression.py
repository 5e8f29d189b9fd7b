"""Multinomial logistic regression by L-BFGS on the whole of the data, which lies spread over the ranks."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..methods.parts.collectives import gather, total_over_ranks

LOGITS = 2**24
"""That are held at once: 128 MB."""
HISTORY = 100
"""Steps that L-BFGS remembers: with SciPy's ten it comes less far where the regularisation is weak."""
SMALLEST_CHANGE = 1e-15
"""Of the mean loss in a step, below which float64 has no more to give."""


class Fit(NamedTuple):
    """The classifier of the K classes that have images, the same on every rank."""

    weights: Tensor  # (D + 1, K), float64: along the axes of `basis`, and in the last row the intercepts
    iterations: int


class SoftmaxRegression:
    """Regression of features on labels; every rank calls every method, with its own part of the images.

    It minimises C * sum of the losses + 1/2 |W|^2, as scikit-learn does; intercepts are not penalised. A class without images is
    never predicted.

    Features are centred, which changes the intercepts alone, and turned to the principal axes of their scatter, which changes
    nothing. Along these a bound of the curvature (Böhning, doi:10.1007/BF00048682) scales the weights that L-BFGS sees: then it
    takes tens or hundreds of steps where it would take thousands. Of separable classes with a large C it still does.
    """

    def __init__(self, features: Tensor, labels: Tensor, num_classes: int, is_alive: Callable[[], None]):
        """features: (n, D), labels: (n,), of this rank."""
        self.num_classes, self.is_alive = num_classes, is_alive
        images = total_over_ranks(labels.bincount(minlength=num_classes))  # (num_classes,)
        self.size = int(images.sum())
        self.classes = images.nonzero()[:, 0]  # (K,)
        self.targets = torch.searchsorted(self.classes, labels)
        self.mean = total_over_ranks(features.sum(dim=0, dtype=torch.float64)) / self.size
        centred = features.double() - self.mean
        variances, basis = torch.linalg.eigh(total_over_ranks(centred.T @ centred) / self.size)  # (D,), (D, D)
        self.basis = gather(basis[None])[0]  # of the first rank, for axes have no sign of their own
        self.variances = F.pad(variances.clamp(min=0), (0, 1), value=1.0)[:, None]  # (D + 1, 1), of ones too
        self.x = self._inputs(features)

    def _inputs(self, features: Tensor) -> Tensor:
        """Centred features along `basis` with a column of ones (n, D + 1), float64."""
        return F.pad((features.double() - self.mean) @ self.basis, (0, 1), value=1.0)

    def fit(self, c: float, max_iterations: int, tolerance: float, start: Tensor | None = None) -> Fit:
        """The minimum for `c`, from `start` (D + 1, K) on or from zero; all ranks take the same steps.

        It ends once no entry of the gradient of `objective`, for the scaled weights, exceeds `tolerance`.
        """
        curvature = self.variances / 2
        curvature[:-1] += 1 / (c * self.size)
        scale = curvature.rsqrt()  # (D + 1, 1)
        shape = (self.x.shape[1], len(self.classes))
        theta = (self.x.new_zeros(shape) if start is None else start / scale).requires_grad_()
        optimizer = torch.optim.LBFGS(
            [theta],
            max_iter=max_iterations,
            max_eval=25 * max_iterations,
            tolerance_grad=tolerance,
            tolerance_change=SMALLEST_CHANGE,
            history_size=HISTORY,
            line_search_fn="strong_wolfe",
        )

        def closure() -> float:
            self.is_alive()
            value, gradient = self.objective(scale * theta.detach(), c)
            theta.grad = scale * gradient
            return float(value)

        optimizer.step(closure)
        return Fit(scale * theta.detach(), int(optimizer.state[theta]["n_iter"]))

    def objective(self, theta: Tensor, c: float) -> tuple[Tensor, Tensor]:
        """The objective, divided by `c` and the number of images, and its gradient (D + 1, K), over all ranks."""
        sums = torch.zeros(theta.numel() + 1, dtype=theta.dtype, device=theta.device)  # the gradient and the loss
        gradient, loss = sums[:-1].view_as(theta), sums[-1:]
        rows = max(1, LOGITS // theta.shape[1])
        for x, targets in zip(self.x.split(rows), self.targets.split(rows), strict=True):
            log_shares = (x @ theta).log_softmax(dim=1)  # (n, K)
            loss -= log_shares.gather(1, targets[:, None]).sum()
            errors = log_shares.exp()
            errors[torch.arange(len(x), device=x.device), targets] -= 1
            gradient.addmm_(x.T, errors)
        sums = total_over_ranks(sums) / self.size
        gradient, loss = sums[:-1].view_as(theta), sums[-1]
        weights = theta[:-1]
        gradient[:-1] += weights / (c * self.size)
        return loss + weights.square().sum() / (2 * c * self.size), gradient

    def scores(self, fit: Fit, features: Tensor) -> Tensor:
        """Logits (n, num_classes) of features (n, D)."""
        logits = features.new_full(
            (len(features), self.num_classes), torch.finfo(torch.float64).min, dtype=torch.float64
        )
        logits[:, self.classes] = self._inputs(features) @ fit.weights
        return logits
