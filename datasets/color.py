"""What is done to the colours of a batch, each image with its own parameters.

Images are float32 (B, 3, H, W) in [0, 1]; parameters are (B,). Equal to torchvision's functions on float tensors.
"""

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""ImageNet's, for every data set, as in the published benchmarks."""


@cache
def constants(device: torch.device, *channels: tuple[float, float, float]) -> tuple[Tensor, ...]:
    """For each, a number a channel (3, 1, 1), on the device; kept, since to copy a number there is to wait for it."""
    return tuple(torch.tensor(values, device=device)[:, None, None] for values in channels)


def gray(images: Tensor) -> Tensor:
    """Luma (B, 1, H, W)."""
    red, green, blue = images.unbind(1)
    return (0.2989 * red).add_(green, alpha=0.587).add_(blue, alpha=0.114)[:, None]


def brightness_(images: Tensor, factor: Tensor) -> Tensor:
    """``factor * image``, clamped, in place."""
    return images.mul_(_broadcast(factor)).clamp_(0, 1)


def contrast_(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the mean luma, ``factor * image + (1 - factor) * mean``, clamped, in place."""
    return _blend_(images, factor, gray(images).mean((2, 3), keepdim=True))


def saturation_(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the luma, ``factor * image + (1 - factor) * luma``, clamped, in place."""
    return _blend_(images, factor, gray(images))


def hue(images: Tensor, turns: Tensor) -> Tensor:
    """Shift the hue by `turns` of the colour circle.

    As RGB -> HSV -> RGB, both ways in closed form, since `torch.where` is slow on a CPU. With v the largest channel, m the
    smallest and c = v - m, the hue is (v - 2 m + g + b - r) / 6c turns from red, towards green where g > b and else towards
    blue; and a channel is v - c clamp(2 - 6 d, 0, 1), d being the distance of the hue to the opposite of the channel's own.
    """
    red, green, blue = images.unbind(1)
    value = torch.maximum(torch.maximum(red, green), blue)
    least = torch.minimum(torch.minimum(red, green), blue)
    chroma = value - least
    angle = torch.sub(value, least, alpha=2).add_(green).add_(blue).sub_(red)
    angle /= chroma.clamp(min=1e-8).mul_(6)  # gray pixels have no hue: any will do, as their chroma is 0
    angle = torch.copysign(angle, green - blue).add_(turns[:, None, None])
    (opposite,) = constants(images.device, (3 / 6, 5 / 6, 1 / 6))
    distance = angle[:, None] - opposite  # (B, 3, H, W), in turns
    distance.sub_(distance.round()).abs_()
    share = torch.rsub(distance, 2, alpha=6).clamp_(0, 1)
    return torch.addcmul(value[:, None], chroma[:, None], share, value=-1)


def solarize(images: Tensor, threshold: float) -> Tensor:
    """Invert what is at least `threshold`."""
    return torch.where(images >= threshold, 1 - images, images)


def pillow_blur(images: Tensor, taps: Tensor) -> Tensor:
    """Pillow's `GaussianBlur`: three box filters a line. taps: (B, 2 reach + 1), of `box_taps`.

    As matrices in the form of `resample`: with M the box filter that repeats the pixels at the edge,
    ``M^3 @ image @ (M^3).T``. Differs from Pillow's by the rounding to whole levels after each of its six passes.
    """
    b, _, height, width = images.shape
    columns = _three_boxes(taps, width)
    rows = columns if width == height else _three_boxes(taps, height)
    across = (images.reshape(b, 3 * height, width) @ columns.mT).view(b, 3, height, width)
    return rows[:, None] @ across


def box_taps(sigma: NDArray[np.float64]) -> NDArray[np.float32]:
    """The box filter of which three make the Gaussian of `sigma` (B,), in pixels: weights (B, 2 reach + 1).

    Its radius is fractional so that the variance is right (Gwosdek et al., 2011; Pillow's `src/libImaging/BoxBlur.c`).
    """
    variance = sigma[:, None] ** 2 / 3
    whole = np.floor((np.sqrt(12 * variance + 1) - 1) / 2)
    part = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance) / (6 * (variance - (whole + 1) ** 2))
    reach = int(whole.max()) + 1
    distance = np.abs(np.arange(-reach, reach + 1))
    taps = (distance <= whole) + (distance == whole + 1) * part
    return (taps / (2 * (whole + part) + 1)).astype(np.float32)


def _three_boxes(taps: Tensor, size: int) -> Tensor:
    """The three filters along a line as one matrix (B, size, size)."""
    reach = taps.shape[1] // 2
    along = torch.arange(size, device=taps.device)
    sources = (along[:, None] + torch.arange(-reach, reach + 1, device=taps.device)[:, None, None]).clamp_(0, size - 1)
    shifts = (sources == along).to(taps.dtype)  # (2 reach + 1, size, size): each takes a line to itself, shifted
    box = (taps @ shifts.flatten(1)).view(-1, size, size)
    return box @ box @ box


def _blend_(images: Tensor, factor: Tensor, other: Tensor) -> Tensor:
    """`other` is overwritten too."""
    return images.mul_(_broadcast(factor)).add_(other.mul_(_broadcast(1 - factor))).clamp_(0, 1)


def _broadcast(values: Tensor) -> Tensor:
    return values[:, None, None, None]
