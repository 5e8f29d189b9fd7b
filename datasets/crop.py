"""Crops of single images, made on a CPU with torch's own antialiased resize, which is within a grey level of Pillow's."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..methods.config import ViewsConfig
from .resample import Filter
from .view_parameters import drawn_views


class Crops(NamedTuple):
    """What is cut out of the images of a batch, at the size of each view and in whole grey levels."""

    pixels: list[
        Tensor
    ]  # for each kind of view (V * B, 3, S, S), uint8: its first views of all images, then the second
    sizes: Tensor  # (B, 2), int64, on the CPU: height and width of the images that they are cut from


def crop(image: Tensor, box: list[int], flip: bool, size: int, kind: Filter) -> Tensor:
    """``image.crop(box).resize(size)`` of an image (3, H, W), uint8 with any strides: (3, size, size)."""
    x0, y0, x1, y1 = box
    resized = _resize(image[:, y0:y1, x0:x1], size, size, kind)
    return resized.flip(-1) if flip else resized


def evaluation_crop(image: Tensor, image_size: int) -> Tensor:
    """Shorter side to `evaluation_side`, then the central square, as torchvision's `Resize` and `CenterCrop`."""
    height, width = image.shape[1:]
    shorter, side = min(height, width), evaluation_side(image_size)
    height, width = side * height // shorter, side * width // shorter
    top, left = round((height - image_size) / 2), round((width - image_size) / 2)
    resized = _resize(image, height, width, "bilinear")
    return resized[:, top : top + image_size, left : left + image_size]


def evaluation_crops(images: list[Tensor], image_size: int) -> Crops:
    """`evaluation_crop` of images (3, H, W), uint8, of any sizes."""
    sizes = torch.tensor([image.shape[1:] for image in images])
    return Crops([torch.stack([evaluation_crop(image, image_size) for image in images])], sizes)


def evaluation_side(image_size: int) -> int:
    """Pixels of the shorter side before the central crop: 256/224 of it from 224 on, as is usual, and below the crop's own."""
    return round(image_size * 256 / 224) if image_size >= 224 else image_size


def view_crops(
    images: list[Tensor], views: ViewsConfig, image_size: int, *, seed: int, epoch: int, samples: Tensor
) -> Crops:
    """Cut what `make_views` makes views of. images: B of (3, H, W), uint8, of any sizes; samples: (B,)."""
    sizes = torch.tensor([image.shape[1:] for image in images])
    pixels: list[Tensor] = []
    for view, drawn in drawn_views(views, sizes.numpy(), seed=seed, epoch=epoch, samples=samples.numpy()):
        size = view.pixels(image_size)
        out = torch.empty(len(drawn.crop), 3, size, size, dtype=torch.uint8)
        boxes, flips = drawn.crop.tolist(), drawn.flip.tolist()
        for row, (box, flip) in enumerate(zip(boxes, flips, strict=True)):
            out[row] = crop(images[row % len(images)], box, flip, size, view.interpolation)
        pixels.append(out)
    return Crops(pixels, sizes)


def _resize(image: Tensor, height: int, width: int, kind: Filter) -> Tensor:
    if image.shape[1:] == (height, width):
        return image
    return F.interpolate(image[None], (height, width), mode=kind, antialias=True)[0]
