"""Choosing part of a labelled set so that each class keeps its share."""

import numpy as np
from numpy.typing import NDArray

from .random_stream import permutation

TEST_SHARE = 0.1
"""Share of a source without a test part that becomes its test set."""


def stratified_rows(labels: NDArray[np.int64], count: int, salt: int) -> NDArray[np.int64]:
    """`count` rows, the same share of each class to within one image (largest remainders first), in ascending order.

    labels: (N,). The choice depends on the labels and `salt` alone. Returns (count,).
    """
    assert 0 <= count <= len(labels)
    quota = np.bincount(labels) * (count / max(1, len(labels)))
    take = np.floor(quota).astype(np.int64)
    by_remainder = np.argsort(take - quota, kind="stable")
    take[by_remainder[: count - int(take.sum())]] += 1
    shuffled = permutation(len(labels), salt)
    grouped = shuffled[np.argsort(labels[shuffled], kind="stable")]  # by class, in random order within each
    starts = np.searchsorted(labels[grouped], np.arange(len(take)))
    chosen = [grouped[start : start + n] for start, n in zip(starts, take, strict=True)]
    return np.sort(np.concatenate(chosen)) if chosen else np.empty(0, dtype=np.int64)


def stratified_split(labels: NDArray[np.int64], share: float, salt: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the larger part and of the part with `share` of the images, at least one of them. Disjoint, ascending."""
    part = stratified_rows(labels, min(len(labels), max(1, round(len(labels) * share))), salt)
    return np.setdiff1d(np.arange(len(labels)), part), part
