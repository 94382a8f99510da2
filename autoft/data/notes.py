"""What a person should know about the data before trusting a number from them, and what cannot be used at all."""

import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autoft.data.labels import Targets
from autoft.data.metrics import TaskKind
from autoft.data.sources.listing import TEST, TRAIN, VAL, Listing
from autoft.data.splits import Plan, Splits
from autoft.errors import DataError

_IMBALANCE = 10
_FEW_ITEMS = 5


def check_classes(listing: Listing, targets: Targets, kind: TaskKind, plan: Plan) -> None:
    """Refuse one class only, a class with fewer items than splits to draw, and a class that cannot be learnt.

    Raises:
        DataError: names the class.
    """
    if kind != "single_label":
        if bool((targets.values == targets.values[0]).all()):
            what = f"label {targets.values[0]:g}" if kind == "regression" else "labels"
            raise DataError(f"{listing.name}: all items have the same {what}; there is nothing to learn")
        return
    given = np.full(len(listing.names), TRAIN) if listing.given is None else listing.given
    counts = np.bincount(targets.values, minlength=len(targets.classes))
    pool = np.bincount(targets.values[given == TRAIN], minlength=len(targets.classes))
    present = [name for name, count in zip(targets.classes, counts, strict=True) if count]
    if len(present) < 2:
        raise DataError(
            f"{listing.name}: there is one class only ({', '.join(present) or 'none'}); at least two are needed"
        )
    drawn = plan.drawn(listing.given)
    splits = [TRAIN, *drawn]
    for name, count, total in zip(targets.classes, pool, counts, strict=True):
        if count == 0 and total > 0:
            raise DataError(
                f"{listing.name}: class {name!r} is in val or test but not in train, so it cannot be learnt; "
                "add items of it to train, or remove it"
            )
        if 0 < count < len(splits):
            what = f"class {name!r} has {count} {'item' if count == 1 else 'items'}"
            remedy = ", or set data.test_fraction=0" if TEST in drawn and count == len(splits) - 1 else ""
            raise DataError(
                f"{listing.name}: {what}, but each class needs at least {len(splits)} to be split into "
                f"{', '.join(splits)}; add items, or remove the class{remedy}"
            )


def usable_items(listing: Listing, readable: NDArray[np.bool_], allowed: float) -> tuple[NDArray[np.int64], list[str]]:
    """The items that can be read, and a note about those that cannot.

    Raises:
        DataError: more than the allowed fraction cannot be read.
    """
    bad = [*listing.lost, *(listing.names[index] for index in np.flatnonzero(~readable))]
    total = len(listing.names) + len(listing.lost)
    usable = np.flatnonzero(readable).astype(np.int64)
    if not bad:
        return usable, []
    said = f"{len(bad)} of {total} items cannot be read (missing, empty, damaged or no image): {_few(bad)}"
    if not len(usable):
        raise DataError(f"{listing.name}: {said}; repair them, or give others")
    if len(bad) > allowed * total:
        raise DataError(
            f"{listing.name}: {said}; at most {allowed:.1%} are allowed: repair or remove them, "
            f"or set data.allow_corrupt_fraction to {len(bad) / total + 0.0005:.3f} or more to leave them out"
        )
    return usable, [f"{said}; left out"]


def check_none_lost(name: str, before: Targets, after: Targets) -> None:
    """Refuse a class whose items all turned out to be unreadable.

    Raises:
        DataError: names the class.
    """
    gone = np.setdiff1d(before.values, after.values)
    if len(gone):
        raise DataError(
            f"{name}: class {before.classes[gone[0]]!r} has no item left that can be read; repair them, or remove it"
        )


def class_notes(targets: NDArray[np.generic], classes: Sequence[str], kind: TaskKind) -> list[str]:
    """Names that are nearly the same, and imbalance below 1:10, with the metric it calls for."""
    return [] if kind == "regression" else [*_alike_notes(classes), *_imbalance_notes(targets, classes, kind)]


def _alike_notes(classes: Sequence[str]) -> list[str]:
    first: dict[str, str] = {}
    pairs = [(first[key], name) for name in classes if first.setdefault(key := _plain(name), name) != name]
    if not pairs:
        return []
    told = ", ".join(f"{one!r} and {other!r}" for one, other in pairs[:3]) + (", ..." if len(pairs) > 3 else "")
    return [f"classes whose names are the same but for case, spaces, accents' encoding or leading zeros: {told}"]


def _plain(name: str) -> str:
    """A class name without what people write now so, now so."""
    text = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
    return (text.lstrip("0") or "0") if text.isdecimal() else text


def _imbalance_notes(targets: NDArray[np.generic], classes: Sequence[str], kind: TaskKind) -> list[str]:
    counts = np.bincount(targets, minlength=len(classes)) if kind == "single_label" else targets.sum(axis=0)
    rare, common = int(counts.argmin()), int(counts.argmax())
    if counts[rare] * _IMBALANCE >= counts[common]:
        return []
    metric = "balanced_accuracy or macro_f1" if kind == "single_label" else "average_precision or macro_f1"
    few = f"class {classes[rare]!r} has {int(counts[rare])} items"
    many = f"{classes[common]!r} has {int(counts[common])}"
    return [f"imbalance below 1:{_IMBALANCE}: {few}, {many}; judge by {metric} (search.metric)"]


def split_notes(splits: Splits, targets: NDArray[np.generic], classes: Sequence[str], kind: TaskKind) -> list[str]:
    """Classes missing from val or test, a split that is too small, and a test split that is not there."""
    notes = []
    if kind != "regression":
        for split in (VAL, TEST):
            chosen = targets[getattr(splits, split)]
            seen = np.bincount(chosen, minlength=len(classes)) if kind == "single_label" else chosen.sum(axis=0)
            lacking = [name for name, count in zip(classes, seen, strict=True) if not count]
            if len(chosen) and lacking:
                alone = f", so that {split} cannot tell one model from another" if len(seen) - len(lacking) == 1 else ""
                missing = f"{len(lacking)} of {len(classes)} classes are missing from {split}: {_few(lacking)}"
                notes.append(missing + (alone if kind == "single_label" else ""))
    for split in (VAL, TEST):
        if 0 < (count := len(getattr(splits, split))) < _FEW_ITEMS:
            held = f"{split} has {count} {'item' if count == 1 else 'items'}"
            notes.append(f"{held}, so what it says is mostly luck; give it more")
    if not len(splits.test):
        notes.append("no test split (data.test_fraction is 0): the number was chosen on the same images")
    return notes


def copy_notes(listing: Listing, splits: Splits) -> list[str]:
    """Exact copies that lie in train and in val or test."""
    digests = listing.digests
    seen = {digests[index] for index in splits.train.tolist()}
    held_out = np.concatenate([splits.val, splits.test]).tolist()
    copies = [splits.names[index] for index in held_out if digests[index] in seen]
    if not copies:
        return []
    return [
        f"{len(copies)} items of val or test are exact copies of items of train: {_few(copies)}; scores look too good"
    ]


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
