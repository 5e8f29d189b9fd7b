"""The same views out of torchvision's transforms, one Pillow image at a time, as most code bases have them."""

import random
from collections.abc import Callable

import torch
from PIL import Image, ImageFilter
from ssl_sweep.datasets.color import MEAN, STD
from ssl_sweep.methods.config import GaussianBlur, ViewConfig, ViewsConfig
from torch import Tensor
from torchvision.transforms import v2


def torchvision_views(views: ViewsConfig, size: int) -> Callable[[Image.Image], list[Tensor]]:
    kinds = [(view.count, transform(view, view.pixels(size))) for view in (*views.global_views, *views.local_views)]
    return lambda image: [kind(image) for count, kind in kinds for _ in range(count)]


def transform(view: ViewConfig, size: int) -> v2.Compose:
    steps = [
        v2.RandomResizedCrop(size, view.scale, view.ratio, v2.InterpolationMode(view.interpolation)),
        v2.RandomHorizontalFlip(view.flip),
    ]
    if view.jitter is not None:
        brightness, contrast, saturation, hue, p = view.jitter.model_dump().values()
        steps.append(v2.RandomApply([v2.ColorJitter(brightness, contrast, saturation, hue)], p))
    steps.append(v2.RandomGrayscale(view.grayscale))
    if view.blur is not None:
        steps.append(v2.RandomApply([v2.Lambda(_Blur(view.blur))], view.blur.p))
    if view.solarize is not None:
        steps.append(v2.RandomSolarize(view.solarize.threshold, view.solarize.p))
    return v2.Compose([*steps, v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])


class _Blur:
    def __init__(self, config: GaussianBlur):
        self.sigma = config.sigma

    def __call__(self, image: Image.Image) -> Image.Image:
        return image.filter(ImageFilter.GaussianBlur(random.uniform(*self.sigma)))
