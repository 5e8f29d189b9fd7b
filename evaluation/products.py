"""Cosine similarities by one matrix product, in full float32."""

from functools import cache
from typing import Any

import torch
from torch import Tensor

from ..methods.parts.precision import full_products


def similarities(queries: Tensor, rows: Tensor) -> Tensor:
    """Products (Q, n) of queries (Q, D) and rows (n, D), float32, of length 1.

    Raises:
        PrecisionError: the GPU rounds the factors.
    """
    with full_products(queries.device):
        if queries.device.type == "cpu" and _has_onednn():
            return torch.ops.mkldnn._linear_pointwise(queries, rows, None, "none", [], "")
        return queries @ rows.T


@cache
def _has_onednn() -> bool:
    """Whether oneDNN can be called, as compiled models do: on AMD's processors MKL, which `mm` calls, takes 1.15 times as long."""
    operators: Any = torch.ops.mkldnn
    return torch.backends.mkldnn.is_available() and hasattr(operators, "_linear_pointwise")
