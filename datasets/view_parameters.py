"""What is drawn for each view of each image: a function of (seed, epoch, sample, view), made on the CPU.

Being small, and there, they also tell which images an operation concerns without waiting for the device.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..methods.config import ViewConfig, ViewsConfig
from .random_stream import uniforms

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

TRIES = 10
"""Of torchvision's RandomResizedCrop, before it takes a central crop."""

SLOTS = 2 * TRIES + 16


class ViewParameters(NamedTuple):
    """All (B,) but where noted."""

    crop: Ints  # (B, 4): x0, y0, x1, y1 in pixels of the source
    flip: Bools
    jitter: Bools
    factors: Floats  # (B, 4): brightness, contrast, saturation, hue
    order: Ints  # (B, 4): the place in `factors` of what comes first, second, ...
    gray: Bools
    blur: Bools
    sigma: Floats
    solarize: Bools

    def rows(self, chosen: slice) -> "ViewParameters":
        """The parameters of some of the images."""
        crop, flip, jitter, factors, order, gray, blur, sigma, solarize = self
        return ViewParameters(
            crop[chosen],
            flip[chosen],
            jitter[chosen],
            factors[chosen],
            order[chosen],
            gray[chosen],
            blur[chosen],
            sigma[chosen],
            solarize[chosen],
        )


def drawn_views(
    views: ViewsConfig, sizes: Ints, *, seed: int, epoch: int, samples: Ints
) -> Iterator[tuple[ViewConfig, ViewParameters]]:
    """Each kind of view, global ones first, with the parameters of all its views: (V * B,), the first view of all first.

    sizes: (B, 2), height and width; samples: (B,), the stable number of each image in its data set.
    """
    index = 0
    for view in (*views.global_views, *views.local_views):
        numbers = range(index, index + view.count)
        uniform = np.concatenate([uniforms(seed, epoch, samples, number, SLOTS) for number in numbers])
        yield view, view_parameters(view, np.tile(sizes, (view.count, 1)), uniform)
        index += view.count


def view_parameters(view: ViewConfig, sizes: Ints, uniform: Floats) -> ViewParameters:
    """Parameters from `uniform` numbers (B, SLOTS), for sources of `sizes` (B, 2), height and width."""
    tries, place, rest = np.split(uniform, [2 * TRIES, 2 * TRIES + 2], axis=1)
    flip, jitter, gray, blur, sigma, solarize = rest[:, :6].T
    strengths = view.jitter
    if strengths is None:
        low, high = np.zeros(4), np.zeros(4)
    else:
        spread = np.array([strengths.brightness, strengths.contrast, strengths.saturation])
        low = np.append(np.maximum(0, 1 - spread), -strengths.hue)
        high = np.append(1 + spread, strengths.hue)
    sigmas = view.blur.sigma if view.blur else (1.0, 1.0)
    return ViewParameters(
        crop=_random_resized_crop(view, sizes, tries.reshape(-1, TRIES, 2), place),
        flip=flip < view.flip,
        jitter=jitter < (strengths.p if strengths else 0),
        factors=low + (high - low) * rest[:, 6:10],
        order=np.argsort(rest[:, 10:14], axis=1, kind="stable"),
        gray=gray < view.grayscale,
        blur=blur < (view.blur.p if view.blur else 0),
        sigma=sigmas[0] + (sigmas[1] - sigmas[0]) * sigma,
        solarize=solarize < (view.solarize.p if view.solarize else 0),
    )


def _random_resized_crop(view: ViewConfig, sizes: Ints, tries: Floats, place: Floats) -> Ints:
    """Crops (B, 4) as torchvision's `RandomResizedCrop.get_params`. tries: (B, TRIES, 2); place: (B, 2)."""
    height, width = sizes.T
    area = (height * width)[:, None] * _between(view.scale, tries[..., 0])  # (B, TRIES)
    log_ratio = (float(np.log(view.ratio[0])), float(np.log(view.ratio[1])))
    aspect = np.exp(_between(log_ratio, tries[..., 1]))
    w = np.rint(np.sqrt(area * aspect)).astype(np.int64)
    h = np.rint(np.sqrt(area / aspect)).astype(np.int64)
    fits = (w > 0) & (w <= width[:, None]) & (h > 0) & (h <= height[:, None])
    first = fits.argmax(axis=1)[:, None]
    fallback = ~fits.any(axis=1)
    # the largest central crop of an allowed ratio
    ratio = width / height
    central_w = np.where(ratio > view.ratio[1], np.rint(height * view.ratio[1]), width).astype(np.int64)
    central_h = np.where(ratio < view.ratio[0], np.rint(width / view.ratio[0]), height).astype(np.int64)
    w = np.where(fallback, central_w, np.take_along_axis(w, first, axis=1)[:, 0])
    h = np.where(fallback, central_h, np.take_along_axis(h, first, axis=1)[:, 0])
    x = np.where(fallback, (width - w) // 2, np.floor(place[:, 0] * (width - w + 1))).astype(np.int64)
    y = np.where(fallback, (height - h) // 2, np.floor(place[:, 1] * (height - h + 1))).astype(np.int64)
    return np.stack([x, y, x + w, y + h], axis=1)


def _between(bounds: tuple[float, float], share: Floats) -> Floats:
    return bounds[0] + (bounds[1] - bounds[0]) * share
