"""Crops and colours on a GPU: torch's operations on a whole batch. They run on a CPU too, which the tests make use of."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..methods.config import ViewConfig
from ..methods.parts.device import to_device
from ..methods.parts.precision import full_products
from . import color
from .color import MEAN, STD
from .geometry import Geometry
from .resample import Filter, resample
from .view_parameters import ViewParameters

CHUNK = 1 << 28
"""Numbers that a step works on at once, which bounds the memory of what lies between the steps."""


def cut(pixels: Tensor, geometry: Geometry, size: int, kind: Filter) -> Tensor:
    """Crops (N, 3, size, size), uint8, of images (B, 3, H, W), uint8: of each in turn, the first again."""
    b, n = len(pixels), len(geometry.boxes)
    out = torch.empty(n, 3, size, size, dtype=torch.uint8, device=pixels.device)
    step = _chunk(max(pixels[0].numel(), out[0].numel()))
    with full_products(pixels.device):
        for first in range(0, n, b):
            for start in range(0, b, step):
                stop = min(start + step, b)
                rows = slice(first + start, first + stop)
                some = geometry.rows(rows)
                bounds = some.boxes.astype(np.float64)
                out[rows] = resample(pixels[start:stop], some.edges(size), bounds, size, kind)
    return out


def finish(levels: Tensor, view: ViewConfig, parameters: ViewParameters) -> Tensor:
    """Views (N, 3, S, S) of crops of that shape, uint8."""
    out = torch.empty(levels.shape, device=levels.device)
    step = _chunk(levels[0].numel())
    mean, std = color.constants(levels.device, MEAN, STD)
    with full_products(levels.device):
        for start in range(0, len(levels), step):
            rows = slice(start, start + step)
            image = levels[rows] / 255
            _color(image, view, parameters.rows(rows))
            torch.sub(image, mean, out=out[rows]).div_(std)
    return out


def _chunk(numbers: int) -> int:
    return max(1, CHUNK // numbers)


def _color(images: Tensor, view: ViewConfig, parameters: ViewParameters) -> None:
    """Jitter, gray, blur and solarize in place, each on the images that it concerns."""
    _jitter(images, parameters)
    _apply(images, parameters.gray, lambda some: color.gray(some).expand(-1, 3, -1, -1))
    if view.solarize_before_blur:
        _solarize(images, view, parameters)
    if parameters.blur.any():
        taps = to_device(color.box_taps(parameters.sigma[parameters.blur]), images.device)
        _apply(images, parameters.blur, lambda some: color.pillow_blur(some, taps))
    if not view.solarize_before_blur:
        _solarize(images, view, parameters)


def _jitter(images: Tensor, parameters: ViewParameters) -> None:
    """Four rounds, in each of which every image has the operation that is next in its order."""
    operations = (color.brightness_, color.contrast_, color.saturation_, color.hue)
    for turn in parameters.order.T:  # (B,)
        for number, operation in enumerate(operations):
            chosen = parameters.jitter & (turn == number)
            if chosen.any():
                factor = to_device(parameters.factors[chosen, number].astype(np.float32), images.device)
                _apply(images, chosen, lambda some, operation=operation, factor=factor: operation(some, factor))


def _solarize(images: Tensor, view: ViewConfig, parameters: ViewParameters) -> None:
    if view.solarize is not None:
        threshold = view.solarize.threshold / 255
        _apply(images, parameters.solarize, lambda some: color.solarize(some, threshold))


def _apply(images: Tensor, mask: NDArray[np.bool_], operation: Callable[[Tensor], Tensor]) -> None:
    """Put the images of `mask` (B,) through `operation`, which may overwrite what it gets, in place."""
    if mask.any():
        chosen = to_device(np.flatnonzero(mask), images.device)
        images.index_copy_(0, chosen, operation(images.index_select(0, chosen)))
