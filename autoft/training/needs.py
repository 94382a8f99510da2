"""What a recipe's stages will read at their boundaries: known before anything is trained."""

import math

from autoft.cache import Need
from autoft.data import DataHandle
from autoft.data.variants import PLAIN
from autoft.model import LoadedModel, padded, plan_stage
from autoft.recipe import Recipe
from autoft.training.lengths import length_in_steps
from autoft.training.source import variants_to_keep


def boundaries_of(recipe: Recipe, loaded: LoadedModel) -> list[int]:
    """Per stage, how many leading groups neither it nor a stage before it trains."""
    touched: frozenset[int] = frozenset()
    found = []
    for stage in recipe.stages:
        touched |= plan_stage(stage, loaded).trainable
        found.append(loaded.chain.prefix_length(touched))
    return found


def needs_of(recipe: Recipe, loaded: LoadedModel, data: DataHandle, *, steps_per_epoch: int) -> list[Need]:
    """Per stage, the boundary and how often the rows of all items are asked for, in whole micro-batches."""
    every = recipe.optimisation.eval_every_steps or steps_per_epoch
    kept = variants_to_keep(recipe)
    needs = []
    for stage, boundary in zip(recipe.stages, boundaries_of(recipe, loaded), strict=True):
        steps = length_in_steps(stage, steps_per_epoch)
        rows = math.ceil(steps / every) * padded(len(data.splits.val))
        if kept:
            rows += steps * padded(min(recipe.data.batch_size, len(data.splits.train)))
        needs.append(Need(boundary, rows / max(1, len(data)), (PLAIN, *(each for each in kept if each != PLAIN))))
    return needs
