"""Choosing part of a labelled set so that each class keeps its share."""

import numpy as np
from numpy.typing import NDArray

from .random_stream import hash64, permutation

TEST_SHARE = 0.1
"""Share of a source without a test part that becomes its test set."""
SHARE_SALT = 4
"""Of a share of the labels."""
TIES = 1
"""What the hash of a class has beside the salt."""


def stratified_rows(labels: NDArray[np.int64], count: int, salt: int) -> NDArray[np.int64]:
    """`count` rows, the same share of each class to within one image (largest remainders first), in ascending order.

    labels: (N,). The choice depends on the labels and `salt` alone. Returns (count,).
    """
    return _drawn(labels, stratified_counts(np.bincount(labels), count), salt)


def stratified_counts(counts: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """How many of each class `stratified_rows` takes, (C,), of which there are counts (C,). Ties go to the first classes."""
    assert 0 <= count <= counts.sum()
    quota = counts * (count / max(1, int(counts.sum())))
    take = np.floor(quota).astype(np.int64)
    by_remainder = np.argsort(take - quota, kind="stable")
    take[by_remainder[: count - int(take.sum())]] += 1
    return take


def labelled_rows(labels: NDArray[np.int64], count: int, salt: int) -> NDArray[np.int64]:
    """As `stratified_rows`, but every class has an image among them if `count` allows it, and ties favour no class."""
    return _drawn(labels, labelled_counts(np.bincount(labels), count, salt), salt)


def labelled_counts(counts: NDArray[np.int64], count: int, salt: int) -> NDArray[np.int64]:
    """How many of each class `labelled_rows` takes, (C,), of which there are counts (C,).

    Each class has its share rounded down, but at least one image, and the largest remainders get what is left. If that is too
    much, the classes with the largest surplus over their share give images away, the last ones last. Of equals the order is drawn
    by `salt`.
    """
    images = int(counts.sum())
    assert 0 <= count <= images
    take = np.maximum(counts * count // max(1, images), counts > 0)
    drawn = hash64(salt, TIES, np.arange(len(counts)))  # (C,)
    surplus = take * images - counts * count  # (C,), in parts of an image, exactly
    left = count - int(take.sum())
    if left > 0:
        take[np.lexsort((drawn, surplus))[:left]] += 1
    for _ in range(-left):
        several = take > 1
        giving = np.flatnonzero(several if several.any() else take > 0)
        largest = giving[surplus[giving] == surplus[giving].max()]
        one = largest[drawn[largest].argmin()]
        take[one] -= 1
        surplus[one] -= images
    return take


def _drawn(labels: NDArray[np.int64], take: NDArray[np.int64], salt: int) -> NDArray[np.int64]:
    """Rows of so many images of each class, drawn by `salt`, in ascending order."""
    shuffled = permutation(len(labels), salt)
    grouped = shuffled[np.argsort(labels[shuffled], kind="stable")]  # by class, in random order within each
    starts = np.searchsorted(labels[grouped], np.arange(len(take)))
    chosen = [grouped[start : start + n] for start, n in zip(starts, take, strict=True)]
    return np.sort(np.concatenate(chosen)) if chosen else np.empty(0, dtype=np.int64)


def stratified_split(labels: NDArray[np.int64], share: float, salt: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the larger part and of the part with `share` of the images, at least one of them. Disjoint, ascending."""
    part = stratified_rows(labels, min(len(labels), max(1, round(len(labels) * share))), salt)
    return np.setdiff1d(np.arange(len(labels)), part), part
