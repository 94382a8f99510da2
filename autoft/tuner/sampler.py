"""Samplers: where the next recipe comes from, given what is known of the others."""

from collections.abc import Sequence
from typing import Protocol

from autoft.recipe import Recipe
from autoft.record import Objective, Proposal, TrialRecord
from autoft.space import SearchSpace


class Sampler(Protocol):
    """A pure function of (seed, number, records)."""

    def propose(self, records: Sequence[TrialRecord], number: int) -> Proposal | None:
        """The recipe for trial ``number``; None when the space is exhausted."""

    def locate(self, recipe: Recipe, origin: str) -> Proposal:
        """A proposal of a given recipe, with its coordinates if it lies in the space."""


def build_sampler(
    name: str,
    *,
    space: SearchSpace,
    base: Recipe,
    objective: Objective,
    seed: int,
    constant_value: float | None = None,
) -> Sampler:
    """The sampler of that name (``tpe`` or ``random``).

    Args:
        name: as in ``search.sampler``.
        space: where recipes are drawn from.
        base: the recipe that the space's overrides change.
        objective: the metric and its direction.
        seed: of the search.
        constant_value: what a constant predictor reaches, for trials that diverged; default: the worst value seen.

    Raises:
        UnknownNameError: no such sampler.
    """
    raise NotImplementedError
