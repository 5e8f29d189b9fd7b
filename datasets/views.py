"""Views of a batch of images, made on their device, each image with its own parameters."""

from types import ModuleType
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..methods.base import Batch, View
from ..methods.config import ViewConfig, ViewsConfig
from ..methods.parts.device import to_device
from . import color
from .geometry import central_crops, random_crops
from .view_parameters import ViewParameters, drawn_views


class Images(NamedTuple):
    """Whole images of one size, on any device."""

    pixels: Tensor  # (B, 3, H, W), uint8

    @property
    def sizes(self) -> Tensor:
        return torch.tensor([self.pixels.shape[2:]]).repeat(len(self.pixels), 1)


class Crops(NamedTuple):
    """What is cut out of the images of a batch, at the size of each view and in whole grey levels, on any device."""

    pixels: list[Tensor]
    """For each kind of view (V * B, 3, S, S), uint8: its first views of all images, then the second."""
    sizes: Tensor  # (B, 2), int64, on the CPU: height and width of the images that they are cut from


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
    the device changes it. Crops have to be those of `cut_views` with the same arguments.
    """
    made: list[View] = []
    sizes = images.sizes.numpy()
    kinds = drawn_views(views, sizes, seed=seed, epoch=epoch, samples=samples.numpy())
    for number, (view, parameters) in enumerate(kinds):
        if isinstance(images, Crops):
            image = _maker(images.pixels[number]).finish(images.pixels[number], view, parameters)
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
    maker = _maker(pixels)
    geometry = random_crops(parameters.crop, parameters.flip, size)
    return maker.finish(maker.cut(pixels, geometry, size, view.interpolation), view, parameters)


def cut_views(
    images: list[Tensor], views: ViewsConfig, image_size: int, *, seed: int, epoch: int, samples: Tensor
) -> Crops:
    """What `make_views` makes views of. images: B of (3, H, W), uint8, of any sizes, on the CPU; samples: (B,)."""
    sizes = _sizes(images)
    pixels: list[Tensor] = []
    for view, drawn in drawn_views(views, sizes.numpy(), seed=seed, epoch=epoch, samples=samples.numpy()):
        size = view.pixels(image_size)
        geometry = random_crops(drawn.crop, drawn.flip, size)
        out = torch.empty(view.count, len(images), 3, size, size, dtype=torch.uint8)
        for i, image in enumerate(images):
            of_image = geometry.rows(slice(i, None, len(images)))
            out[:, i] = _maker(image).cut(image[None], of_image, size, view.interpolation)
        pixels.append(out.flatten(0, 1))
    return Crops(pixels, sizes)


def evaluation_view(images: Images, image_size: int) -> Tensor:
    """The images as evaluation sees them, (B, 3, S, S): see `central_crops`. Bilinear."""
    geometry = central_crops(images.sizes.numpy(), image_size)
    return normalised(_maker(images.pixels).cut(images.pixels, geometry, image_size, "bilinear"))


def cut_evaluation_views(images: list[Tensor], image_size: int) -> Crops:
    """What `normalised` makes evaluation's views of. images: B of (3, H, W), uint8, of any sizes, on the CPU."""
    sizes = _sizes(images)
    geometry = central_crops(sizes.numpy(), image_size)
    crops = [
        _maker(image).cut(image[None], geometry.rows(slice(i, i + 1)), image_size, "bilinear")
        for i, image in enumerate(images)
    ]
    return Crops([torch.cat(crops)], sizes)


def normalised(levels: Tensor) -> Tensor:
    """Crops (N, 3, S, S), uint8, as a network takes them."""
    mean, std = color.constants(levels.device, color.MEAN, color.STD)
    return (levels / 255).sub_(mean).div_(std)


def _maker(pixels: Tensor) -> ModuleType:
    """What cuts and colours on the device. Imported when needed: the CPU's compiles for some seconds the first time."""
    if pixels.device.type == "cpu":
        from . import views_on_cpu as maker
    else:
        from . import views_on_gpu as maker
    return maker


def _sizes(images: list[Tensor]) -> Tensor:
    return torch.tensor([image.shape[1:] for image in images])


def _shares(parameters: ViewParameters, sizes: NDArray[np.int64]) -> NDArray[np.float32]:
    """Crops (N, 4) as shares of their images' width and height, x0 > x1 where flipped."""
    box = np.where(parameters.flip[:, None], parameters.crop[:, [2, 1, 0, 3]], parameters.crop).astype(np.float32)
    height, width = sizes.T
    return box / np.stack([width, height, width, height], axis=1).astype(np.float32)
