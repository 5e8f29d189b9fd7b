"""Which figures a severity stands for. The authors publish them for 32 px (CIFAR-10-C) and for 224 px (ImageNet-C)."""

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

SMALL = 64
"""Up to this side, in pixels, images have the figures of CIFAR-10-C, and larger ones those of ImageNet-C.

Lengths in pixels are taken as they are, also at sizes between and beyond.
"""


@dataclass(frozen=True)
class Severities(Generic[T]):
    """The figures for severity 1 to 5."""

    small: tuple[T, T, T, T, T]
    large: tuple[T, T, T, T, T]

    def at(self, severity: int, size: int) -> T:
        """For images of `size` x `size` pixels."""
        return (self.small if size <= SMALL else self.large)[severity - 1]
