"""Rates that are too high for this model and these data, by depth: what the probe's range tests have found."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from autoft.model import LoadedModel
from autoft.recipe import Recipe
from autoft.training.rates import ROWS, STEPS
from autoft.tuner.portfolio import trained_groups

_SHARE = 0.05
"""Of the cost of one full fine-tune, for all range tests: they and the linear models are to stay below a tenth."""


@dataclass(frozen=True)
class RateLimits:
    """The highest rates at which a few steps did not break the training; batch statistics were frozen."""

    opt: str = ""
    """The optimizer they hold for."""
    by_depth: Mapping[int, float] = field(default_factory=dict)
    """By how many top groups train; depths at which no rate broke it are left out."""

    def plain(self) -> dict[str, Any]:
        """As JSON knows it."""
        return {"opt": self.opt, "by_depth": {str(depth): lr for depth, lr in self.by_depth.items()}}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """The inverse of `plain`."""
        return cls(plain["opt"], {int(depth): lr for depth, lr in plain["by_depth"].items()})

    def exceeded(self, recipe: Recipe, model: LoadedModel) -> bool:
        """Whether the recipe's last stage trains at a higher rate than its depth stands.

        Fresh batch statistics stand higher rates, of which nothing is known. A depth has the limit of the next
        shallower one that was tested.
        """
        stage, depth = recipe.stages[-1], trained_groups(recipe, model)
        tested = [each for each in self.by_depth if each <= depth]
        if not tested or stage.lr is None or recipe.optimisation.opt != self.opt:
            return False
        fresh = stage.norm != "eval" and any("running_mean" in name for group in model.groups for name in group.buffers)
        return not fresh and stage.lr > self.by_depth[max(tested)]


def affordable(model: LoadedModel, boundaries: list[int], *, passes: float) -> list[int]:
    """The boundaries above which a range test can be paid for, the cheapest first.

    Args:
        model: whose segments' costs count.
        boundaries: at which activations are kept.
        passes: rows that one full fine-tune trains on, in all its epochs.
    """
    shares = [group.cost_share for group in model.card.groups]
    left, chosen = _SHARE * passes, list[int]()
    for boundary in sorted(boundaries, reverse=True):
        left -= STEPS * ROWS * sum(shares[boundary:])
        if left < 0:
            break
        chosen.append(boundary)
    return chosen
