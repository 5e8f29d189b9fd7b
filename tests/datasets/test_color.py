"""Colour operations against torchvision's on float tensors."""

import pytest
import torch
import torchvision.transforms.functional as reference
from ssl_sweep.datasets import color

PAIRS = [
    (color.brightness_, reference.adjust_brightness, 0.0, 1.8),
    (color.contrast_, reference.adjust_contrast, 0.0, 1.8),
    (color.saturation_, reference.adjust_saturation, 0.0, 1.8),
    (color.hue, reference.adjust_hue, -0.5, 0.5),
]


@pytest.fixture
def images() -> torch.Tensor:
    """Whole grey levels, so that ties between channels occur; one image is gray, one black, one white."""
    images = torch.randint(0, 256, (24, 3, 16, 16), generator=torch.Generator().manual_seed(0)) / 255
    images[0] = images[0, :1]
    images[1], images[2] = 0, 1
    images[3] = (images[3] * 3).round() / 3
    return images


@pytest.mark.parametrize("ours, theirs, low, high", PAIRS)
def test_jitter_operations(images, ours, theirs, low, high):
    factors = torch.linspace(low, high, len(images))
    expected = torch.stack([theirs(image, factor) for image, factor in zip(images, factors.tolist(), strict=True)])
    torch.testing.assert_close(ours(images.clone(), factors), expected, atol=4e-6, rtol=0)


def test_gray_and_solarize(images):
    torch.testing.assert_close(color.gray(images), reference.rgb_to_grayscale(images), atol=1e-6, rtol=0)
    torch.testing.assert_close(color.solarize(images, 128 / 255), reference.solarize(images, 128 / 255))
