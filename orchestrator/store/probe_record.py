"""What a probe measured of a kind of trial, as the store keeps it."""

import re
from typing import ClassVar

from .records import Cost, Record


class ProbeRecord(Record):
    """A few steps of a kind of trial, alone on a device: what it needs of it. Kept as ``probes/<name>.json``."""

    lost: ClassVar[str] = "it will be measured again"

    cost: Cost
    """Of all the probe; its memory is the peak over the training steps and those of each evaluation."""
    outside: int = 0
    """Bytes of the GPU that torch's allocator does not know of, as those of the CUDA context."""
    total: int | None = None
    """Bytes that the GPU has."""
    images_per_second: float | None = None
    """Of the pretraining; None for a method that does not train."""
    busy: float | None = None
    """Share of the steps' time in which the GPU computed; None if that could not be measured."""

    @property
    def memory(self) -> int:
        """Bytes that one such trial takes."""
        return (self.cost.gpu_reserved or self.cost.resident or 0) + self.outside

    @staticmethod
    def file(kind: str, gpu: str) -> str:
        """Its name in the store; `gpu` is the model."""
        return f"probes/{kind}-{re.sub(r'[^A-Za-z0-9]+', '-', gpu).lower()}.json"
