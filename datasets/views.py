"""Views of a batch of images, made on their device, each image with its own parameters."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..methods.base import Batch, View
from ..methods.config import ViewConfig, ViewsConfig
from ..methods.parts.device import to_device
from . import color
from .random_stream import uniforms
from .resample import resample
from .view_parameters import CONTRAST, HUE, SATURATION, SLOTS, ViewParameters, view_parameters

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""ImageNet's, for every data set, as in the published benchmarks."""

CPU_CHUNK = 1 << 20
"""Numbers that a step works on at once on a CPU: few enough for its caches, enough to hide the cost of each call."""

CUDA_CHUNK = 1 << 28


class Images(NamedTuple):
    """Images of one batch, each in the upper left corner of its row; what lies beyond its size is ignored."""

    pixels: Tensor  # (B, 3, H, W), uint8
    sizes: Tensor  # (B, 2), int64, on the CPU: height and width of each


def make_views(
    images: Images, labels: Tensor, views: ViewsConfig, image_size: int, *, seed: int, epoch: int, samples: Tensor
) -> Batch:
    """All views of a batch. samples: (B,), the stable number of each image in its data set.

    What is drawn for an image depends on (seed, epoch, sample, view) alone: neither the rest of the batch, nor the rank, nor
    the device changes it.
    """
    made: list[list[View]] = []
    index = 0
    for group in (views.global_views, views.local_views):
        made.append([])
        for view in group:
            numbers = range(index, index + view.count)
            uniform = np.concatenate([uniforms(seed, epoch, samples.cpu().numpy(), n, SLOTS) for n in numbers])
            parameters = view_parameters(view, np.tile(images.sizes.numpy(), (view.count, 1)), uniform)
            together = make_view(images, view, view.pixels(image_size), parameters)
            made[-1] += map(View, *(field.chunk(view.count) for field in together))
            index += view.count
    return Batch(made[0], made[1], labels, to_device(samples, labels.device))


def make_view(images: Images, view: ViewConfig, size: int, parameters: ViewParameters) -> View:
    """A view of each image, or several: crop, flip, jitter, gray, blur and solarize in the order of `view`, normalise.

    With parameters for V times the B images, all first views come first: (V * B, 3, size, size).
    """
    device = images.pixels.device
    crop = parameters.crop.astype(np.float32)
    flipped = np.where(parameters.flip[:, None], crop[:, [2, 1, 0, 3]], crop)
    out = torch.empty(len(crop), 3, size, size, device=device)
    count = len(crop) // len(images.pixels)
    with _full_precision(device):
        for rows, pixels in _chunks(images, count, size):
            image = resample(pixels, flipped[rows], crop[rows], size, view.interpolation).div_(255)
            _color(image, view, parameters.rows(rows))
            _normalise(image, out[rows])
    height, width = np.tile(images.sizes.numpy(), (count, 1)).T
    box = flipped / np.stack([width, height, width, height], axis=1).astype(np.float32)
    return View(out, to_device(box, device))


def evaluation_view(images: Images, image_size: int) -> Tensor:
    """The images as evaluation sees them, (B, 3, S, S): shorter side to S, central crop of S, normalised.

    From S = 224 on the shorter side goes to 256/224 of S first, as is usual; below, square images of S pixels stay as they
    are. Bilinear and antialiased as Pillow's, sizes and places as torchvision's `Resize` and `CenterCrop`.
    """
    shorter = round(image_size * 256 / 224) if image_size >= 224 else image_size
    size = images.sizes.numpy()  # (B, 2)
    resized = (shorter * size / size.min(axis=1, keepdims=True)).astype(np.int64)
    offset = np.rint((resized - image_size) / 2)
    scale = size / resized  # source pixels for each pixel of the result
    crops = np.concatenate([offset * scale, (offset + image_size) * scale], axis=1)[:, [1, 0, 3, 2]].astype(np.float32)
    bounds = np.concatenate([np.zeros_like(size), size], axis=1)[:, [1, 0, 3, 2]].astype(np.float32)
    out = torch.empty(len(size), 3, image_size, image_size, device=images.pixels.device)
    with _full_precision(images.pixels.device):
        for rows, pixels in _chunks(images, 1, image_size):
            image = resample(pixels, crops[rows], bounds[rows], image_size, "bilinear")
            _normalise(image.div_(255), out[rows])
    return out


def _full_precision(device: torch.device) -> torch.autocast:
    """Whoever asks for the next batch may be within an autocast, which would round the filter weights to bfloat16."""
    return torch.autocast(device.type, enabled=False)


def _chunks(images: Images, count: int, size: int) -> Iterator[tuple[slice, Tensor]]:
    """Rows of `count` views of each image, and their pixels, to work on together: what lies between steps stays small."""
    b, _, height, width = images.pixels.shape
    numbers = CPU_CHUNK if images.pixels.device.type == "cpu" else CUDA_CHUNK
    step = max(1, numbers // (3 * max(height * width, size * size)))
    if count * b <= step:
        yield slice(0, count * b), images.pixels if count == 1 else images.pixels.repeat(count, 1, 1, 1)
        return
    for first in range(0, count * b, b):
        for start in range(0, b, step):
            stop = min(start + step, b)
            yield slice(first + start, first + stop), images.pixels[start:stop]


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
    if not parameters.jitter.any():
        return
    for operation in parameters.order.T:  # (B,)
        amount = np.take_along_axis(parameters.factors, operation[:, None], axis=1)[:, 0].astype(np.float32)
        turns = parameters.jitter & (operation == HUE)
        factor = np.where(parameters.jitter & ~turns, amount, np.float32(1))
        packed = np.stack([factor, operation == CONTRAST, operation == SATURATION]).astype(np.float32)
        color.blend_(images, *to_device(packed, images.device).unbind(0))
        shift = to_device(amount[turns], images.device)
        _apply(images, turns, lambda some, shift=shift: color.hue(some, shift))


def _solarize(images: Tensor, view: ViewConfig, parameters: ViewParameters) -> None:
    if view.solarize is not None:
        threshold = view.solarize.threshold / 255
        _apply(images, parameters.solarize, lambda some: color.solarize(some, threshold))


def _apply(images: Tensor, mask: NDArray[np.bool_], operation: Callable[[Tensor], Tensor]) -> None:
    """Put the images of `mask` (B,) through `operation`, in place."""
    if mask.any():
        chosen = to_device(np.flatnonzero(mask), images.device)
        images.index_copy_(0, chosen, operation(images.index_select(0, chosen)))


def _normalise(images: Tensor, out: Tensor) -> None:
    mean, std = color.constants(images.device, MEAN, STD)
    torch.sub(images, mean, out=out).div_(std)
