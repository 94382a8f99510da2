"""Activations of all items at one boundary, read from shards."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autoft.cache.probe import Form
from autoft.data.metrics import Array
from autoft.data.variants import PLAIN, Variant
from autoft.shards import Shards

FIELD = "rows"


class StoredRows:
    """A row per item. Nobody evicts the shards while this lives.

    Args:
        shards: of one field, `FIELD`.
        whole: read all of it into memory; else it is memory-mapped and costs the process no private memory.
    """

    def __init__(self, shards: Shards, *, whole: bool) -> None:
        self._shards = shards
        self._rows = np.array(shards.fields[FIELD]) if whole else shards.fields[FIELD]

    def take(self, items: NDArray[np.integer[Any]]) -> NDArray[Any]:
        """Copy rows (B, ...)."""
        return np.take(self._rows, items, axis=0)


@dataclass(frozen=True)
class Activations:
    """What the prefix makes of each item, in each of the variants that it may enter as."""

    boundary: int
    name: str
    """Of the last group of the prefix."""
    form: Form
    row_s: float
    """Seconds that computing a row would take, in whole micro-batches."""
    rows: Mapping[Variant, StoredRows]

    def read(self, items: Array, variants: Sequence[Variant] = (PLAIN,), choice: Array | None = None) -> Tensor:
        """Rows (B, ...) on the CPU, with the bits and the memory layout that the prefix gives.

        Args:
            items: item numbers (B,).
            variants: that the rows are of.
            choice: which of them each row is of (B,); by default the first.
        """
        if choice is None or len(variants) == 1:
            return self.form.unpack(torch.from_numpy(self.rows[variants[0]].take(items)))
        field = self.form.field
        rows = np.empty((len(items), *field.shape), field.dtype)
        for number in np.unique(choice):
            rows[choice == number] = self.rows[variants[number]].take(items[choice == number])
        return self.form.unpack(torch.from_numpy(rows))
