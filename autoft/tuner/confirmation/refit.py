"""The winner trained once more, on what it was trained and validated on together."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from autoft.cache import ActivationCache, Reuse
from autoft.recipe import Recipe
from autoft.record import Objective, TrialRecord
from autoft.training import StagedTrainer, fixed_length
from autoft.training.gains import Weights
from autoft.tuner.prepare import Ground

KIND = "refit on train and validation"


@dataclass(frozen=True)
class Refit:
    """Weights that have seen the validation split, and what is said of them."""

    weights: Weights | None
    """None where the training was stopped, or diverged."""
    told: dict[str, Any]
    """As summary.json has it."""


def refit(
    winner: TrialRecord,
    ground: Ground,
    objective: Objective,
    *,
    should_stop: Callable[[], bool],
    device: str = "cpu",
    reuse: Reuse | None = None,
) -> Refit:
    """Train the winner's recipe for as many steps as it ran, from the same start, on train and validation together.

    Nothing is chosen on the way, and no validation is left that could: the weights are those of the last step.

    Args:
        winner: of the search.
        ground: model and data.
        objective: what decided the lengths.
        should_stop: asked before every training step.
        device: where to train.
        reuse: where activations are kept; they are the same as those of the trials.
    """
    recipe = Recipe.parse(winner.proposal.recipe, where=f"trial {winner.number}")
    fixed = fixed_length(recipe, winner.curve, objective)
    splits = ground.data.splits
    both = np.sort(np.concatenate([splits.train, splits.val]))
    data = replace(ground.data, splits=replace(splits, train=both), fingerprint=f"{ground.data.fingerprint} refit")
    loaded = ground.loaded.reset(drop_rate=fixed.model.drop_rate, drop_path_rate=fixed.model.drop_path_rate)
    cache = ActivationCache(reuse, ground.data, lambda _text: None) if reuse else None
    trainer = StagedTrainer(fixed, loaded, data, objective, device=device, should_stop=should_stop, cache=cache)
    while trainer.advance():
        pass
    told = {"trial": winner.number, "items": len(both)}
    if not trainer.done:
        return Refit(None, {**told, "kept": False, "text": "not refitted: the time budget ended first"})
    if trainer.curve[-1].diverged:
        return Refit(None, {**told, "kept": False, "text": "not refitted: the training diverged with more items"})
    weights = {name: tensor.detach().cpu() for name, tensor in trainer.changed.items()}
    text = (
        f"the model was trained on {len(both)} items, validation included; all values on validation and in the "
        f"confirmation are those of trial {winner.number}, which was trained on {len(splits.train)}"
    )
    return Refit(weights, {**told, "kept": True, "text": text})
