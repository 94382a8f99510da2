"""Samplers: where the next recipe comes from, given what is known of the others.

A ledger is no food for Optuna's samplers: TPE never sees a failed trial, takes a running (so a paused) one for bad, and
ranks pruned ones by their last step first. So every proposal comes from a scratch study in memory, rebuilt from the
records, in which each trial stands with the best value it reached.
"""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol, Self, TypeAlias

import optuna
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from autoft.errors import UnknownNameError, near
from autoft.recipe import Recipe
from autoft.record import Objective, Proposal, TrialRecord
from autoft.space import SearchSpace
from autoft.streams import stream_seed
from autoft.study import quiet

STARTUP_TRIALS = 8
"""Trials inside the space before TPE models them; the ones before are drawn at random."""
DRAWS, RANDOM_DRAWS = 8, 128
"""How often a recipe that was tried already is drawn again: by the sampler, then at random."""

Point: TypeAlias = tuple[dict[str, Any], dict[str, BaseDistribution]]


def as_it_is(recipe: Recipe) -> Recipe:
    """The recipe itself."""
    return recipe


class Sampler(Protocol):
    """A pure function of (seed, number, records)."""

    def propose(self, records: Sequence[TrialRecord], number: int) -> Proposal | None:
        """The recipe for trial ``number``; None when every recipe of the space was tried."""

    def locate(self, recipe: Recipe, origin: str) -> Proposal:
        """A proposal of a given recipe, with its coordinates if it lies in the space."""


@dataclass(frozen=True)
class PredictingSampler:
    """A sampler whose proposals say what they will cost."""

    sampler: Sampler
    predict: Callable[[Mapping[str, Any]], Mapping[str, float]]
    """Seconds per epoch of each stage of a recipe, given as plain data."""

    def propose(self, records: Sequence[TrialRecord], number: int) -> Proposal | None:
        """The recipe for trial ``number``; None when every recipe of the space was tried."""
        proposal = self.sampler.propose(records, number)
        return proposal and replace(proposal, predicted=self.predict(proposal.recipe))

    def locate(self, recipe: Recipe, origin: str) -> Proposal:
        """A proposal of a given recipe, with its coordinates if it lies in the space."""
        proposal = self.sampler.locate(recipe, origin)
        return replace(proposal, predicted=self.predict(proposal.recipe))


@dataclass(frozen=True, kw_only=True)
class OptunaSampler:
    """A sampler of Optuna over a scratch study."""

    name: str
    space: SearchSpace
    base: Recipe
    objective: Objective
    seed: int
    constant_value: float | None = None
    complete: Callable[[Recipe], Recipe] = as_it_is
    _points: dict[Hashable, Point] = field(default_factory=dict, repr=False)

    def propose(self, records: Sequence[TrialRecord], number: int) -> Proposal | None:
        """The recipe for trial ``number``: one that no record has; None when there seems to be none left."""
        seed = stream_seed(self.seed, "propose", number) % 2**32
        tried = [record.proposal.recipe for record in records]
        with quiet():
            study = self._scratch(records, self._optuna_sampler(seed))
            for attempt in range(DRAWS + RANDOM_DRAWS):
                if attempt == DRAWS:
                    study.sampler = RandomSampler(seed=seed)
                trial = study.ask()
                recipe = self.complete(self.base.override(self.space.draw(trial), where="space")).full()
                if recipe not in tried:
                    return _proposal(recipe, self.name, (trial.params, trial.distributions))
        return None

    def locate(self, recipe: Recipe, origin: str) -> Proposal:
        """A proposal of a given recipe, with its coordinates if it lies in the space."""
        plain = recipe.full()
        return _proposal(plain, origin, self._point(self.space.project(plain) or {}))

    def _optuna_sampler(self, seed: int) -> BaseSampler:
        if self.name == "random":
            return RandomSampler(seed=seed)
        return TPESampler(n_startup_trials=STARTUP_TRIALS, group=True, seed=seed)

    def _scratch(self, records: Sequence[TrialRecord], sampler: BaseSampler) -> optuna.Study:
        direction = StudyDirection.MAXIMIZE if self.objective.mode == "max" else StudyDirection.MINIMIZE
        study = optuna.create_study(direction=direction, sampler=sampler)
        if self.name != "random":
            study.add_trials(self._trials(records))
        return study

    def _trials(self, records: Sequence[TrialRecord]) -> list[FrozenTrial]:
        """One Optuna trial per record inside the space.

        It is COMPLETE with the best value it reached, one that diverged with a constant predictor's. What has no value
        (just started, or crashed) stands as RUNNING, which TPE keeps away from.
        """
        diverged = self._constant(records)
        trials = []
        for record in records:
            params, distributions = self._coordinates(record)
            if not params:
                continue
            best = record.best(self.objective)
            value = diverged if record.reason == "diverged" else best.value if best else None
            state = TrialState.RUNNING if value is None else TrialState.COMPLETE
            trials.append(_frozen(state, value, params, distributions))
        return trials

    def _constant(self, records: Sequence[TrialRecord]) -> float:
        if self.constant_value is not None:
            return self.constant_value
        seen = (one.value for record in records for one in record.curve if math.isfinite(one.value))
        return min(seen, key=self.objective.score, default=0.0)

    def _coordinates(self, record: TrialRecord) -> Point:
        """A record's place in the space as it is now: the trial may have begun in another one."""
        params = record.proposal.params
        key = tuple(sorted(params.items()))
        if params and key not in self._points:
            point = self._point(params)
            if len(point[0]) < len(params):
                point = self._point(self.space.project(record.proposal.recipe) or {})
            self._points[key] = point
        return self._points.get(key, ({}, {}))

    def _point(self, params: Mapping[str, Any]) -> Point:
        """Those of the parameters that the space would draw, with what it would draw them from."""
        distributions = self.space.distributions(params)
        return _Shared({name: params[name] for name in distributions}), _Shared(distributions)


class _Shared(dict[str, Any]):
    """A mapping that nobody changes: Optuna's storage copies every trial it is given, deeply."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


def _frozen(
    state: TrialState, value: float | None, params: dict[str, Any], distributions: dict[str, BaseDistribution]
) -> FrozenTrial:
    return FrozenTrial(
        number=-1,
        trial_id=-1,
        state=state,
        value=value,
        params=params,
        distributions=distributions,
        datetime_start=datetime.min,  # noqa: DTZ901 - Optuna's are naive, and no sampler reads them
        datetime_complete=None if value is None else datetime.min,  # noqa: DTZ901 - likewise
        user_attrs={},
        system_attrs={},
        intermediate_values={},
    )


def _proposal(recipe: Mapping[str, Any], origin: str, point: Point) -> Proposal:
    params, distributions = point
    texts = {name: distribution_to_json(distribution) for name, distribution in distributions.items()}
    return Proposal(recipe=recipe, origin=origin, params=dict(params), distributions=texts)


def build_sampler(
    name: str,
    *,
    space: SearchSpace,
    base: Recipe,
    objective: Objective,
    seed: int,
    constant_value: float | None = None,
    complete: Callable[[Recipe], Recipe] = as_it_is,
) -> Sampler:
    """The sampler of that name.

    Args:
        name: as in ``search.sampler``: ``tpe`` or ``random``.
        space: where recipes are drawn from.
        base: the recipe that the space's overrides change.
        objective: the metric and its direction.
        seed: of the search.
        constant_value: what a constant predictor reaches, for trials that diverged; default: the worst value seen.
        complete: fills in what a drawn recipe leaves open (`autoft.model.complete`).

    Raises:
        UnknownNameError: no such sampler.
    """
    known = ("tpe", "random")
    if name not in known:
        raise UnknownNameError(f"search.sampler: {name!r} is not one of {', '.join(known)}{near(name, known)}")
    return OptunaSampler(
        name=name,
        space=space,
        base=base,
        objective=objective,
        seed=seed,
        constant_value=constant_value,
        complete=complete,
    )
