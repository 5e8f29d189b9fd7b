"""What is stored, image by image."""

import torch
from ssl_sweep.datasets.image_set import ImageSet
from torch import Tensor


def pixels_of(images: ImageSet, rows: Tensor | None = None) -> list[Tensor]:
    """The images (3, H, W) of `rows`, or all, raw or encoded."""
    rows = torch.arange(len(images)) if rows is None else rows
    if images.encoded is None:
        return list(images.whole(rows).pixels)
    return [images.encoded[sample] for sample in images.samples[rows].tolist()]


def same(some: list[Tensor], others: list[Tensor]) -> bool:
    return len(some) == len(others) and all(torch.equal(a, b) for a, b in zip(some, others, strict=True))
