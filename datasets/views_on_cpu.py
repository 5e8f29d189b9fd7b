"""Crops and colours on a CPU: the compiled kernels, on as many threads as torch uses."""

import numpy as np
import torch
from torch import Tensor

from ..methods.config import ViewConfig
from . import kernels
from .color import MEAN, STD, box_taps
from .geometry import Geometry
from .resample import Filter
from .threads import on_all_threads
from .view_parameters import ViewParameters

SUPPORT = {"bilinear": 1.0, "bicubic": 2.0}


def cut(pixels: Tensor, geometry: Geometry, size: int, kind: Filter) -> Tensor:
    """Crops (N, 3, size, size), uint8, of images (B, 3, H, W), uint8 with any strides: of each in turn, the first again."""
    images, n = pixels.numpy(), len(geometry.boxes)
    sources = np.arange(n) % len(images)
    out = np.empty((n, 3, size * size), np.uint8)

    def work(rows: slice) -> None:
        boxes, steps, places, flips = geometry.rows(rows)
        kernels.cut(images, sources[rows], boxes, steps, places, SUPPORT[kind], flips, size, out[rows])

    on_all_threads(n, work)
    return torch.from_numpy(out).view(n, 3, size, size)


def finish(levels: Tensor, view: ViewConfig, parameters: ViewParameters) -> Tensor:
    """Views (N, 3, S, S) of crops of that shape, uint8."""
    n, _, size, _ = levels.shape
    source, out = levels.contiguous().view(n, 3, -1).numpy(), np.empty((n, 3, size * size), np.float32)
    factors = parameters.factors.astype(np.float32)
    taps = box_taps(np.where(parameters.blur, parameters.sigma, 0.0))
    threshold = np.float32(0 if view.solarize is None else view.solarize.threshold / 255)
    mean, std = np.array(MEAN, np.float32), np.array(STD, np.float32)

    def work(rows: slice) -> None:
        p = parameters.rows(rows)
        kernels.finish(
            source[rows],
            p.jitter,
            factors[rows],
            p.order,
            p.gray,
            p.blur,
            taps[rows],
            p.solarize,
            threshold,
            view.solarize_before_blur,
            mean,
            std,
            size,
            out[rows],
        )

    on_all_threads(n, work)
    return torch.from_numpy(out).view(n, 3, size, size)
