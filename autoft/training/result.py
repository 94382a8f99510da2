"""What a trial came to."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from autoft.recipe import Recipe
from autoft.record import Curve, Evaluation


@dataclass(frozen=True, slots=True)
class TrialResult:
    """The best evaluation of a trial, the recipe that leads to it, and its weights."""

    best: Evaluation
    """The last one, whose value is NaN, where no evaluation gave a number."""
    recipe: Recipe
    """As run: its last evaluation is ``best``."""
    weights: Mapping[str, Tensor]
    """Parameters and buffers that gave ``best``; all others are the base's. Empty where nothing was kept."""
    curve: Curve

    @property
    def value(self) -> float:
        """The objective's best value; NaN when nothing was kept."""
        return self.best.value

    @property
    def diverged(self) -> str | None:
        """Why the training ended as a divergence, if it did."""
        return self.curve[-1].diverged
