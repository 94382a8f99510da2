"""What an epoch costs in units of one epoch of a full fine-tune: counted, not measured.

Rungs lie at equal cost. Counted from multiply-adds, the same search takes the same decisions on any machine, however
busy, and with reuse on or off.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autoft.data import DataHandle
from autoft.model import LoadedModel, plan_stage
from autoft.recipe import Recipe
from autoft.training.lengths import length_in_steps
from autoft.training.needs import boundaries_of
from autoft.training.source import can_train_from_cache

_BACKWARD = 2
"""Forward passes that the backward pass of a trained group costs."""


@dataclass(frozen=True)
class UnitCounter:
    """Counts for one model and one data set."""

    loaded: LoadedModel
    data: DataHandle

    def __call__(self, plain: Mapping[str, Any]) -> dict[str, float]:
        """As `per_epoch`, of a recipe that is given as plain data."""
        return self.per_epoch(Recipe.parse(plain, where="units"))

    def per_epoch(self, recipe: Recipe) -> dict[str, float]:
        """Units per epoch of each stage, with one evaluation on the validation split.

        A frozen prefix costs nothing where its activations could be kept, whether they are or not.
        """
        full = 1 + _BACKWARD + self._val_rows
        boundaries = boundaries_of(recipe, self.loaded)
        return {
            stage.name: self._stage(recipe, boundary, min(plan_stage(stage, self.loaded).trainable)) / full
            for stage, boundary in zip(recipe.stages, boundaries, strict=True)
        }

    def total(self, recipe: Recipe) -> float:
        """Units of all epochs of all stages."""
        per_epoch = self.per_epoch(recipe)
        steps = max(1, math.ceil(len(self.data.splits.train) / recipe.data.batch_size))
        return sum(length_in_steps(stage, steps) / steps * per_epoch[stage.name] for stage in recipe.stages)

    def _stage(self, recipe: Recipe, boundary: int, first: int) -> float:
        enters = boundary if can_train_from_cache(recipe) else 0
        return self._share(enters) + _BACKWARD * self._share(first) + self._val_rows * self._share(boundary)

    def _share(self, first: int) -> float:
        """Share of the forward pass from a group on."""
        shares = [group.cost_share for group in self.loaded.card.groups]
        return math.fsum(shares[first:])

    @property
    def _val_rows(self) -> float:
        """Rows of the validation split per row of training."""
        return len(self.data.splits.val) / max(1, len(self.data.splits.train))
