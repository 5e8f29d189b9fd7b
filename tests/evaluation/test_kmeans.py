"""k-means: the agreement of clusters and classes is scikit-learn's."""

import math
from collections.abc import Callable
from itertools import permutations

import pytest
import torch
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix
from ssl_sweep.evaluation.base import Sizes
from ssl_sweep.evaluation.kmeans import (
    KMEANS,
    KMeansConfig,
    best_clusters,
    evaluate_kmeans,
    matched,
    mutual_information,
    rand_index,
)
from ssl_sweep.evaluation.task import NotFinite, Refused, Task
from torch import Tensor

MakeTask = Callable[..., Task]


def drawn(agreement: float, classes: int, clusters: int | None = None) -> tuple[Tensor, Tensor]:
    """Classes and clusters (300,), of which so large a share is that of the class."""
    draw = torch.Generator().manual_seed(classes)
    truth = torch.randint(classes, (300,), generator=draw)
    other = torch.randint(clusters or classes, (300,), generator=draw)
    return truth, torch.where(torch.rand(300, generator=draw) < agreement, (truth + 1) % classes, other)


CASES = {
    "close": drawn(0.8, 5),
    "loose": drawn(0.3, 7),
    "chance": drawn(0.0, 4),
    "equal": drawn(1.0, 6),
    "one cluster": drawn(0.0, 5, clusters=1),
    "one class": drawn(0.0, 1),
    "every image a cluster": (torch.arange(20), torch.arange(20)),
}


@pytest.mark.parametrize("name", CASES)
def test_agreement_is_scikit_learns(name: str) -> None:
    truth, clusters = (part.numpy() for part in CASES[name])
    table = torch.from_numpy(contingency_matrix(clusters, truth))
    assert mutual_information(table) == pytest.approx(normalized_mutual_info_score(truth, clusters), abs=1e-12)
    assert rand_index(table) == pytest.approx(adjusted_rand_score(truth, clusters), abs=1e-12)


@pytest.mark.parametrize("name", ["close", "loose", "chance", "equal"])
def test_the_match_is_the_best_of_all(name: str) -> None:
    truth, clusters = CASES[name]
    count = int(truth.max()) + 1
    best = max(float((torch.tensor(names)[clusters] == truth).double().mean()) for names in permutations(range(count)))
    assert matched(torch.from_numpy(contingency_matrix(clusters, truth))) == pytest.approx(best)


def test_clusters_that_lie_apart_are_found(task: MakeTask) -> None:
    draw = torch.Generator().manual_seed(0)
    truth = torch.randint(8, (400,), generator=draw)
    features = 10 * torch.eye(16)[truth] + torch.randn(400, 16, generator=draw)
    clusters = best_clusters(task(), features, 8, KMeansConfig())
    assert rand_index(torch.from_numpy(contingency_matrix(clusters, truth))) == 1


def test_the_best_restart_is_chosen_without_labels(task: MakeTask) -> None:
    features = torch.randn(400, 6, generator=torch.Generator().manual_seed(0))
    unit = torch.nn.functional.normalize(features, dim=1)

    def similarity(restarts: int) -> float:
        clusters = best_clusters(task(), features, 10, KMeansConfig(restarts=restarts))
        sums = torch.zeros(10, 6).index_add_(0, clusters, unit)
        return float(sums.norm(dim=1).sum())

    assert similarity(10) > similarity(1)


def test_collapsed_features_agree_with_nothing(task: MakeTask) -> None:
    made = task()
    with torch.no_grad():
        for parameter in made.encoder.parameters():
            parameter.zero_()
    metrics = evaluate_kmeans(made, KMeansConfig(restarts=1)).metrics
    assert metrics["nmi"] == metrics["ari"] == 0 and 0 < metrics["accuracy"] < 20


def test_features_that_are_not_finite_fail_it(task: MakeTask) -> None:
    made = task()
    with torch.no_grad():
        next(made.encoder.parameters()).fill_(math.nan)
    with pytest.raises(NotFinite, match="the features of 100 of 100 test images are not finite"):
        evaluate_kmeans(made, KMeansConfig())


def test_no_more_images_than_classes_are_refused(task: MakeTask) -> None:
    """Each would be a cluster of its own: one image scored 100 %."""
    made = task()
    for images in (1, 10):
        with pytest.raises(
            Refused, match=f"with {images} test images? of 10 classes, each can be a cluster of its own"
        ):
            evaluate_kmeans(made._replace(test=made.test.subset(torch.arange(images))), KMeansConfig(restarts=1))
    same = made.test.subset((made.test.labels == made.test.labels[0]).nonzero()[:1, 0].expand(20))
    with pytest.raises(Refused, match="all test images are of one class"):
        evaluate_kmeans(made._replace(test=same), KMeansConfig(restarts=1))
    few = KMEANS.misfit(KMeansConfig(), Sizes(9, 1, ("a", "b"), (5, 4), (1, 0)))
    assert few is not None and few.has == "1 test image"
    assert KMEANS.misfit(KMeansConfig(), Sizes(9, 3, ("a", "b"), (5, 4), (2, 1))) is None
