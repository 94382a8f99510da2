"""What a training step gets: a batch, read, augmented, normalised and mixed, all as the recipe says."""

from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from autoft.data import DataHandle
from autoft.data.feed import epoch_batches, read_ahead
from autoft.data.metrics import Array
from autoft.recipe import Recipe
from autoft.streams import stream_seed
from autoft.training.source import Moment, Rows, Source


@dataclass(frozen=True, slots=True)
class Batch:
    """One training step's share of the data."""

    inputs: Rows
    """Of the stage's source: what `Source.hidden` takes."""
    targets: Tensor
    """As the task has them, or as a distribution where they are mixed."""
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
            inputs, targets = source.inputs(found, targets, moment)
            seed = stream_seed(self._recipe.seed, "forward", stage, epoch, moment.step)
            yield Batch(inputs, targets, seed)
