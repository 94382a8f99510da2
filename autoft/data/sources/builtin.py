"""Data sets that come with an installed package."""

from collections.abc import Callable, Mapping

import numpy as np

from autoft.data.decode import Frame
from autoft.data.sources.arrays import Block, arrays_listing
from autoft.data.sources.listing import Listing


def digits(frame: Frame | None) -> Listing:
    """scikit-learn's digits: 1,797 grey images of 8 x 8 pixels and 17 levels, ten classes."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 - takes a second

    images, labels = load_digits(return_X_y=True)
    pixels = np.rint(images.reshape(-1, 8, 8) * (255.0 / 16.0)).astype(np.uint8)
    return arrays_listing("digits", [Block("", pixels, labels.astype(np.int64))], frame, where="digits")


BUILTINS: Mapping[str, Callable[[Frame | None], Listing]] = {"digits": digits}
