"""Where a stage's tail gets its rows from: computed from the items by the prefix, or read from a cache of activations.

Both give the same bits on the CPU; which one it is decides nothing but the time it takes.
"""

from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from torch import Tensor

from autoft.cache import Activations
from autoft.data import DataHandle
from autoft.data.augment import augment, draw_flips, mixup
from autoft.data.inputs import as_inputs
from autoft.data.metrics import Array
from autoft.model import laid_out, padded
from autoft.recipe import Recipe
from autoft.record import ModelCard
from autoft.streams import stream
from autoft.training.forward import Forward, Inputs

Rows: TypeAlias = Tensor | Inputs


@dataclass(frozen=True, slots=True)
class Moment:
    """A training step: what its random draws are keyed by."""

    stage: str
    epoch: int
    step: int
    """Within the epoch."""

    def stream(self, seed: int, purpose: str) -> np.random.Generator:
        """The generator of this step for ``purpose``."""
        return stream(seed, purpose, self.stage, self.epoch, self.step)


class Source(Protocol):
    """Rows at a stage's boundary, for the items of a batch."""

    @property
    def name(self) -> str:
        """The group after which activations are read; empty where they are computed."""
        ...

    def read(self, indices: Array, moment: Moment) -> Any:
        """What `rows` needs of a training batch; called in another thread."""
        ...

    def rows(self, found: Any, targets: Tensor, moment: Moment) -> tuple[Rows, Tensor]:
        """The activation at the boundary, augmented and mixed, with its targets; the model must be in its modes for
        training.
        """
        ...

    def look(self, indices: Array) -> Any:
        """What `hidden` needs of items to be evaluated; called in another thread."""
        ...

    def hidden(self, found: Any) -> Rows:
        """The activation at the boundary of items to be evaluated; the model must be in eval mode."""
        ...

    def saved_s(self, size: int) -> float:
        """Predicted seconds of computing that reading a batch of so many items saves."""
        ...


class Pixels:
    """Computes the rows from the items themselves."""

    name = ""

    def __init__(self, recipe: Recipe | None, data: DataHandle, card: ModelCard, forward: Forward) -> None:
        self._recipe, self._data, self._card, self._forward = recipe, data, card, forward

    def read(self, indices: Array, moment: Moment) -> Inputs:  # noqa: ARG002 - the draws come later
        """Decoded items."""
        return self._data.read(indices)

    def rows(self, found: Inputs, targets: Tensor, moment: Moment) -> tuple[Rows, Tensor]:
        """Augmented, normalised, mixed, and run through the prefix."""
        assert self._recipe is not None
        recipe, seed = self._recipe, self._recipe.seed
        moved = self._moved(found)
        if self._data.spec.image:
            rng = moment.stream(seed, "augment")
            moved = {name: augment(field, recipe.data.augment, rng) for name, field in moved.items()}
        inputs = self._inputs(moved)
        if recipe.optimisation.mixup > 0:
            shares = self._data.task.distribution(targets)
            mixed, targets = mixup(inputs, shares, recipe.optimisation.mixup, moment.stream(seed, "mixup"))
            inputs = {name: laid_out(field, channels_last=self._channels_last) for name, field in mixed.items()}
        return self._forward.prefix(inputs), targets

    def look(self, indices: Array) -> Inputs:
        """Decoded items."""
        return self._data.read(indices)

    def hidden(self, found: Inputs) -> Rows:
        """Run the prefix."""
        return self._forward.prefix(self._inputs(self._moved(found)))

    def saved_s(self, size: int) -> float:  # noqa: ARG002 - the seam's
        """Nothing."""
        return 0.0

    @property
    def _channels_last(self) -> bool:
        return self._forward.manner.channels_last

    def _inputs(self, fields: Inputs) -> Inputs:
        return as_inputs(fields, self._data, self._card, channels_last=self._channels_last)

    def _moved(self, fields: Inputs) -> Inputs:
        return {name: field.to(self._forward.device) for name, field in fields.items()}


class Cached:
    """Reads the rows from a cache; a flip reads the row of the mirrored item."""

    def __init__(self, recipe: Recipe, activations: Activations, forward: Forward) -> None:
        self._recipe, self._activations, self._forward = recipe, activations, forward
        self.name = activations.name

    def read(self, indices: Array, moment: Moment) -> Tensor:
        """Rows at the boundary."""
        if self._recipe.data.augment == "none":
            return self._activations.read(indices)
        return self._activations.read(indices, draw_flips(len(indices), moment.stream(self._recipe.seed, "augment")))

    def rows(self, found: Tensor, targets: Tensor, moment: Moment) -> tuple[Rows, Tensor]:  # noqa: ARG002
        """The rows on the device; there is nothing left to draw."""
        return found.to(self._forward.device), targets

    def look(self, indices: Array) -> Tensor:
        """Rows at the boundary."""
        return self._activations.read(indices)

    def hidden(self, found: Tensor) -> Rows:
        """The rows on the device."""
        return found.to(self._forward.device)

    def saved_s(self, size: int) -> float:
        """The prefix computes whole micro-batches."""
        return padded(size) * self._activations.row_s


def can_train_from_cache(recipe: Recipe) -> bool:
    """Whether what enters the prefix in training is one of few images per item."""
    return recipe.data.augment in {"none", "flip"} and recipe.optimisation.mixup == 0
