"""Any of the corruptions of a batch of crops."""

from collections.abc import Callable

import torch
from torch import Tensor

from ...methods.parts.draws import Purpose, sample_keys
from . import blur, digital, noise, weather
from .filters import whole
from .names import CORRUPTIONS, Corruption

SEED = 0
"""The corrupted images are part of the benchmark: the same for every trial, whatever its seed."""
PIXELS = 1 << 20
"""Of the images that are worked on at once: a few hundred megabytes."""

FUNCTIONS: dict[Corruption, Callable[[Tensor, Tensor, int], Tensor]] = {
    "gaussian_noise": noise.gaussian_noise,
    "shot_noise": noise.shot_noise,
    "impulse_noise": noise.impulse_noise,
    "defocus_blur": blur.defocus_blur,
    "glass_blur": blur.glass_blur,
    "motion_blur": blur.motion_blur,
    "zoom_blur": blur.zoom_blur,
    "snow": weather.snow,
    "frost": weather.frost,
    "fog": weather.fog,
    "brightness": weather.brightness,
    "contrast": digital.contrast,
    "elastic_transform": digital.elastic_transform,
    "pixelate": digital.pixelate,
    "jpeg_compression": digital.jpeg_compression,
}


def corrupted(levels: Tensor, samples: Tensor, name: Corruption, severity: int) -> Tensor:
    """Crops (B, 3, S, S), uint8, under a corruption of severity 1 to 5; the result has the same form.

    What is drawn for an image depends on its number in the data set, samples (B,), and on corruption and severity alone.
    """
    keys = sample_keys(SEED, Purpose.CORRUPTION, 10 * CORRUPTIONS.index(name) + severity, samples)
    made = torch.empty_like(levels)
    count = max(1, PIXELS // levels[0, 0].numel()) if len(levels) else 1
    for start in range(0, len(levels), count):
        part = slice(start, start + count)
        images = levels[part].double() / 255
        made[part] = whole(FUNCTIONS[name](images, keys[part], severity)).to(torch.uint8)
    return made
