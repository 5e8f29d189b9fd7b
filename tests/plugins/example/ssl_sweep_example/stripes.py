"""A data set: stripes of four directions."""

import numpy as np
from ssl_sweep.datasets.registry import Dataset
from ssl_sweep.datasets.sources import Source, SourceRequest, array_rows, split_off_test

STRIPES = Dataset(
    name="stripes",
    description="160 images of stripes in four directions, 16x16; nothing to download",
    image_size=16,
    open=f"{__name__}:stripes",
)


def stripes(_request: SourceRequest) -> Source:
    """40 images of each direction."""
    generator = np.random.default_rng(0)
    labels = np.arange(160) % 4
    x, y = np.mgrid[0:16, 0:16]
    waves = [
        np.sin((x * np.cos(a) + y * np.sin(a)) * 1.5 + p) for a, p in zip(labels * np.pi / 4, range(160), strict=True)
    ]
    gray = (127 + 100 * np.stack(waves) + generator.normal(0, 8, (160, 16, 16))).clip(0, 255).astype(np.uint8)
    return split_off_test(("0", "45", "90", "135"), array_rows(np.repeat(gray[..., None], 3, -1), labels, "stripes"))
