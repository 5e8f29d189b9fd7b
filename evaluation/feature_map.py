"""Looks at features that are kept: a map of them in the plane, and the images that are nearest to some of them. Free of torch."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

MOST, LEAST = 2000, 50
"""Images of a map."""
COMPONENTS = 50
PERPLEXITY = 30.0
ITERATIONS = 750
SIDE = 1000
"""Coordinates of a map lie from 0 to this."""
ALIKE = 1e-4
"""Standard deviation, of features of length 1, below which all images are in one place."""


def unit(features: NDArray[np.floating]) -> Floats:
    """Features (n, D), each of length 1; a feature that is 0 stays so."""
    wide = features.astype(np.float32)
    return wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)


def drawn_rows(count: int, most: int, seed: int = 0) -> Ints:
    """At most so many of `count` rows, rising; the same ones for the same numbers."""
    return np.sort(np.random.default_rng([seed, count]).permutation(count)[:most])


def one_of_each_class(labels: Ints, most: int, seed: int = 0) -> Ints:
    """Rows of images of different classes, at most so many, by their class; the same ones for the same labels (n,), -1 for none."""
    order = np.random.default_rng([seed, len(labels)]).permutation(len(labels))
    order = order[labels[order] >= 0]
    classes, first = np.unique(labels[order], return_index=True)
    kept = np.sort(np.argsort(first)[:most])  # the classes that come first in that order
    return order[first[kept]] if len(classes) else order[:0]


def plane(features: Floats) -> Ints | None:
    """Places (n, 2) from 0 to `SIDE` of features (n, D) of length 1: PCA to 50 dimensions, then t-SNE (van der Maaten & Hinton, 2008).

    The same for the same features on the same machine. None if all features are alike.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    centred = features - features.mean(axis=0)
    if centred.std(axis=0).max(initial=0.0) < ALIKE:
        return None
    count, width = centred.shape
    dimensions = min(COMPONENTS, width, count - 1)
    if dimensions < width:
        centred = PCA(dimensions, svd_solver="covariance_eigh").fit_transform(centred)
    perplexity = min(PERPLEXITY, (count - 1) / 3)
    model = TSNE(2, perplexity=perplexity, max_iter=ITERATIONS, init="pca", random_state=0, n_jobs=1)
    placed = model.fit_transform(centred.astype(np.float32))
    low, high = placed.min(axis=0), placed.max(axis=0)
    return ((placed - low) / np.maximum(high - low, 1e-12) * SIDE).round().astype(np.int64)


def nearest(queries: Floats, parts: Iterable[Floats], count: int, itself: Ints | None = None) -> Ints:
    """Rows (q, count) of the features that are most similar to queries (q, D) by cosine, the most similar first.

    Args:
        queries: of length 1.
        parts: all features, of length 1, in parts (n, D) that each fit into memory.
        count: at most so many neighbours; fewer if there are fewer features.
        itself: (q,), the row of each query among the features, which is no neighbour; None if they are not among them.
    """
    best = np.full((len(queries), 0), -np.inf, np.float32)
    rows = np.zeros((len(queries), 0), np.int64)
    start = 0
    for part in parts:
        found = queries @ part.T  # (q, n)
        numbers = np.arange(start, start + len(part))
        if itself is not None:
            found[itself[:, None] == numbers] = -np.inf
        best = np.concatenate([best, found], axis=1)
        rows = np.concatenate([rows, np.broadcast_to(numbers, found.shape)], axis=1)
        chosen = np.argsort(-best, axis=1, kind="stable")[:, :count]
        best, rows = np.take_along_axis(best, chosen, 1), np.take_along_axis(rows, chosen, 1)
        start += len(part)
    return rows
