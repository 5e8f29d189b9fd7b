"""What the views of an image have in common, without labels: LiDAR and alignment."""

from contextlib import closing
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..datasets.batches import view_batches
from ..methods.parts.collectives import total_over_ranks
from .classifier import crop_and_flip
from .diagnostics import effective_rank
from .features import batch_size
from .task import NotFinite, Task

DELTA = 1e-4
"""Added to the variances within images (LiDAR)."""


class ViewStatistics(NamedTuple):
    """Of the features of V views of each of n images, the same on every rank."""

    means: Tensor  # (n, D), float64: over the views of each image
    within: Tensor  # (D, D), float64: covariance of the views of an image, mean over the images
    distances: Tensor  # (n,), float64: mean squared distance of two views of an image, on the unit sphere

    @property
    def alignment(self) -> float:
        """Mean squared distance of two views of an image (Wang and Isola, arXiv:2005.10242, eq. 1, with their exponent of 2)."""
        return float(self.distances.mean())


@torch.no_grad()
def view_statistics(task: Task, rows: Tensor, views: int) -> ViewStatistics:
    """Of random crops and flips of the test images `rows` (n,), two `views` or more.

    Raises:
        NotFinite: a feature is not; on every rank.
    """
    encoder = task.encoder.eval()
    (view,) = crop_and_flip().global_views
    batches = view_batches(
        task.test,
        crop_and_flip().model_copy(update={"global_views": (view.model_copy(update={"count": views}),)}),
        task.image_size,
        max(1, batch_size(task) // views),
        seed=task.seed,
        rank=task.rank,
        world_size=task.world_size,
        chosen=rows,
    )
    means = torch.zeros(len(rows), encoder.dim, dtype=torch.double, device=task.device)
    within, distances = means.new_zeros(encoder.dim, encoder.dim), means.new_zeros(len(rows))
    own = torch.arange(task.rank, len(rows), task.world_size, device=task.device)
    done = 0
    with closing(batches):
        for batch in batches:
            with task.autocast():
                found = encoder(torch.cat([view.image for view in batch.global_views]))
            features = found.double().unflatten(0, (views, -1)).transpose(0, 1)  # (b, V, D)
            places = own[done : done + len(features)]
            means[places], scatter, distances[places] = _of_batch(features)
            within += scatter
            done += len(features)
            task.is_alive()
    sums = [total_over_ranks(part) for part in (means, within, distances)]
    if not all(part.isfinite().all() for part in sums):
        raise NotFinite("the features of views of test images are not finite")
    return ViewStatistics(sums[0], sums[1] / (len(rows) * (views - 1)), sums[2])


def _of_batch(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Means (b, D), scatter (D, D) about them, and mean squared distances (b,) of two views, of features (b, V, D)."""
    views = features.shape[1]
    means = features.mean(dim=1)
    apart = (features - means[:, None]).flatten(0, 1)
    unit = F.normalize(features, dim=2)
    # sum over pairs of |x - y|^2 = V sum |x|^2 - |sum x|^2
    squares = views * unit.square().sum(dim=(1, 2)) - unit.sum(dim=1).square().sum(dim=1)
    return means, apart.T @ apart, squares.clamp(min=0) * 2 / (views * (views - 1))


def lidar(means: Tensor, within: Tensor) -> float:
    """LiDAR, the effective rank of between^1/2 (within + delta)^-1 between^1/2 (arXiv:2312.04000, eq. 1 to 3).

    means: (n, D), of the views of each image; within: (D, D). From 1 to the smaller of width and number of images less 1.
    """
    identity = torch.eye(len(within), dtype=within.dtype, device=within.device)
    factor = torch.linalg.cholesky(within + DELTA * identity)
    between = torch.linalg.solve_triangular(factor, (means - means.mean(dim=0)).T, upper=False)  # (D, n)
    return effective_rank(torch.linalg.svdvals(between).square())
