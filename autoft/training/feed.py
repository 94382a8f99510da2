"""The batches of an epoch: which items, read ahead of the training."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from autoft.data import DataHandle
from autoft.data.feed import epoch_batches, read_ahead
from autoft.data.metrics import Array
from autoft.recipe import Recipe
from autoft.streams import stream_seed
from autoft.training.source import Moment, Source


@dataclass(frozen=True, slots=True)
class Batch:
    """One training step's share of the data."""

    moment: Moment
    found: Any
    """What `Source.read` gave: what `Source.rows` takes."""
    targets: Tensor
    """As the task has them, on the device."""
    forward_seed: int
    """Of dropout and drop path in this step."""

    @property
    def size(self) -> int:
        """Number of items."""
        return len(self.targets)


class Feed:
    """The batches of any epoch of any stage, a function of recipe and data alone."""

    def __init__(self, recipe: Recipe, data: DataHandle, device: torch.device) -> None:
        self._recipe = recipe
        self._data = data
        self._device = device

    def order(self, stage: str, epoch: int) -> list[Array]:
        """The item numbers of each batch."""
        train, targets = self._data.splits.train, self._data.targets
        seed = self._recipe.seed
        return epoch_batches(train, targets, self._recipe.data, seed=seed, stage=stage, epoch=epoch)

    def batches(self, source: Source, stage: str, epoch: int, *, start: int) -> Generator[Batch, None, None]:
        """The batches of an epoch from number ``start`` on, the next one being read meanwhile."""
        order = self.order(stage, epoch)
        steps = [(Moment(stage, epoch, step), order[step]) for step in range(start, len(order))]
        for moment, indices, found in read_ahead(steps, lambda part: (*part, source.read(part[1], part[0]))):
            targets = torch.from_numpy(self._data.targets[indices]).to(self._device)
            seed = stream_seed(self._recipe.seed, "forward", stage, epoch, moment.step)
            yield Batch(moment, found, targets, seed)
