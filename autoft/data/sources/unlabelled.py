"""Items without labels: image files, or what a Dataset has as input."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from autoft.data.decode import Frame, decode, fit
from autoft.data.sources.arrays import tensor_dtype
from autoft.data.sources.datasets import arrays_of, as_image
from autoft.data.sources.folder import images_below
from autoft.errors import DataError


@dataclass(frozen=True)
class Unlabelled:
    """Items by number."""

    names: tuple[str, ...]
    """Of files their paths; of all else the place among what was given, from 0."""
    values: tuple[Any, ...]
    frame: Frame | None
    """What images are brought to; None where the model takes tensors."""

    def read(self, index: int) -> Mapping[str, NDArray[Any]]:
        """One item, decoded.

        Raises:
            DataError: not what such a model takes.
            one of `UNREADABLE`: it cannot be read.
        """
        value, name = self.values[index], self.names[index]
        if self.frame is None:
            return {key: array.astype(tensor_dtype(array.dtype)) for key, array in arrays_of(value, name).items()}
        if isinstance(value, Path):
            return {"input": decode(value.read_bytes(), self.frame)}
        arrays = arrays_of(value, name)
        if set(arrays) != {"input"} or arrays["input"].dtype != np.uint8:
            raise DataError(
                f"{name}: the model takes images; give files, PIL images or uint8 arrays (H, W, 3), got "
                f"{', '.join(f'{key}: {array.dtype} {array.shape}' for key, array in arrays.items())}"
            )
        return {"input": fit(as_image(arrays["input"], name), self.frame)}


def unlabelled(given: Any, frame: Frame | None) -> Unlabelled:
    """Items to be predicted.

    Args:
        given: files and folders of images (at any depth), PIL images or uint8 arrays; without a frame the inputs of a
            Dataset: tensors, or dicts of tensors. One of them, a sequence of them, or a tensor of several.
        frame: what images are brought to.

    Raises:
        DataError: nothing to predict, or something else.
    """
    found = [pair for value in _several(given, frame) for pair in _items(value, frame)]
    if not found:
        raise DataError("there is nothing to predict: no items were given")
    names = tuple(str(place) if name is None else name for place, (name, _) in enumerate(found))
    return Unlabelled(names, tuple(value for _, value in found), frame)


def _several(given: Any, frame: Frame | None) -> Sequence[Any]:
    if isinstance(given, str | Path | Image.Image | Mapping):
        return [given]
    if isinstance(given, np.ndarray | torch.Tensor):
        if frame is not None and given.ndim != 4:
            raise DataError(
                f"images of one array must be (N, H, W, 3), got {tuple(given.shape)}; put a single one in []"
            )
        return list(given)
    if not hasattr(given, "__iter__"):
        raise DataError(f"what is to be predicted must be files, images or tensors, got {type(given).__name__}")
    return list(given)


def _items(value: Any, frame: Frame | None) -> list[tuple[str | None, Any]]:
    """Names and values of the files that a path stands for; of all else the value alone."""
    if not isinstance(value, str | Path):
        return [(None, value)]
    path = Path(value)
    if frame is None:
        raise DataError(f"{path}: the model takes tensors, not image files; give tensors as its Dataset had them")
    if not path.exists():
        raise DataError(f"{path}: there is no such file or folder; give images, or folders of images")
    if not path.is_dir():
        return [(str(path), path)]
    below = images_below(path)
    if not below:
        raise DataError(f"{path}: there are no images in this folder; give images, or folders of images")
    return [(str(each), each) for each in below]
