"""Sinkhorn-Knopp and k-means."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from ranks import Ranks
from ssl_sweep.methods.parts.collectives import own_rows, rank
from ssl_sweep.methods.parts.kmeans import nearest, spherical_kmeans
from ssl_sweep.methods.parts.sinkhorn import sinkhorn
from torch import Tensor


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def slow_sinkhorn(scores: Tensor, temperature: float, iterations: int) -> list[list[float]]:
    codes = [[math.exp(score / temperature) for score in row] for row in scores.double().tolist()]
    for _ in range(iterations):
        for k in range(len(codes[0])):
            column = sum(row[k] for row in codes)
            for row in codes:
                row[k] /= column
        codes = [[value / sum(row) for value in row] for row in codes]
    return codes


@pytest.mark.parametrize("iterations", [1, 3])
def test_sinkhorn(iterations: int) -> None:
    scores = randn(6, 4)
    codes = sinkhorn(scores, 0.5, iterations)
    torch.testing.assert_close(codes, torch.tensor(slow_sinkhorn(scores, 0.5, iterations)), rtol=1e-5, atol=1e-7)


def test_sinkhorn_by_hand() -> None:
    # exp: rows (1, 3) and (1, 1); columns to 1: (1/2, 3/4), (1/2, 1/4); rows to 1: (2/5, 3/5), (2/3, 1/3)
    scores = torch.tensor([[0.0, math.log(3)], [0.0, 0.0]])
    torch.testing.assert_close(sinkhorn(scores, 1.0, 1), torch.tensor([[2 / 5, 3 / 5], [2 / 3, 1 / 3]]))


def test_sinkhorn_gives_each_row_one_and_each_prototype_its_share() -> None:
    codes = sinkhorn(randn(12, 4), 0.5, 100)
    torch.testing.assert_close(codes.sum(dim=1), torch.ones(12))
    torch.testing.assert_close(codes.sum(dim=0), torch.full((4,), 12 / 4), rtol=1e-4, atol=0)


def test_sinkhorn_is_finite_where_the_exponential_alone_is_not() -> None:
    cosines = randn(5, 3).tanh()
    scores = cosines + 5.0  # as with a bias on the prototypes
    assert scores.div(0.05).exp().isinf().any()
    codes = sinkhorn(scores, 0.05, 3)
    torch.testing.assert_close(codes, sinkhorn(cosines, 0.05, 3), rtol=1e-3, atol=1e-6)
    assert codes.isfinite().all()


def own_codes(scores: Tensor) -> Tensor:
    return sinkhorn(own_rows(scores), 0.5, 3)


def test_two_ranks_share_the_prototypes(ranks: Ranks) -> None:
    scores = randn(8, 3)
    torch.testing.assert_close(torch.cat(ranks.run(own_codes, scores)), sinkhorn(scores, 0.5, 3))


def test_kmeans_finds_well_separated_clusters() -> None:
    axes = torch.eye(4)
    lengths = torch.linspace(0.5, 3.0, 40)[:, None]  # k-means looks at directions alone
    rows = (axes.repeat_interleave(10, dim=0) + 0.02 * randn(40, 4)) * lengths
    truth = torch.arange(4).repeat_interleave(10)
    first = next(  # k-means may stop at a worse clustering when it starts with two rows of one cluster
        seed for seed in range(100) if len(set(truth[torch.randperm(40, generator=seeded(seed))[:4]].tolist())) == 4
    )
    centroids = spherical_kmeans(rows, 4, 5, seeded(first))
    torch.testing.assert_close(centroids.norm(dim=1), torch.ones(4))
    found = nearest(rows, centroids)
    assert all(len(set(found[truth == c].tolist())) == 1 for c in range(4)) and len(set(found.tolist())) == 4
    for c in range(4):
        mean = F.normalize(F.normalize(rows[truth == c], dim=1).sum(dim=0), dim=0)
        torch.testing.assert_close(centroids[found[truth == c][0]], mean)


def slow_kmeans(rows: Tensor, clusters: int, iterations: int, generator: torch.Generator) -> Tensor:
    rows = F.normalize(rows.double(), dim=1)
    centroids = [rows[i] for i in torch.randperm(len(rows), generator=generator)[:clusters]]
    for _ in range(iterations):
        members: list[list[Tensor]] = [[] for _ in centroids]
        for row in rows:
            members[max(range(clusters), key=lambda c: float(row @ centroids[c]))].append(row)
        centroids = [
            torch.stack(own).sum(dim=0) / torch.stack(own).sum(dim=0).norm() if own else old
            for own, old in zip(members, centroids, strict=True)
        ]
    return torch.stack(centroids)


def test_kmeans() -> None:
    rows = randn(50, 5)
    slow = slow_kmeans(rows, 7, 4, seeded(3))
    torch.testing.assert_close(spherical_kmeans(rows, 7, 4, seeded(3)), slow.float(), rtol=1e-4, atol=1e-5)


def test_an_empty_cluster_keeps_its_centroid() -> None:
    rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    # of two equal centroids the first takes every row, so the other is left empty
    seed = next(s for s in range(100) if sorted(torch.randperm(3, generator=seeded(s))[:2].tolist()) == [0, 1])
    centroids = spherical_kmeans(rows, 2, 1, seeded(seed))
    assert centroids.isfinite().all()
    torch.testing.assert_close(centroids[1], torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(centroids[0], F.normalize(torch.tensor([2.0, 1.0]), dim=0))


def test_kmeans_needs_a_row_for_each_cluster() -> None:
    with pytest.raises(ValueError, match="each of the 3 clusters, but got 2"):
        spherical_kmeans(randn(2, 4), 3, 1, seeded())


def centroids_of(rows: Tensor) -> Any:
    # rank 1's rows differ in the last bits, as sums on two devices may
    return spherical_kmeans(rows * (1 + rank() * 1e-7), 3, 4, seeded())


def test_every_rank_has_the_same_centroids(ranks: Ranks) -> None:
    rows = randn(20, 4)
    first, second = ranks.run(centroids_of, rows)
    assert torch.equal(first, second)
    torch.testing.assert_close(first, spherical_kmeans(rows, 3, 4, seeded()))


def test_sinkhorn_of_scores_far_apart() -> None:
    codes = sinkhorn(torch.tensor([[0.0, -400.0], [-900.0, -1000.0], [3.0, 500.0]]), 1.0, 3)
    assert codes.isfinite().all()
    torch.testing.assert_close(codes.sum(dim=1), torch.ones(3))
