"""Labelled items that a model was not made from, with their labels as its task has them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoft.data.decode import Frame
from autoft.data.items import Origin, Row
from autoft.data.labels import INTEGER, Targets, few, read_labels
from autoft.data.named import KINDS
from autoft.data.open import fingerprint
from autoft.data.sources import Listing, list_items
from autoft.data.sources.datasets import list_datasets
from autoft.data.sources.listing import SPLIT_NAMES, TRAIN
from autoft.data.task import Task
from autoft.errors import DataError, UnknownNameError, near
from autoft.shards import ShardStore, default_max_bytes, default_roots

_OWN = (
    "these are the data that the model was made from: it was trained on those in train and chosen by those in val, so "
    "that only the items in test say what it is worth (--split test)"
)


@dataclass(frozen=True)
class Origins:
    """The items that a model was made from."""

    fingerprint: str
    """Of the data."""
    split: Mapping[str, str]
    """In which split each item was."""


@dataclass(frozen=True)
class Labelled:
    """Items by number."""

    name: str
    """Of the data set."""
    names: tuple[str, ...]
    targets: NDArray[Any]
    """As the task has them."""
    groups: NDArray[np.str_] | None
    """Names of what belongs together, so that no item stands for itself; None where each does."""
    lost: tuple[str, ...]
    """What could not be read so far that its label is known."""
    notes: tuple[str, ...]
    origin: Origin
    rows: NDArray[np.int64]
    """The origin's number of each item."""

    @property
    def parallel(self) -> bool:
        """Whether several threads may read at once."""
        return self.origin.parallel

    def read(self, index: int) -> Row:
        """One item, decoded.

        Raises:
            one of `UNREADABLE`: it cannot be read.
        """
        return self.origin.read(int(self.rows[index]))


def labelled(
    source: Any, task: Task, frame: Frame | None, *, split: str | None = None, made_from: Origins | None = None
) -> Labelled:
    """Items with labels, whatever splits there are.

    Args:
        source: a folder of class folders, a CSV or parquet manifest, an .npz file, a built-in name, or a map-style
            Dataset of (input, target), of which a list of pairs is one.
        task: the model's. Labels are matched to its classes by name; the numbers of a source that has no names for them
            are the numbers of the model's outputs, where its classes have names.
        frame: what images are brought to; None where the model takes tensors.
        split: only the items that are in it: train, val or test, as the source says, or as they were drawn where these
            are the data that the model was made from.
        made_from: those data.

    Raises:
        DataError: no items, labels that are none of the task's, or inputs of another kind than the model takes.
        UnknownNameError: no such split, source or label.
    """
    listing = _listed(source, task, frame)
    if listing.origin.image != (frame is not None):
        has, takes = ("images", "tensors") if listing.origin.image else ("tensors", "images")
        raise DataError(f"{listing.name}: holds {has}, but the model takes {takes}; give data like those of the search")
    found = read_labels(listing, task.kind)
    own = made_from is not None and made_from.fingerprint == fingerprint(listing, found, task.kind)
    if own and made_from:
        listing = replace(listing, given=np.array([made_from.split.get(name, "") for name in listing.names]))
    targets = _targets_of(listing, found, task)
    rows = _chosen(listing, split)
    return Labelled(
        name=listing.name,
        names=tuple(listing.names[row] for row in rows),
        targets=targets[rows],
        groups=None if listing.groups is None else listing.groups[rows],
        lost=listing.lost,
        notes=(*listing.notes, *_flattering(listing, split, own=own)),
        origin=listing.origin,
        rows=rows,
    )


def _listed(source: Any, task: Task, frame: Frame | None) -> Listing:
    if isinstance(source, str | Path):
        if frame is None and Path(source).suffix.lower() != ".npz":
            raise DataError(f"{source}: the model takes tensors; give an .npz file, or a Dataset as in the search")
        root = default_roots()["items"]
        return list_items(source, frame, kind=task.kind, store=ShardStore(root, default_max_bytes(root)))
    if isinstance(source, tuple) or not (hasattr(source, "__getitem__") and hasattr(source, "__len__")):
        raise DataError(
            f"data must be {KINDS} or one map-style Dataset of (input, target), got {type(source).__name__}"
        )
    return list_datasets([source], frame)


def _targets_of(listing: Listing, found: Targets, task: Task) -> NDArray[Any]:
    """The labels, numbered as the model's outputs are."""
    match task.kind:
        case "regression":
            return found.values
        case "multi_label":
            if not listing.classes and listing.labels.ndim > 1 and listing.labels.shape[1] == len(task.classes):
                return found.values
            used = [found.classes[column] for column in np.flatnonzero(found.values.any(axis=0))]
            places = _places(listing, used, task.classes)
            matrix = np.zeros((len(found.values), len(task.classes)), dtype=np.float32)
            for column, name in enumerate(found.classes):
                if name in places:
                    matrix[:, places[name]] = found.values[:, column]
            return matrix
        case "single_label":
            numbers = np.asarray(listing.labels)
            named = listing.classes or any(INTEGER.fullmatch(name) for name in task.classes)
            if numbers.dtype.kind in "iub" and not named:
                found = Targets(_checked(listing, numbers.astype(np.int64).ravel(), len(task.classes)), task.classes)
            used = [found.classes[number] for number in np.unique(found.values)]
            places = _places(listing, used, task.classes)
            mine = np.array([places.get(name, -1) for name in found.classes], dtype=np.int64)
            return np.asarray(mine[found.values])


def _checked(listing: Listing, numbers: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    outside = np.flatnonzero((numbers < 0) | (numbers >= classes))
    if len(outside):
        place = int(outside[0])
        raise DataError(
            f"{listing.name}: {listing.place(place)} has the class number {numbers[place]}, but the model has "
            f"{classes} classes, 0 to {classes - 1}; correct it"
        )
    return numbers


def _places(listing: Listing, used: Sequence[str], classes: Sequence[str]) -> dict[str, int]:
    """The model's output of each class that occurs.

    Raises:
        UnknownNameError: a class that the model does not know.
    """
    known = {name: place for place, name in enumerate(classes)}
    if strange := [name for name in used if name not in known]:
        raise UnknownNameError(
            f"{listing.name}: the class {strange[0]!r} is none of the model's ({few(classes)})"
            f"{near(strange[0], classes)}; rename it, or leave its items out"
        )
    return {name: known[name] for name in used}


def _chosen(listing: Listing, split: str | None) -> NDArray[np.int64]:
    if split is None:
        return np.arange(len(listing.names), dtype=np.int64)
    if split.lower() not in SPLIT_NAMES:
        raise UnknownNameError(f"split {split!r} is none of train, val and test{near(split, SPLIT_NAMES)}")
    if listing.given is None:
        raise DataError(f"{listing.name}: says of no item in which split it is; evaluate all of them, without a split")
    rows = np.flatnonzero(listing.given == SPLIT_NAMES[split.lower()]).astype(np.int64)
    if not len(rows):
        there = ", ".join(sorted(set(listing.given.tolist())))
        raise DataError(f"{listing.name}: has no items in {split}; it has {there}")
    return rows


def _flattering(listing: Listing, split: str | None, *, own: bool) -> tuple[str, ...]:
    """What is to be told where a model is evaluated on what made it, or may have."""
    if split is not None or listing.given is None or not (listing.given == TRAIN).any():
        return ()
    if own:
        return (_OWN,)
    trained = int((listing.given == TRAIN).sum())
    told = f"{trained} of the {len(listing.names)} items are for training, by their split; if the model was made from"
    return (f"{told} them, only the items in test say what it is worth (--split test)",)
