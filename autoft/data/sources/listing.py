"""A listing: what a source holds, in canonical order, before anything is decoded."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoft.data.items import Origin
from autoft.errors import DataError

TRAIN, VAL, TEST = "train", "val", "test"
SPLIT_NAMES = {
    "train": TRAIN,
    "training": TRAIN,
    "val": VAL,
    "valid": VAL,
    "validation": VAL,
    "test": TEST,
}
"""How people name splits (lower case), and what they are called here."""
LABEL_SEPARATOR = ";"
"""Between the labels of an item that has several."""


@dataclass(frozen=True)
class Listing:
    """Items sorted by name, with their raw labels."""

    name: str
    """Of the data set."""
    names: tuple[str, ...]
    """Of the items, unique and sorted: the order does not depend on the file system."""
    labels: NDArray[Any]
    """Class names or numbers (n,), texts like ``a;b`` (n,), 0/1 (n, classes), or numbers (n,)."""
    origin: Origin
    digests: tuple[bytes, ...]
    """Of each item's content."""
    given: NDArray[np.str_] | None = None
    """``train``, ``val`` or ``test`` per item, where the source says it."""
    groups: NDArray[np.str_] | None = None
    """Items of one group stay in one split."""
    rows: NDArray[np.int64] | None = None
    """Row of each item in a table, 1 for the first one below the header."""
    classes: tuple[str, ...] | None = None
    """Class names in the order of their numbers, where the source knows them."""
    lost: tuple[str, ...] = ()
    """Items that could not be read so far that their label is known."""
    notes: tuple[str, ...] = ()

    def place(self, index: int) -> str:
        """What an item is called in an error."""
        return self.names[index] if self.rows is None else f"row {self.rows[index]} ({self.names[index]})"


def digest(*parts: bytes) -> bytes:
    """Sixteen bytes of BLAKE2b over parts and their lengths."""
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        state.update(len(part).to_bytes(8, "little"))
        state.update(part)
    return state.digest()


def array_digest(array: NDArray[Any]) -> bytes:
    """Of shape, type and content."""
    return digest(repr((array.shape, array.dtype.str)).encode(), np.ascontiguousarray(array).tobytes())


def check_given(listing: Listing) -> None:
    """Refuse given splits that leave nothing to train on.

    Raises:
        DataError: no item is in train.
    """
    if listing.given is not None and not (listing.given == TRAIN).any():
        found = ", ".join(sorted(set(listing.given.tolist())))
        raise DataError(
            f"{listing.name}: there is {found} but no train; at least train must be given, the others are drawn"
        )
