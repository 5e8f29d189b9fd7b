"""Fixed two-dimensional sine-cosine position embedding (MAE, arXiv:2111.06377; MoCo v3, arXiv:2104.02057)."""

import torch
from torch import Tensor


def sincos_positions(dim: int, rows: int, columns: int, device: torch.device | str = "cpu") -> Tensor:
    """Table (rows * columns, dim): the first half of the width encodes the column, the second half the row."""
    if dim % 4:
        raise ValueError(f"sine-cosine positions need a width that is a multiple of 4, but got {dim=}")
    y, x = torch.meshgrid(
        torch.arange(rows, dtype=torch.float64, device=device),
        torch.arange(columns, dtype=torch.float64, device=device),
        indexing="ij",
    )
    return torch.cat([_sincos(dim // 2, x.flatten()), _sincos(dim // 2, y.flatten())], dim=1).float()


def _sincos(dim: int, position: Tensor) -> Tensor:
    frequency = 10000.0 ** (-torch.arange(dim // 2, dtype=position.dtype, device=position.device) / (dim / 2))
    angle = position[:, None] * frequency  # (N, dim / 2)
    return torch.cat([angle.sin(), angle.cos()], dim=1)
