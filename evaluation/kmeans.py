"""k-means: do clusters of the features agree with the classes? Clustered and scored are the test images, with as many clusters as
they have classes (Lowe et al., An Empirical Study into Clustering of Unseen Datasets with Self-Supervised Encoders, arXiv:2406.02465).
"""

from typing import TYPE_CHECKING, Literal

from pydantic import PositiveInt

from ..methods.quantities import plural
from .base import Evaluation, EvaluationConfig, Lack, Metric, Sizes

if TYPE_CHECKING:
    from torch import Tensor

    from .task import Score, Task


class KMeansConfig(EvaluationConfig):
    """k-means by cosine similarity; of `restarts` clusterings the one with the greatest sum of similarities, without labels."""

    name: Literal["kmeans"] = "kmeans"
    protocol: Literal["kmeans/cosine@1"] = "kmeans/cosine@1"
    restarts: PositiveInt = 10
    iterations: PositiveInt = 50

    @property
    def draws(self) -> bool:
        return True


def evaluate_kmeans(task: "Task", config: KMeansConfig) -> "Score":
    """Cluster the test images and compare with their classes.

    Raises:
        Refused: there are hardly as many test images as classes, or all are of one class.
        NotFinite: features are not; on every rank.
    """
    import torch

    from ..methods.parts.collectives import gather
    from .features import all_features, refuse_not_finite
    from .task import Refused, Score

    images, classes, found = len(task.test), task.test.num_classes, len(task.test.labels.unique())
    if images <= classes:
        few = f"{plural(images, 'test image')} of {plural(classes, 'class')}"
        raise Refused(
            f"with {few}, each can be a cluster of its own, and any backbone scores well; it takes more images"
        )
    if found < 2:
        raise Refused(
            "all test images are of one class, which any clustering agrees with; it takes two classes or more"
        )
    features, labels = all_features(task, task.test)
    refuse_not_finite({f"{len(labels):,} test": features[task.rank :: task.world_size]})
    known, truth = labels.unique(return_inverse=True)
    # the first rank's, on every rank: another kind of device may round otherwise
    clusters = gather(best_clusters(task, features, len(known), config))[: len(labels)]
    table = torch.zeros(len(known), len(known), dtype=torch.long)
    table.index_put_((clusters.cpu(), truth.cpu()), torch.ones(len(labels), dtype=torch.long), accumulate=True)
    metrics = {"nmi": mutual_information(table), "accuracy": matched(table), "ari": rand_index(table)}
    return Score({name: 100 * value for name, value in metrics.items()}, len(labels))


def best_clusters(task: "Task", features: "Tensor", count: int, config: KMeansConfig) -> "Tensor":
    """The cluster (N,) of each of the features (N, D) in the best of the restarts; every rank has all features."""
    import torch
    import torch.nn.functional as F

    from ..methods.parts.draws import Purpose, step_key
    from ..methods.parts.kmeans import nearest, spherical_kmeans

    unit = F.normalize(features, dim=1)
    best, clusters = -float("inf"), torch.empty(0)
    for restart in range(config.restarts):
        generator = torch.Generator().manual_seed(step_key(task.seed, Purpose.CLUSTERING, restart) >> 1)
        centroids = spherical_kmeans(unit, count, config.iterations, generator)
        assigned = nearest(unit, centroids)
        similarity = float((unit * centroids[assigned]).sum(dtype=torch.double))
        if similarity > best:
            best, clusters = similarity, assigned
        task.is_alive()
    return clusters


def mutual_information(table: "Tensor") -> float:
    """Normalised mutual information, over the mean of both entropies, of a table (K, C) of counts of clusters and classes."""
    share = table.double() / table.sum()
    rows, columns = share.sum(dim=1), share.sum(dim=0)

    def entropy(shares: "Tensor") -> float:
        return float(-shares.xlogy(shares).sum())

    both = entropy(rows) + entropy(columns)
    return max(0.0, 2 * (1 - entropy(share) / both)) if both > 0 else 1.0


def matched(table: "Tensor") -> float:
    """Share of the images in the class of their cluster, under the one-to-one match that is best for it (Kuhn's Hungarian method).

    table: (K, C), of counts.
    """
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(table.numpy(), maximize=True)
    return float(table[rows, columns].sum() / table.sum())


def rand_index(table: "Tensor") -> float:
    """The Rand index adjusted for chance (Hubert and Arabie, 1985, eq. 5) of a table (K, C) of counts of clusters and classes."""

    def pairs(counts: "Tensor") -> float:
        return float((counts.double() * (counts.double() - 1) / 2).sum())

    together, rows, columns = pairs(table), pairs(table.sum(dim=1)), pairs(table.sum(dim=0))
    mean = (rows + columns) / 2
    every = pairs(table.sum())
    expected = rows * columns / every if every else 0.0
    return (together - expected) / (mean - expected) if mean > expected else 1.0


def _misfit(_config: KMeansConfig, sizes: Sizes) -> Lack | None:
    least = len(sizes.classes) + 1
    if sizes.test_images >= least or not sizes.classes:
        return None
    return Lack(
        f"a cluster for each class, which takes {least} images or more (leave it out)",
        plural(sizes.test_images, "test image"),
    )


KMEANS = Evaluation(
    "kmeans",
    "k-means",
    KMeansConfig,
    (KMeansConfig(),),
    evaluate_kmeans,
    metrics=(Metric("nmi", "NMI", "%"), Metric("accuracy", "accuracy", "%"), Metric("ari", "ARI", "%")),
    misfit=_misfit,
)
