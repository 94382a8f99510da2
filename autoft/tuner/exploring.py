"""Exploration: a sampler that models what it has seen, now and then replaced by one that does not."""

from collections.abc import Sequence
from dataclasses import dataclass

from autoft.recipe import Recipe
from autoft.record import Proposal, TrialRecord
from autoft.tuner.sampler import Sampler

MODELLING = frozenset({"tpe", "gp", "cmaes", "nsga2"})
"""Names of the samplers that learn from what they have seen."""
ONE_IN = 5
"""Of the recipes that are drawn one in so many is drawn at random: a model, or a portfolio, may be wrong."""


@dataclass(frozen=True)
class ExploringSampler:
    """Asks ``sampler``, but ``at_random`` for every fifth trial, by its number alone, and where it finds nothing."""

    sampler: Sampler
    at_random: Sampler

    def propose(self, records: Sequence[TrialRecord], number: int) -> Proposal | None:
        """The recipe for trial ``number``; None when every recipe of the space was tried."""
        chosen = self.at_random if number % ONE_IN == ONE_IN - 1 else self.sampler
        return chosen.propose(records, number) or self.at_random.propose(records, number)

    def locate(self, recipe: Recipe, origin: str) -> Proposal:
        """A proposal of a given recipe, with its coordinates if it lies in the space."""
        return self.sampler.locate(recipe, origin)
