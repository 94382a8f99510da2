"""How often a search will ask for the activations at each boundary: what keeping them is worth."""

import math
from collections import defaultdict
from collections.abc import Mapping

from autoft.cache import Reuse, reuse_of
from autoft.model import complete
from autoft.record import Objective
from autoft.space import SearchSpace
from autoft.training import needs_of
from autoft.tuner.config import SearchConfig
from autoft.tuner.prepare import Ground
from autoft.tuner.sampler import build_sampler

_DRAWS = 16
_SHARE_TRAINED = {"asha": 0.5, "none": 1.0}
"""Of all epochs, by scheduler: how many are trained before trials are stopped."""


def reuse_in(config: SearchConfig, ground: Ground, space: SearchSpace, objective: Objective) -> Reuse | None:
    """How the workers of a search share activations; None if they do not."""
    how = config.reuse
    if how.activations == "off":
        return None
    passes = expected_passes(config, ground, space, objective)
    return reuse_of(max_bytes=how.max_bytes, always=how.activations == "on", passes=passes)


def expected_passes(
    config: SearchConfig, ground: Ground, space: SearchSpace, objective: Objective
) -> Mapping[int, float]:
    """Passes over the rows of all items per boundary, from recipes drawn at random.

    A forecast: it decides what is worth keeping, and no result depends on it.
    """
    if ground.loaded.chain.why_not is not None:
        return {}
    sampler = build_sampler(
        "random",
        space=space,
        base=ground.recipe,
        objective=objective,
        seed=config.search.seed,
        complete=lambda recipe: complete(recipe, ground.loaded.card),
    )
    draws = min(_DRAWS, config.search.num_samples)
    per_draw = config.search.num_samples / draws * _SHARE_TRAINED[config.search.scheduler]
    steps = math.ceil(len(ground.data.splits.train) / ground.recipe.data.batch_size)
    passes: defaultdict[int, float] = defaultdict(float)
    for number in range(draws):
        proposal = sampler.propose([], number)
        if proposal is None:
            break
        recipe = ground.recipe.parse(proposal.recipe, where="space")
        for need in needs_of(recipe, ground.loaded, ground.data, steps_per_epoch=steps):
            if need.boundary > 0:
                passes[need.boundary] += per_draw * need.passes
    return dict(passes)
