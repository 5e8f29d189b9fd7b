"""The digits that come with scikit-learn."""

from typing import Any, cast

import numpy as np

from .sources import Source, SourceRequest, array_rows, split_off_test

DIGITS_TEST = 360


def digits(_request: SourceRequest) -> Source:
    """scikit-learn's 1,797 digits: gray levels 0 to 16 become 0 to 255; 360 images are the test set."""
    from sklearn.datasets import load_digits  # slow to import, and only this source needs it

    data = cast(Any, load_digits())
    gray = np.round(data.images * (255 / 16)).astype(np.uint8)
    images = np.repeat(gray[..., None], 3, axis=-1)
    rows = array_rows(images, data.target.astype(np.int64), "digits")
    return split_off_test(tuple(str(digit) for digit in range(10)), rows, share=DIGITS_TEST / len(images))
