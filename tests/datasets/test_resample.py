"""Crops and blurs against Pillow's."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from ssl_sweep.datasets import color, views_on_cpu, views_on_gpu
from ssl_sweep.datasets.color import MEAN, STD
from ssl_sweep.datasets.geometry import central_crops, random_crops
from ssl_sweep.datasets.resample import resample
from ssl_sweep.datasets.views import Images, evaluation_view
from torchvision.transforms import v2

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def photo(generator: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Noise over a gradient (H, W, 3): edges for the filters to overshoot, and smooth parts."""
    ramp = np.linspace(0, 200, width)[None, :, None] + np.zeros((height, 1, 3))
    return np.clip(ramp + generator.integers(-80, 80, (height, width, 3)), 0, 255).astype(np.uint8)


def pillow_resize(image: Image.Image, size: int, kind: str, box: tuple[float, ...] | None = None) -> Image.Image:
    """``image.resize((size, size), box=box)``, the horizontal pass first whatever Pillow's version."""
    x0, y0, x1, y1 = box or (0, 0, *image.size)
    across = image.resize((size, image.height), FILTERS[kind], box=(x0, 0, x1, image.height))
    return across.resize((size, size), FILTERS[kind], box=(0, y0, size, y1))


def batch_of(image: np.ndarray, n: int) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None].repeat(n, 1, 1, 1)


@pytest.mark.parametrize("kind", ["bilinear", "bicubic"])
@pytest.mark.parametrize("height, width, size", [(40, 56, 32), (24, 20, 48), (120, 100, 40)])
def test_fractional_boxes_equal_pillow_resize_with_box(kind, height, width, size):
    generator = np.random.default_rng(size)
    image = photo(generator, height, width)
    n = 84  # times six cases: 504 boxes
    low = generator.uniform(0, 0.6, (n, 2)) * [width, height]
    high = low + generator.uniform(0.1, 1, (n, 2)) * ([width, height] - low)
    boxes = np.concatenate([low, high], axis=1)
    whole = np.tile(np.array([0, 0, width, height], np.float64), (n, 1))
    ours = resample(batch_of(image, n), boxes, whole, size, kind)
    pillow = Image.fromarray(image)
    for row, box in zip(ours, boxes, strict=True):
        theirs = np.asarray(pillow_resize(pillow, size, kind, tuple(box.tolist())), np.float32)
        assert np.abs(row.permute(1, 2, 0).numpy() - theirs).max() <= 1


@pytest.mark.parametrize("maker", [views_on_cpu, views_on_gpu])
@pytest.mark.parametrize("kind", ["bilinear", "bicubic"])
@pytest.mark.parametrize("side, size", [(32, 28), (90, 28), (40, 96)])
def test_crops_equal_crop_then_resize(maker, kind, side, size):
    """As torchvision's resized_crop: filters do not look beyond the crop. 600 boxes for each maker, bit for bit."""
    generator = np.random.default_rng(side)
    image = photo(generator, side, side + 8)
    corners = [[np.sort(generator.choice(n, 2, replace=False)) for n in (side + 9, side + 1)] for _ in range(100)]
    boxes = np.array(corners).transpose(0, 2, 1).reshape(100, 4)  # x0, y0, x1, y1
    flips = generator.random(100) < 0.5
    ours = maker.cut(batch_of(image, 1).repeat(100, 1, 1, 1), random_crops(boxes, flips, size), size, kind)
    for row, box, flip in zip(ours, boxes.tolist(), flips.tolist(), strict=True):
        crop = pillow_resize(Image.fromarray(image).crop(tuple(box)), size, kind)
        theirs = np.asarray(crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else crop)
        assert np.array_equal(row.permute(1, 2, 0).numpy(), theirs)


def test_blur_equals_three_box_filters_and_nearly_pillow():
    """Exact to the matrices written out in full; to Pillow within 3 levels of 255, 1 on average, on noise.

    Pillow rounds after each of its six passes.
    """
    generator = np.random.default_rng(0)
    sigma = np.linspace(0.1, 2.0, 20)
    image = photo(generator, 32, 32)
    ours = color.pillow_blur(batch_of(image, 20).float() / 255, torch.from_numpy(color.box_taps(sigma)))
    for row, s in zip(ours, sigma.tolist(), strict=True):
        theirs = np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(s)), np.float32)
        difference = np.abs(255 * row.permute(1, 2, 0).numpy() - theirs)
        assert difference.max() <= 3
        assert difference.mean() <= 1


def test_blur_is_close_to_a_gaussian():
    """Away from the edges, for a sigma above one pixel: the box filters' response to a step is the Gaussian's to 1.5 %."""
    step = torch.zeros(1, 3, 64, 64)
    step[..., 32:] = 1
    for sigma in (1.0, 1.5, 2.0):
        ours = color.pillow_blur(step, torch.from_numpy(color.box_taps(np.array([sigma]))))[0, 0, 32]
        kernel = torch.exp(-(torch.arange(-12.0, 13) ** 2) / (2 * sigma**2))
        exact = torch.nn.functional.conv1d(step[:, :1, 32], (kernel / kernel.sum())[None, None], padding=12)[0, 0]
        assert (ours - exact)[16:48].abs().max() < 0.015


@pytest.mark.parametrize("maker", [views_on_cpu, views_on_gpu])
@pytest.mark.parametrize("height, width, size", [(40, 57, 32), (50, 33, 48), (300, 400, 224)])
def test_evaluation_view_equals_resize_and_central_crop(maker, height, width, size):
    image = photo(np.random.default_rng(1), height, width)
    ours = maker.cut(batch_of(image, 1), central_crops(np.array([[height, width]]), size), size, "bilinear")[0]
    shorter = 256 if size == 224 else size
    theirs = v2.Compose([v2.Resize(shorter), v2.CenterCrop(size)])(Image.fromarray(image))
    assert np.abs(ours.permute(1, 2, 0).numpy() - np.asarray(theirs, np.int64)).max() <= 1


def test_evaluation_view_leaves_images_of_the_right_size_alone():
    image = photo(np.random.default_rng(2), 32, 32)
    ours = evaluation_view(Images(batch_of(image, 1)), 32)[0]
    np.testing.assert_allclose(255 * (ours.permute(1, 2, 0).numpy() * STD + MEAN), image, atol=1e-4)
