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
from autoft.training.moment import Moment, moment_of
from autoft.training.ranks import ALONE, Ranks, Share
from autoft.training.source import Source


@dataclass(frozen=True, slots=True)
class Batch:
    """One training step's share of the data."""

    moment: Moment
    found: Any
    """What `Source.read` gave: what `Source.rows` takes."""
    targets: Tensor
    """Of the items that the rank reads, as the task has them, on the device."""
    forward_seed: int
    """Of dropout and drop path in this step."""
    share: Share
    """Which part of the whole batch it is."""

    @property
    def size(self) -> int:
        """Number of items."""
        return self.share.size


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

    def batches(
        self, source: Source, stage: str, epoch: int, *, start: int, ranks: Ranks = ALONE
    ) -> Generator[Batch, None, None]:
        """A rank's part of the batches of an epoch from number ``start`` on, the next one being read meanwhile."""
        order = self.order(stage, epoch)
        steps = [self._step(stage, epoch, step, order[step], ranks) for step in range(start, len(order))]
        for moment, share, indices, found in read_ahead(steps, lambda part: (*part, source.read(part[2], part[0]))):
            targets = torch.from_numpy(self._data.targets[indices]).to(self._device)
            own = [ranks.rank] if ranks.rank else []  # dropout and drop path are of a rank
            seed = stream_seed(self._recipe.seed, "forward", stage, epoch, moment.step, *own)
            yield Batch(moment, found, targets, seed, share)

    def _step(self, stage: str, epoch: int, step: int, items: Array, ranks: Ranks) -> tuple[Moment, Share, Array]:
        """A rank's part of a training step, and the items that it reads."""
        share = ranks.share(len(items))
        moment = moment_of(self._recipe, stage, epoch, step, share)
        return moment, share, items[moment.part.places]
