"""k-means on the sphere, for methods that cluster their own embeddings."""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from .collectives import world_size
from .device import to_device

CHUNK = 1 << 14
"""Rows whose similarities are held at once."""


@torch.no_grad()
def spherical_kmeans(rows: Tensor, clusters: int, iterations: int, generator: torch.Generator) -> Tensor:
    """Centroids (K, D) of length 1 of `rows` (N, D), by cosine similarity; the same on every rank.

    The first centroids are rows that `generator` picks; a cluster that loses all its rows keeps its centroid. Every rank
    must hold the same rows.

    Raises:
        ValueError: there are fewer rows than clusters.
    """
    if len(rows) < clusters:
        raise ValueError(f"k-means needs a row for each of the {clusters} clusters, but got {len(rows)}")
    rows = F.normalize(rows.float(), dim=1)
    picked = torch.randperm(len(rows), generator=generator)[:clusters]
    centroids = rows[to_device(picked, rows.device)]
    for _ in range(iterations):
        sums = torch.zeros_like(centroids)
        for chunk in rows.split(CHUNK):
            members = F.one_hot(nearest(chunk, centroids), clusters).to(chunk.dtype)  # (n, K)
            sums += members.T @ chunk
        empty = (sums == 0).all(dim=1, keepdim=True)
        centroids = torch.where(empty, centroids, F.normalize(sums, dim=1))
    if world_size() > 1:
        dist.broadcast(centroids, 0)  # devices may add in another order
    return centroids


@torch.no_grad()
def nearest(rows: Tensor, centroids: Tensor) -> Tensor:
    """The centroid (N,) with the largest inner product for each of `rows` (N, D); centroids: (K, D)."""
    return torch.cat([(chunk @ centroids.T).argmax(dim=1) for chunk in rows.split(CHUNK)])
