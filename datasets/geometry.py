"""Where in an image a crop lies, and how it is resized: in numbers that a CPU's and a GPU's code can both be exact about."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class Geometry(NamedTuple):
    """Of each of N results of the same size. Filters do not look beyond the box."""

    boxes: Ints  # (N, 4): x0, y0, x1, y1 of what is resized, in whole pixels of the source
    steps: NDArray[np.float64]  # (N, 2): pixels of the source for one of the resized box, across and down
    places: Ints  # (N, 2): left and top of the result within the resized box, in its pixels
    flips: NDArray[np.bool_]  # (N,)

    def rows(self, chosen: slice) -> "Geometry":
        """Of some of the results; contiguous."""
        return Geometry(
            np.ascontiguousarray(self.boxes[chosen]),
            np.ascontiguousarray(self.steps[chosen]),
            np.ascontiguousarray(self.places[chosen]),
            np.ascontiguousarray(self.flips[chosen]),
        )

    def edges(self, size: int) -> NDArray[np.float64]:
        """x0, y0, x1, y1 in the source of the edges of results of `size` pixels, (N, 4); x0 > x1 where flipped."""
        start = self.boxes[:, :2] + self.places * self.steps
        edges = np.concatenate([start, start + size * self.steps], axis=1)
        return np.where(self.flips[:, None], edges[:, [2, 1, 0, 3]], edges)


def random_crops(boxes: Ints, flips: NDArray[np.bool_], size: int) -> Geometry:
    """The boxes (N, 4) at `size` pixels: ``image.crop(box).resize((size, size))``."""
    return Geometry(boxes, (boxes[:, 2:] - boxes[:, :2]) / size, np.zeros((len(boxes), 2), np.int64), flips)


def central_crops(sizes: Ints, image_size: int) -> Geometry:
    """As torchvision's `Resize` and `CenterCrop` to `image_size` pixels, of images of `sizes` (N, 2), height and width.

    The shorter side becomes the crop's; from 224 pixels on 256/224 of it, as is usual.
    """
    shorter = round(image_size * 256 / 224) if image_size >= 224 else image_size
    resized = shorter * sizes // sizes.min(axis=1, keepdims=True)
    places = np.rint((resized - image_size) / 2).astype(np.int64)
    boxes = np.concatenate([np.zeros_like(sizes), sizes[:, ::-1]], axis=1)
    across = [np.ascontiguousarray(values[:, ::-1]) for values in (sizes / resized, places)]
    return Geometry(boxes, across[0], across[1], np.zeros(len(sizes), np.bool_))
