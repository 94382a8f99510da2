"""Activations of all items at one boundary, read from shards."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autoft.cache.probe import Form
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
    """What the prefix makes of each item, and of each mirrored item."""

    boundary: int
    name: str
    """Of the last group of the prefix."""
    form: Form
    row_s: float
    """Seconds that computing a row would take, in whole micro-batches."""
    plain: StoredRows
    mirrored: StoredRows | None

    def read(self, items: NDArray[np.integer[Any]], flips: NDArray[np.bool_] | None = None) -> Tensor:
        """Rows (B, ...) on the CPU, with the bits and the memory layout that the prefix gives.

        Args:
            items: item numbers (B,).
            flips: which of them are mirrored (B,); needs rows of mirrored items.
        """
        if flips is None:
            return self.form.unpack(torch.from_numpy(self.plain.take(items)))
        assert self.mirrored is not None
        field = self.form.field
        rows = np.empty((len(items), *field.shape), field.dtype)
        rows[~flips] = self.plain.take(items[~flips])
        rows[flips] = self.mirrored.take(items[flips])
        return self.form.unpack(torch.from_numpy(rows))
