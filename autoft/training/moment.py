"""A training step of a rank: which items of the batch it reads, and what its random draws are keyed by.

Every draw is made for the whole batch, so the batch is the same one however many ranks share it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autoft.data.augment import Part, draw_mixup
from autoft.data.metrics import Array
from autoft.data.variants import Variant, draw_variants
from autoft.recipe import Recipe
from autoft.streams import stream
from autoft.training.ranks import Share


@dataclass(frozen=True, slots=True)
class Moment:
    """A training step of a rank."""

    stage: str
    epoch: int
    step: int
    """Within the epoch."""
    part: Part
    """The items that the rank reads: first its own, then those of other ranks that its own are mixed with."""
    own: int
    """How many are its own."""

    def stream(self, seed: int, purpose: str) -> np.random.Generator:
        """The generator of the whole batch for ``purpose``."""
        return stream(seed, purpose, self.stage, self.epoch, self.step)

    def choice(self, variants: Sequence[Variant], seed: int, purpose: str) -> Array:
        """The variant of each item that the rank reads, int64."""
        return draw_variants(variants, self.part.whole, self.stream(seed, purpose))[self.part.places]

    def mixing(self, alpha: float, seed: int) -> tuple[float, Array]:
        """The batch's proportion of mixing, and where the partners of the rank's own items are among those it reads."""
        proportion, partners = draw_mixup(alpha, self.part.whole, self.stream(seed, "mixup"))
        where = np.zeros(self.part.whole, np.int64)
        where[self.part.places] = np.arange(len(self.part.places))
        return proportion, where[partners[self.part.places[: self.own]]]


def moment_of(recipe: Recipe, stage: str, epoch: int, step: int, share: Share) -> Moment:
    """The part of a rank in a step; the first item of all stands in where its share is empty."""
    own = np.arange(share.first, share.first + share.size) if share.size else np.zeros(1, np.int64)
    moment = Moment(stage, epoch, step, Part(own, share.whole), len(own))
    alpha = recipe.optimisation.mixup
    if alpha == 0 or len(own) == share.whole:
        return moment
    _, partners = draw_mixup(alpha, share.whole, moment.stream(recipe.seed, "mixup"))
    places = np.concatenate([own, np.setdiff1d(partners[own], own)])
    return Moment(stage, epoch, step, Part(places, share.whole), len(own))
