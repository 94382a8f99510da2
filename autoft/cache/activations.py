"""Activations of all items at one boundary, read from shards."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from autoft.cache.probe import Form
from autoft.cache.rows import Rows
from autoft.data.metrics import Array
from autoft.data.variants import PLAIN, Variant


@dataclass(frozen=True)
class Activations:
    """What the prefix makes of each item, in each of the variants that it may enter as."""

    boundary: int
    name: str
    """Of the last group of the prefix."""
    form: Form
    row_s: float
    """Seconds that computing a row would take, in whole micro-batches."""
    rows: Mapping[Variant, Rows]
    device: torch.device
    """Where batches are read to."""

    def read(self, items: Array, variants: Sequence[Variant] = (PLAIN,), choice: Array | None = None) -> Tensor:
        """Rows (B, ...), with the bits and the memory layout that the prefix gives.

        Args:
            items: item numbers (B,).
            variants: that the rows are of.
            choice: which of them each row is of (B,); by default the first.
        """
        if choice is None or len(variants) == 1:
            kept = self.rows[variants[0]].take(items)
        else:
            kept = self._chosen(items, [self.rows[variant] for variant in variants], choice)
        return self.form.unpack(kept.to(self.device, non_blocking=True))

    def _chosen(self, items: Array, rows: Sequence[Rows], choice: Array) -> Tensor:
        away = [each for each in rows if each.device != self.device]
        out = [*away, *rows][0].empty(len(items))
        for number in np.unique(choice):
            places = np.flatnonzero(choice == number)
            rows[number].put(out, places, items[places])
        return out
