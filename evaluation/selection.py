"""Training images that are held out for the selection of a classifier's settings, which never sees the test images."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..datasets.image_set import ImageSet
from ..datasets.random_stream import hash64
from ..datasets.stratify import stratified_split
from ..methods.quantities import plural
from .task import Refused

SELECTION_SALT = 4


def held_out_rows(images: ImageSet, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Rows (n,) of `images` to train on, and (m,) the `share` of each class that is held out, drawn by `seed`; ascending.

    Raises:
        Refused: nothing would be left to train on.
    """
    fit, held_out = stratified_split(images.labels.numpy(), share, int(hash64(SELECTION_SALT, seed)[0]))
    if not len(fit):
        raise Refused(
            f"selection: got {share:g}; of {plural(len(images), 'training image')} that leaves none to train on"
        )
    return torch.from_numpy(fit), torch.from_numpy(held_out)


def first_best(correct: Sequence[int | None]) -> int:
    """Index of the first of the greatest counts; None is no count."""
    counts = [-1 if value is None else value for value in correct]
    return counts.index(max(counts))
