"""Precision of losses and of products: float32 under any autocast and any setting, and float64 where everything is."""

import os
import threading
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor

FORCED = "NVIDIA_TF32_OVERRIDE"
"""Environment variable that NVIDIA's libraries read: it overrules whatever torch asks of them."""

_LOCK = threading.Lock()
_INSIDE: list[tuple[str, str]] = []
"""For each `full_products` that is under way in any thread, the settings that the first one found."""


class PrecisionError(RuntimeError):
    """Products of float32 are rounded, whatever torch is set to."""


def at_least_float32(x: Tensor) -> Tensor:
    """`x` in float32, or in float64 if it is: what a sum over a whole batch, or over pairs of features, needs."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


@contextmanager
def full_products(device: torch.device) -> Generator[None]:
    """Within this block, matrix products of float32 round no factor: neither for an autocast nor to TF32 or bfloat16.

    The settings are the process's, so that other threads have full products too until the last block ends.

    Raises:
        PrecisionError: the GPU rounds all the same.
    """
    backends: Any = torch.backends
    cuda, cpu = backends.cuda.matmul, backends.mkldnn.matmul
    with _LOCK:
        found = _INSIDE[0] if _INSIDE else (cuda.fp32_precision, cpu.fp32_precision)
        _INSIDE.append(found)
        cuda.fp32_precision = cpu.fp32_precision = "ieee"
    try:
        with torch.autocast(device.type, enabled=False):
            if device.type == "cuda":
                _check(device)
            yield
    finally:
        with _LOCK:
            cuda.fp32_precision, cpu.fp32_precision = _INSIDE.pop()
            if _INSIDE:
                cuda.fp32_precision = cpu.fp32_precision = "ieee"


@cache
def _check(device: torch.device) -> None:
    """Once for a GPU: a factor that TF32 does not hold comes out of a product as it went in."""
    factor = 1 + 2.0**-20
    found = torch.full((128, 128), factor, device=device) @ torch.eye(128, device=device)
    if not bool((found == factor).all()):
        value = os.environ.get(FORCED)
        cause = f"{FORCED}={value} in the environment" if value else "something outside of torch"
        raise PrecisionError(
            f"{device} rounds products of float32, which views need exact; {cause} allows it: unset it"
        )


def precision_modes() -> dict[str, str]:
    """How products of float32 and convolutions are rounded in this process, and what in the environment says so."""
    backends: Any = torch.backends
    modes: dict[str, str] = {
        "float32_products": backends.cuda.matmul.fp32_precision,
        "float32_convolutions": backends.cudnn.conv.fp32_precision,
    }
    named = (FORCED, "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE")
    return modes | {name: os.environ[name] for name in named if name in os.environ}
