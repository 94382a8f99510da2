"""Map-style torch Datasets of (input, target): a pair (train, val), a triple (train, val, test), or a single one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from autoft.data.decode import Frame, fit, from_array, quietly, upright
from autoft.data.items import Row
from autoft.data.sources.arrays import check_finite, tensor_dtype
from autoft.data.sources.files import image_fields, needed
from autoft.data.sources.listing import TEST, TRAIN, VAL, Listing, array_digest, digest
from autoft.errors import AutoftError, DataError, described
from autoft.record import FieldSpec

_ORDER = ((2, TEST), (0, TRAIN), (1, VAL))
"""Where each split stands in the triple; names sort in this order."""
_ONLY = "only"
"""What the items of a single Dataset are called."""


@dataclass(frozen=True)
class DatasetItems:
    """Items of torch Datasets, one behind the other. What is read must be what was read before."""

    datasets: tuple[Any, ...]
    places: NDArray[np.int64]
    """Dataset and index of each item (n, 2)."""
    names: tuple[str, ...]
    digests: tuple[bytes, ...]
    fields: Mapping[str, FieldSpec]
    frame: Frame | None
    """None for tensors."""
    parallel: bool = False
    """A Dataset need not stand several threads."""

    @property
    def image(self) -> bool:
        """Whether items are images."""
        return self.frame is not None

    def read(self, index: int) -> Row:
        """One item.

        Raises:
            DataError: it is not the same as when it was read before, or the Dataset raises an exception of its own.
            one of `UNREADABLE`: it cannot be read, or a value is not finite.
        """
        dataset, number = self.places[index].tolist()
        value, target = _pair(self.datasets[dataset], number, self.names[index])
        arrays = arrays_of(value, self.names[index])
        if _item_digest(arrays, target) != self.digests[index]:
            raise DataError(
                f"{self.names[index]}: the Dataset gives another value each time it is read; take random augmentation "
                "out of it and use data.augment instead, so that it is drawn anew in every epoch"
            )
        if self.frame is not None:
            return {"input": fit(as_image(arrays["input"]), self.frame)}
        return {name: check_finite(array.astype(self.fields[name].dtype)) for name, array in arrays.items()}


def list_datasets(datasets: Sequence[Any], frame: Frame | None) -> Listing:
    """List the items of Datasets, reading each once: a pair or triple to learn from, or a single one.

    An input is an image (PIL, or uint8 of (H, W), (C, H, W) or (H, W, C) with one or three channels), a tensor, or a
    dict of tensors; a target is a class number, a vector of 0 and 1, or a number.

    Raises:
        DataError: not map-style Datasets, or inputs and targets that do not fit each other.
    """
    for split, dataset in zip((TRAIN, VAL, TEST) if len(datasets) > 1 else (_ONLY,), datasets, strict=False):
        _check_map_style(dataset, split)
    reader = _Reader(needs=frame)
    order = _ORDER if len(datasets) > 1 else ((0, _ONLY),)
    present = [(number, split) for number, split in order if number < len(datasets)]
    with quietly():
        for number, split in present:
            reader.read_all(datasets[number], number, split)
    if not reader.names:
        raise DataError("the Datasets hold no item that can be read; check that they are not empty")
    names = tuple(reader.names)
    origin = DatasetItems(
        tuple(datasets),
        np.array(reader.places, dtype=np.int64),
        names,
        tuple(reader.digests),
        reader.fields,
        needed(frame, "the Datasets") if reader.images else None,
    )
    return Listing(
        name=type(datasets[0]).__name__,
        names=names,
        labels=_labels(reader.targets),
        origin=origin,
        digests=origin.digests,
        given=np.array([name.partition("/")[0] for name in names]) if len(datasets) > 1 else None,
        classes=_class_names(datasets[0]),
        lost=tuple(reader.lost),
    )


class _Reader:
    """Reads every item once, and remembers all but its input."""

    def __init__(self, needs: Frame | None) -> None:
        self.names: list[str] = []
        self.places: list[tuple[int, int]] = []
        self.digests: list[bytes] = []
        self.targets: list[Any] = []
        self.lost: list[str] = []
        self.fields: Mapping[str, FieldSpec] = {}
        self.images = False
        self._frame = needs

    def read_all(self, dataset: Any, number: int, split: str) -> None:
        count = _length(dataset, split)
        width = max(6, len(str(count)))
        for index in range(count):
            name = f"{split}/{index:0{width}}"
            try:
                value, target = _pair(dataset, index, name)
                arrays, plain = arrays_of(value, name), _plain(target, name)
            except OSError:
                self.lost.append(name)
                continue
            self._check(arrays, name)
            self.names.append(name)
            self.places.append((number, index))
            self.digests.append(_item_digest(arrays, target))
            self.targets.append(plain)

    def _check(self, arrays: Mapping[str, NDArray[Any]], name: str) -> None:
        images = set(arrays) == {"input"} and arrays["input"].dtype == np.uint8
        if images:
            fields = image_fields(needed(self._frame, "the Datasets"))
            as_image(arrays["input"], name)
        else:
            fields = {key: FieldSpec(array.shape, tensor_dtype(array.dtype)) for key, array in arrays.items()}
        if not self.fields:
            self.fields, self.images = fields, images
        elif fields != self.fields:
            raise DataError(
                f"{name}: its input is {_described(fields)}, but that of the first item {_described(self.fields)}; "
                "all items must be alike (pad texts to one length)"
            )


def _check_map_style(dataset: Any, split: str) -> None:
    if isinstance(dataset, torch.utils.data.IterableDataset) or not (
        hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")
    ):
        raise DataError(
            f"the {split} data are a {type(dataset).__name__}, not a map-style Dataset; "
            "give an object with __len__ and __getitem__"
        )
    if _length(dataset, split) == 0:
        remedy = "give at least one item" + (", or leave it out" if split == TEST else "")
        raise DataError(f"the {split} Dataset is empty; {remedy}")


def _length(dataset: Any, split: str) -> int:
    try:
        return len(dataset)
    except Exception as error:
        raise DataError(f"the {split} Dataset raised {described(error)} in __len__; mend it") from error


def _pair(dataset: Any, index: int, name: str) -> tuple[Any, Any]:
    """Input and target of an item.

    Raises:
        DataError: the Dataset raises an exception of its own, or gives no pair.
        OSError: the item cannot be read.
    """
    try:
        item = dataset[index]
    except (AutoftError, OSError):
        raise
    except Exception as error:
        raise DataError(
            f"{name}: the Dataset raised {described(error)} for item {index}; mend its __getitem__, or have it raise "
            "an OSError if the item's file is damaged: such items are left out"
        ) from error
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise DataError(f"{name}: a Dataset must give pairs (input, target), got {type(item).__name__}")
    return item[0], item[1]


def arrays_of(value: Any, name: str) -> dict[str, NDArray[Any]]:
    """An input as arrays; a single one is called ``input``."""
    if isinstance(value, Mapping):
        return {str(key): _array(part, name) for key, part in value.items()}
    return {"input": _pixels(value) if isinstance(value, Image.Image) else _array(value, name)}


def _array(value: Any, name: str) -> NDArray[Any]:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub":
        what = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
        raise DataError(f"{name}: an input must be a tensor of numbers, a dict of such or an image, got {what}")
    return value


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    """An image at its own size."""
    return np.asarray(upright(image), dtype=np.uint8)


def as_image(pixels: NDArray[Any], name: str = "the input") -> Image.Image:
    """An image of uint8 pixels; three dimensions are read as (C, H, W) where that is possible, as torch does."""
    shape = pixels.shape
    if len(shape) == 3 and shape[0] in {1, 3}:
        pixels = pixels.transpose(1, 2, 0)
    elif len(shape) != 2 and not (len(shape) == 3 and shape[2] in {1, 3}):
        raise DataError(
            f"{name}: a uint8 input is an image and must be (H, W), (C, H, W) or (H, W, C) with one or three channels, "
            f"got {shape}; give other inputs as another type"
        )
    return from_array(pixels)


def _item_digest(arrays: Mapping[str, NDArray[Any]], target: Any) -> bytes:
    parts = [part for name in sorted(arrays) for part in (name.encode(), array_digest(arrays[name]))]
    return digest(*parts, array_digest(np.asarray(_plain(target, "the target"))))


def _plain(target: Any, name: str) -> Any:
    """A target as a number, a text or an array."""
    if isinstance(target, torch.Tensor):
        target = target.detach().cpu().float().numpy() if target.is_floating_point() else target.cpu().numpy()
    if isinstance(target, list | tuple):
        target = np.asarray(target)
    if isinstance(target, np.ndarray | np.generic):
        target = target.item() if target.size == 1 and target.ndim == 0 else target
    if not isinstance(target, int | float | str | np.ndarray):
        raise DataError(f"{name}: a target must be a class number, a vector or a number, got {type(target).__name__}")
    return target


def _labels(targets: list[Any]) -> NDArray[Any]:
    kinds = {np.asarray(target).shape for target in targets}
    if len(kinds) > 1:
        raise DataError(f"targets differ in shape ({', '.join(map(str, sorted(kinds)))}); they must be alike")
    return np.asarray(targets)


def _class_names(dataset: Any) -> tuple[str, ...] | None:
    names = getattr(dataset, "classes", None)
    return tuple(names) if isinstance(names, list | tuple) and all(isinstance(name, str) for name in names) else None


def _described(fields: Mapping[str, FieldSpec]) -> str:
    return ", ".join(f"{name}: {spec.dtype} {spec.shape}" for name, spec in sorted(fields.items()))
