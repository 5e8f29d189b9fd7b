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
from .crop import Crops, crop, evaluation_side
from .resample import SMALL, Filter, resample
from .view_parameters import ViewParameters, drawn_views

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""ImageNet's, for every data set, as in the published benchmarks."""

CPU_CHUNK = 1 << 19
"""Numbers that a step works on at once on a CPU: few enough for its caches, enough to hide the cost of each call."""

CUDA_CHUNK = 1 << 28

Boxes = NDArray[np.int64]


class Images(NamedTuple):
    """Whole images of one size."""

    pixels: Tensor  # (B, 3, H, W), uint8

    @property
    def sizes(self) -> Tensor:
        return torch.tensor([self.pixels.shape[2:]]).expand(len(self.pixels), 2)


def make_views(
    images: Images | Crops,
    labels: Tensor,
    views: ViewsConfig,
    image_size: int,
    *,
    seed: int,
    epoch: int,
    samples: Tensor,
) -> Batch:
    """All views of a batch. samples: (B,), on the CPU, the stable number of each image in its data set.

    What is drawn for an image depends on (seed, epoch, sample, view) alone: neither the rest of the batch, nor the rank, nor
    the device changes it. Crops have to be those of `view_crops` with the same arguments.
    """
    made: list[View] = []
    sizes = images.sizes.numpy()
    kinds = drawn_views(views, sizes, seed=seed, epoch=epoch, samples=samples.numpy())
    for number, (view, parameters) in enumerate(kinds):
        if isinstance(images, Crops):
            image = colored(images.pixels[number], view, parameters)
        else:
            image = make_view(images.pixels, view, view.pixels(image_size), parameters)
        box = _shares(parameters, np.tile(sizes, (view.count, 1)))
        made += map(View, image.chunk(view.count), to_device(box, image.device).chunk(view.count))
    num_global = sum(view.count for view in views.global_views)
    return Batch(made[:num_global], made[num_global:], labels, to_device(samples, labels.device))


def make_view(pixels: Tensor, view: ViewConfig, size: int, parameters: ViewParameters) -> Tensor:
    """A view of each image, or several: crop, flip, jitter, gray, blur and solarize in the order of `view`, normalise.

    pixels: (B, 3, H, W), uint8. With parameters for V times the B images, all first views come first: (V * B, 3, size, size).
    """
    out = torch.empty(len(parameters.crop), 3, size, size, device=pixels.device)
    for rows, some in _chunks(pixels, len(out) // len(pixels), size):
        levels = cut(some, parameters.crop[rows], parameters.flip[rows], size, view.interpolation)
        _finish(levels, view, parameters.rows(rows), out[rows])
    return out


def colored(crops: Tensor, view: ViewConfig, parameters: ViewParameters) -> Tensor:
    """What `make_view` does after crop and flip, to crops (N, 3, S, S), uint8."""
    out = torch.empty(crops.shape, device=crops.device)
    for rows, some in _chunks(crops, 1, crops.shape[-1]):
        _finish(some, view, parameters.rows(rows), out[rows])
    return out


def cut(pixels: Tensor, boxes: Boxes, flip: NDArray[np.bool_], size: int, kind: Filter) -> Tensor:
    """Crops of images (B, 3, H, W), uint8, at `size` pixels, flipped where `flip` says so: (B, 3, size, size).

    In whole grey levels, as uint8 or float32. On a CPU, one by one, where a batched product would not be the fastest.
    """
    height, width = pixels.shape[2:]
    if pixels.device.type == "cpu" and height * width > SMALL:
        pairs = zip(pixels, boxes.tolist(), flip.tolist(), strict=True)
        return torch.stack([crop(image, box, flipped, size, kind) for image, box, flipped in pairs])
    bounds = boxes.astype(np.float32)
    with _full_precision(pixels.device):
        return resample(pixels, np.where(flip[:, None], bounds[:, [2, 1, 0, 3]], bounds), bounds, size, kind)


def evaluation_view(images: Images, image_size: int) -> Tensor:
    """The images as evaluation sees them, (B, 3, S, S): shorter side to S, central crop of S, normalised.

    From S = 224 on the shorter side goes to 256/224 of S first, as is usual; below, square images of S pixels stay as they
    are. Bilinear and antialiased as Pillow's, sizes and places as torchvision's `Resize` and `CenterCrop`.
    """
    size = images.sizes.numpy()  # (B, 2)
    resized = (evaluation_side(image_size) * size / size.min(axis=1, keepdims=True)).astype(np.int64)
    offset = np.rint((resized - image_size) / 2)
    scale = size / resized  # source pixels for each pixel of the result
    crops = np.concatenate([offset * scale, (offset + image_size) * scale], axis=1)[:, [1, 0, 3, 2]].astype(np.float32)
    bounds = np.concatenate([np.zeros_like(size), size], axis=1)[:, [1, 0, 3, 2]].astype(np.float32)
    out = torch.empty(len(size), 3, image_size, image_size, device=images.pixels.device)
    with _full_precision(images.pixels.device):
        for rows, pixels in _chunks(images.pixels, 1, image_size):
            _normalise(_unit(resample(pixels, crops[rows], bounds[rows], image_size, "bilinear")), out[rows])
    return out


def normalised(crops: Tensor) -> Tensor:
    """Crops (N, 3, S, S), uint8, as a network takes them."""
    out = torch.empty(crops.shape, device=crops.device)
    _normalise(_unit(crops), out)
    return out


def _finish(levels: Tensor, view: ViewConfig, parameters: ViewParameters, out: Tensor) -> None:
    with _full_precision(levels.device):
        image = _unit(levels)
        _color(image, view, parameters)
        _normalise(image, out)


def _unit(levels: Tensor) -> Tensor:
    """Grey levels as float32 in [0, 1]; in place where they are float32."""
    return levels.float().div_(255)


def _shares(parameters: ViewParameters, sizes: Boxes) -> NDArray[np.float32]:
    """Crops (N, 4) as shares of their images' width and height, x0 > x1 where flipped."""
    box = np.where(parameters.flip[:, None], parameters.crop[:, [2, 1, 0, 3]], parameters.crop).astype(np.float32)
    height, width = sizes.T
    return box / np.stack([width, height, width, height], axis=1).astype(np.float32)


def _full_precision(device: torch.device) -> torch.autocast:
    """Whoever asks for the next batch may be within an autocast, which would round the filter weights to bfloat16."""
    return torch.autocast(device.type, enabled=False)


def _chunks(pixels: Tensor, count: int, size: int) -> Iterator[tuple[slice, Tensor]]:
    """Rows of `count` views of each image, and their pixels, to work on together: what lies between steps stays small."""
    b, _, height, width = pixels.shape
    numbers = CPU_CHUNK if pixels.device.type == "cpu" else CUDA_CHUNK
    step = max(1, numbers // (3 * max(height * width, size * size)))
    if count * b <= step:
        yield slice(0, count * b), pixels if count == 1 else pixels.repeat(count, 1, 1, 1)
        return
    for first in range(0, count * b, b):
        for start in range(0, b, step):
            stop = min(start + step, b)
            yield slice(first + start, first + stop), pixels[start:stop]


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
    if mask.all():
        result = operation(images)
        if result is not images:
            images.copy_(result)
    elif mask.any():
        chosen = to_device(np.flatnonzero(mask), images.device)
        images.index_copy_(0, chosen, operation(images.index_select(0, chosen)))


def _normalise(images: Tensor, out: Tensor) -> None:
    mean, std = color.constants(images.device, MEAN, STD)
    torch.sub(images, mean, out=out).div_(std)
