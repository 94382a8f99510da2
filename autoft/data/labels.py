"""From raw labels to the targets of a task."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoft.data.metrics import TaskKind
from autoft.data.sources.listing import LABEL_SEPARATOR, Listing
from autoft.errors import DataError

INTEGER = re.compile(r"-?\d+")
"""A class name that is a number."""


@dataclass(frozen=True, slots=True)
class Targets:
    """Targets of all items, as `Task` wants them, and the names of the classes."""

    values: NDArray[Any]
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_labels(listing: Listing, kind: TaskKind) -> Targets:
    """Targets of all items.

    Raises:
        DataError: labels that are not what the kind of task needs (the first such item is named).
    """
    match kind:
        case "single_label":
            return _single_label(listing)
        case "multi_label":
            return _matrix(listing) if listing.labels.ndim > 1 else _multi_label(listing)
        case "regression":
            return _regression(listing)


def _single_label(listing: Listing) -> Targets:
    labels = _column(listing.labels)
    if labels.ndim != 1:
        raise DataError(
            f"{listing.name}: labels have shape {labels.shape}, but data.task is single_label; give one class per item "
            "(numpy.argmax of one-hot rows), or set data.task=multi_label"
        )
    if labels.dtype.kind == "f":
        raise DataError(
            f"{listing.name}: labels are floating point numbers ({listing.place(0)}: {labels[0]:g}), but data.task is "
            "single_label; give class names or integers, or set data.task=regression"
        )
    if labels.dtype.kind in "iub":
        return _numbered(listing, labels.astype(np.int64))
    found, values = np.unique(labels.astype(str), return_inverse=True)
    names = [str(name) for name in found]
    order = _class_order(names)
    rank = np.empty(len(names), dtype=np.int64)
    rank[order] = np.arange(len(names))
    return Targets(rank[values], tuple(names[number] for number in order))


def _column(labels: NDArray[Any]) -> NDArray[Any]:
    """Labels (n, 1) as (n,)."""
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels


def _numbered(listing: Listing, labels: NDArray[np.int64]) -> Targets:
    """Class numbers; where the source knows no names for them, the numbers are the names."""
    if listing.classes and labels.min() >= 0 and labels.max() < len(listing.classes):
        return Targets(labels, listing.classes)
    found, values = np.unique(labels, return_inverse=True)
    notes: tuple[str, ...] = ()
    if not np.array_equal(found, np.arange(len(found))):
        order = few(found.tolist())
        notes = (f"class numbers are not 0 to {len(found) - 1}: the outputs stand for {order} in this order",)
    return Targets(values.astype(np.int64), tuple(str(number) for number in found), notes)


def _class_order(names: list[str]) -> list[int]:
    """By number when all are integers, else by name."""
    if all(INTEGER.fullmatch(name) for name in names):
        return sorted(range(len(names)), key=lambda index: (int(names[index]), names[index]))
    return sorted(range(len(names)), key=names.__getitem__)


def _multi_label(listing: Listing) -> Targets:
    """Texts like ``cat;dog``; an empty one has none of the classes."""
    sets = [
        {part.strip() for part in str(label).split(LABEL_SEPARATOR) if part.strip()}
        for label in listing.labels.tolist()
    ]
    found = sorted(set().union(*sets))
    classes = tuple(found[number] for number in _class_order(found))
    if not classes:
        raise DataError(f"{listing.name}: no item has a label; separate labels by {LABEL_SEPARATOR}")
    number = {name: column for column, name in enumerate(classes)}
    values = np.zeros((len(sets), len(classes)), dtype=np.float32)
    for row, names in enumerate(sets):
        values[row, [number[name] for name in names]] = 1.0
    bare = sum(not names for names in sets)
    notes = (f"{bare} items have no label and count as none of the classes",) if bare else ()
    return Targets(values, classes, notes)


def _matrix(listing: Listing) -> Targets:
    labels = listing.labels
    if labels.ndim > 2:
        raise DataError(f"{listing.name}: labels have shape {labels.shape}; a multi_label task needs (items, classes)")
    if labels.dtype.kind not in "fiub" or not np.isin(labels, (0, 1)).all():
        raise DataError(f"{listing.name}: labels of a multi_label task must be 0 or 1 per class; correct them")
    width = labels.shape[1]
    names = listing.classes if listing.classes and len(listing.classes) == width else None
    return Targets(labels.astype(np.float32), names or tuple(str(number) for number in range(width)))


def _regression(listing: Listing) -> Targets:
    labels = _column(listing.labels)
    if labels.ndim != 1:
        raise DataError(f"{listing.name}: labels have shape {labels.shape}; a regression needs one number per item")
    values = np.empty(len(labels), dtype=np.float64)
    for index, label in enumerate(labels.tolist()):
        try:
            values[index] = float(label)
        except (TypeError, ValueError):
            values[index] = np.nan
        if not np.isfinite(values[index]):
            raise DataError(
                f"{listing.name}: {listing.place(index)} has the label {label!r}, which is not a number; "
                "correct it, or remove the item"
            )
    return Targets(values.astype(np.float32))


def few(values: Sequence[Any]) -> str:
    """The first six, and whether there are more."""
    return ", ".join(map(str, values[:6])) + (", ..." if len(values) > 6 else "")
