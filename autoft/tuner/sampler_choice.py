"""Of several proposals the one that promises most, by a model of what the others came to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    json_to_distribution,
)

from autoft.recipe import Recipe
from autoft.record import Objective, Proposal, TrialRecord
from autoft.tuner.sampler import Sampler
from autoft.tuner.sampler_kinds import STARTUP_TRIALS, scaled
from autoft.tuner.surrogate import Surrogate, fit

Array: TypeAlias = NDArray[np.float64]

DRAWS = 4
"""Proposals to choose among."""
_AT_MOST = 128
"""Trials that are modelled: half of them the best, the others the latest."""


@dataclass(frozen=True)
class ChoosingSampler:
    """Asks samplers that draw differently, and takes the proposal with the highest expected improvement.

    It depends on records and number alone. Divided by the cost of the recipe, with a weight that falls from one to
    nothing over the search, it gained less (tests/benchmarks/proposal_choice.py).
    """

    samplers: Sequence[Sampler]
    objective: Objective

    def propose(self, records: Sequence[TrialRecord], number: int) -> Proposal | None:
        """The recipe for trial ``number``; None when every recipe of the space was tried."""
        known = self._known(records)
        first = self.samplers[0].propose(records, number)
        if first is None or len(known) < STARTUP_TRIALS:
            return first
        others = (sampler.propose(records, number) for sampler in self.samplers[1:])
        drawn = [first, *(proposal for proposal in others if proposal)]
        return drawn[int(np.argmax(self.promise(known, drawn)))]

    def promise(self, known: Sequence[tuple[Proposal, float]], drawn: Sequence[Proposal]) -> Array:
        """Expected improvement of each of the drawn proposals, (n,), given what others came to."""
        places = Places.of([*(proposal for proposal, _ in known), *drawn])
        points = np.array([places.of_proposal(proposal) for proposal, _ in known])
        values = np.array([score for _, score in known])
        model = Surrogate(points, values, fit(points, values))
        return model.expected_improvement(np.array([places.of_proposal(proposal) for proposal in drawn]))

    def _known(self, records: Sequence[TrialRecord]) -> list[tuple[Proposal, float]]:
        """Proposals inside the space with the score that they came to."""
        found = [(record.proposal, record.best(self.objective)) for record in records if record.proposal.params]
        scored = [(proposal, self.objective.score(best.value)) for proposal, best in found if best]
        if len(scored) <= _AT_MOST:
            return scored
        best = sorted(scored[: -_AT_MOST // 2], key=lambda one: -one[1])[: _AT_MOST // 2]
        return [*best, *scored[-_AT_MOST // 2 :]]

    def locate(self, recipe: Recipe, origin: str) -> Proposal:
        """A proposal of a given recipe, with its coordinates if it lies in the space."""
        return self.samplers[0].locate(recipe, origin)


@dataclass(frozen=True, slots=True)
class Places:
    """Proposals as points within 0..1: numbers by their place in their range, choices one by one."""

    dimensions: tuple[tuple[str, BaseDistribution], ...]

    @classmethod
    def of(cls, proposals: Sequence[Proposal]) -> "Places":
        """Of all dimensions that any of them has."""
        found = {name: text for proposal in proposals for name, text in proposal.distributions.items()}
        return cls(tuple((name, json_to_distribution(found[name])) for name in sorted(found)))

    def of_proposal(self, proposal: Proposal) -> list[float]:
        """What does not count for a recipe stands in the middle."""
        return [place for name, each in self.dimensions for place in _places(proposal.params.get(name), each)]


def _places(value: Any, distribution: BaseDistribution) -> list[float]:
    match distribution:
        case CategoricalDistribution(choices=choices):
            return [float(value == choice) for choice in choices]
        case FloatDistribution() | IntDistribution():
            return [0.5 if value is None or distribution.single() else scaled(value, distribution)]
        case _:
            return []
