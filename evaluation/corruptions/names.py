"""The fifteen corruptions by name. Free of torch."""

from typing import Literal, get_args

Corruption = Literal[
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
]

CORRUPTIONS: tuple[Corruption, ...] = get_args(Corruption)
"""In the paper's order, which is part of the draws: it never changes."""

SEVERITIES = (1, 2, 3, 4, 5)
