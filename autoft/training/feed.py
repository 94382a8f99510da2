"""What a training step gets: a batch, read, augmented, normalised and mixed, all as the recipe says."""

from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from autoft.data import DataHandle
from autoft.data.augment import augment, mixup
from autoft.data.feed import epoch_batches, read_ahead
from autoft.data.metrics import Array
from autoft.recipe import Recipe
from autoft.record import ModelCard
from autoft.streams import stream, stream_seed
from autoft.training.evaluate import as_inputs
from autoft.training.forward import Inputs


@dataclass(frozen=True, slots=True)
class Batch:
    """One training step's share of the data."""

    inputs: Inputs
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

    def __init__(self, recipe: Recipe, data: DataHandle, card: ModelCard, device: torch.device) -> None:
        self._recipe = recipe
        self._data = data
        self._card = card
        self._device = device

    def order(self, stage: str, epoch: int) -> list[Array]:
        """The item numbers of each batch."""
        train, targets = self._data.splits.train, self._data.targets
        seed = self._recipe.seed
        return epoch_batches(train, targets, self._recipe.data, seed=seed, stage=stage, epoch=epoch)

    def batches(self, stage: str, epoch: int, *, start: int) -> Generator[Batch, None, None]:
        """The batches of an epoch from number ``start`` on, the next one being read meanwhile."""
        order = self.order(stage, epoch)[start:]
        for offset, (indices, fields) in enumerate(read_ahead(order, lambda part: (part, self._data.read(part)))):
            yield self._batch(indices, fields, stage, epoch, start + offset)

    def _batch(self, indices: Array, fields: Inputs, stage: str, epoch: int, step: int) -> Batch:
        seed, optimisation = self._recipe.seed, self._recipe.optimisation
        moved = {name: field.to(self._device) for name, field in fields.items()}
        if self._data.spec.image:
            rng = stream(seed, "augment", stage, epoch, step)
            moved = {name: augment(field, self._recipe.data.augment, rng) for name, field in moved.items()}
        inputs = as_inputs(moved, self._data, self._card)
        targets = torch.from_numpy(self._data.targets[indices]).to(self._device)
        if optimisation.mixup > 0:
            rng = stream(seed, "mixup", stage, epoch, step)
            inputs, targets = mixup(inputs, self._data.task.distribution(targets), optimisation.mixup, rng)
        return Batch(inputs, targets, stream_seed(seed, "forward", stage, epoch, step))
