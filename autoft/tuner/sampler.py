"""Samplers: where the next recipe comes from, given what is known of the others.

A ledger is no food for Optuna's samplers: TPE never sees a failed trial, takes a running (so a paused) one for bad, and
ranks pruned ones by their last step first. So every proposal comes from a scratch study in memory, rebuilt from the
records, in which each trial stands with the best value it reached.
"""

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol, Self, TypeAlias

import optuna
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import StudyDirection
from optuna.trial import BaseTrial, FrozenTrial, TrialState

from autoft.errors import ConfigError, UnknownNameError, near
from autoft.recipe import Recipe
from autoft.record import Objective, Proposal, TrialRecord
from autoft.space import DeclaredSpace, RepeatedTrial, SearchSpace, grid_points, middle
from autoft.streams import stream_seed
from autoft.study import quiet
from autoft.tuner.pareto import Aims
from autoft.tuner.sampler_kinds import JOINT, KINDS, STEERED, generation_attrs, optuna_sampler

DRAWS, RANDOM_DRAWS = 8, 128
"""How often a recipe that was tried already is drawn again: by the sampler, then at random."""

Point: TypeAlias = tuple[dict[str, Any], dict[str, BaseDistribution]]
Overrides: TypeAlias = dict[str, Any]
Values: TypeAlias = tuple[float, ...]


def as_it_is(recipe: Recipe) -> Recipe:
    """The recipe itself."""
    return recipe


def any_recipe(recipe: Recipe) -> bool:
    """Every recipe may be proposed."""
    del recipe
    return True


class Sampler(Protocol):
    """A pure function of (seed, number, records)."""

    def propose(self, records: Sequence[TrialRecord], number: int) -> Proposal | None:
        """The recipe for trial ``number``; None when every recipe of the space was tried."""

    def locate(self, recipe: Recipe, origin: str) -> Proposal:
        """A proposal of a given recipe, with its coordinates if it lies in the space."""


@dataclass(frozen=True)
class PredictingSampler:
    """A sampler whose proposals say what they will cost, per epoch of each stage of a recipe given as plain data."""

    sampler: Sampler
    predict: Callable[[Mapping[str, Any]], Mapping[str, float]]
    """Seconds."""
    count: Callable[[Mapping[str, Any]], Mapping[str, float]]
    """Units, which decisions rest on."""

    def propose(self, records: Sequence[TrialRecord], number: int) -> Proposal | None:
        """The recipe for trial ``number``; None when every recipe of the space was tried."""
        proposal = self.sampler.propose(records, number)
        return proposal and self._priced(proposal)

    def locate(self, recipe: Recipe, origin: str) -> Proposal:
        """A proposal of a given recipe, with its coordinates if it lies in the space."""
        return self._priced(self.sampler.locate(recipe, origin))

    def _priced(self, proposal: Proposal) -> Proposal:
        return replace(proposal, predicted=self.predict(proposal.recipe), units=self.count(proposal.recipe))


@dataclass(frozen=True, kw_only=True)
class OptunaSampler:
    """A sampler of Optuna over a scratch study, or a grid over the space.

    Optuna's gp, cmaes and nsga2 know only dimensions that every trial has. So for them a dimension that does not count
    for a recipe stands in the middle of its range. Of a space that is a function they model what all trials so far
    have in common, and draw the rest at random. All depend on (seed, number, records) alone.
    """

    name: str
    space: SearchSpace
    base: Recipe
    objective: Objective
    seed: int
    constant_value: float | None = None
    complete: Callable[[Recipe], Recipe] = as_it_is
    allow: Callable[[Recipe], bool] = any_recipe
    aims: Aims | None = None
    """Several objectives to go by, instead of the one."""
    _points: dict[Hashable, Point] = field(default_factory=dict, repr=False)
    _grid: list[Mapping[str, Any]] = field(default_factory=list, repr=False)

    def propose(self, records: Sequence[TrialRecord], number: int) -> Proposal | None:
        """The recipe for trial ``number``: one that no record has; None when there seems to be none left."""
        tried = [record.proposal.recipe for record in records]
        with quiet():
            optuna.logging.set_verbosity(optuna.logging.ERROR)  # gp tells which of its optimizers it has
            for place, (changes, trial) in enumerate(self._draws(records, number)):
                recipe = self._recipe(place, changes)
                if recipe not in tried and self.allow(Recipe.parse(recipe, where="space")):
                    return _proposal(recipe, self.name, (trial.params, trial.distributions))
        return None

    def locate(self, recipe: Recipe, origin: str) -> Proposal:
        """A proposal of a given recipe, with its coordinates if it lies in the space."""
        plain = recipe.full()
        return _proposal(plain, origin, self._point(self.space.project(plain) or {}))

    @property
    def _joint(self) -> bool:
        return self.name in JOINT and isinstance(self.space, DeclaredSpace)

    def _draws(self, records: Sequence[TrialRecord], number: int) -> Iterator[tuple[Overrides, BaseTrial]]:
        """What to try in this order, until it is something new."""
        if self.name == "grid":
            yield from self._repeated(grid_points(self.space.ranges, self.seed))
            return
        seed = stream_seed(self.seed, "propose", number) % 2**32
        study = self._scratch(records, optuna_sampler(self.name, seed))
        ranges = dict(self.space.ranges) if self._joint else None
        for attempt in range(DRAWS + RANDOM_DRAWS):
            if attempt == DRAWS:
                study.sampler = RandomSampler(seed=seed)
            trial = study.ask(fixed_distributions=ranges)
            if self._joint:
                yield from self._repeated([trial.params])
            else:
                yield self.space.draw(trial), trial

    def _repeated(self, points: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Overrides, BaseTrial]]:
        """Points with a value of every dimension, of which only those that count are drawn."""
        for point in points:
            trial = RepeatedTrial(point)
            yield self.space.draw(trial), trial

    def _recipe(self, place: int, changes: Overrides) -> Mapping[str, Any]:
        """The recipe that changes make; those of a grid are kept, for it is gone through again each time."""
        if self.name == "grid" and place < len(self._grid):
            return self._grid[place]
        recipe = self.complete(self.base.override(changes, where="space")).full()
        if self.name == "grid":
            self._grid.append(recipe)
        return recipe

    def _scratch(self, records: Sequence[TrialRecord], sampler: BaseSampler) -> optuna.Study:
        objectives = self.aims.objectives if self.aims else (self.objective,)
        modes = [StudyDirection.MAXIMIZE if each.mode == "max" else StudyDirection.MINIMIZE for each in objectives]
        study = optuna.create_study(directions=modes, sampler=sampler)
        if self.name != "random":
            study.add_trials(self._trials(records))
        return study

    def _trials(self, records: Sequence[TrialRecord]) -> list[FrozenTrial]:
        """One Optuna trial per record inside the space.

        It is COMPLETE with the best value it reached (`_one`), or with several (`_several`). What has no value
        (just started, or crashed) stands as RUNNING, which tpe and gp keep away from.
        """
        reached = self._several(records, self.aims) if self.aims else self._one(records)
        trials: list[FrozenTrial] = []
        valued = 0
        for record in records:
            params, distributions = self._coordinates(record)
            if not params:
                continue
            values = reached[record.number]
            trials.append(_frozen(values, *self._filled(params, distributions), generation_attrs(self.name, valued)))
            valued += values is not None
        return trials

    def _one(self, records: Sequence[TrialRecord]) -> dict[int, Values | None]:
        """The best value of each trial; a constant predictor's of one that diverged."""
        diverged = self._constant(records)
        best = {record.number: record.best(self.objective) for record in records}
        reached: dict[int, Values | None] = {number: (one.value,) if one else None for number, one in best.items()}
        return reached | {record.number: (diverged,) for record in records if record.reason == "diverged"}

    def _several(self, records: Sequence[TrialRecord], aims: Aims) -> dict[int, Values | None]:
        """What each trial reached in all objectives; the worst of the others in each of them of one that diverged."""
        diverged = {record.number for record in records if record.reason == "diverged"}
        reached = {record.number: None if record.number in diverged else aims.values(record) for record in records}
        known = [values for values in reached.values() if values]
        if not known:
            return reached
        worst = tuple(
            min(column, key=each.score) for each, column in zip(aims.objectives, zip(*known, strict=True), strict=True)
        )
        return reached | dict.fromkeys(diverged, worst)

    def _filled(self, params: dict[str, Any], distributions: dict[str, BaseDistribution]) -> Point:
        """A place with a value of every dimension, for samplers that need one."""
        if not self._joint:
            return params, distributions
        ranges = self.space.ranges
        missing = {name: middle(each) for name, each in ranges.items() if name not in params}
        return _Shared({**missing, **params}), _Shared(ranges)

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
    values: Values | None, params: dict[str, Any], distributions: dict[str, BaseDistribution], attrs: dict[str, Any]
) -> FrozenTrial:
    return FrozenTrial(
        number=-1,
        trial_id=-1,
        state=TrialState.RUNNING if values is None else TrialState.COMPLETE,
        value=None,
        values=values,
        params=params,
        distributions=distributions,
        datetime_start=datetime.min,  # noqa: DTZ901 - Optuna's are naive, and no sampler reads them
        datetime_complete=None if values is None else datetime.min,  # noqa: DTZ901 - likewise
        user_attrs={},
        system_attrs={} if values is None else attrs,
        intermediate_values={},
    )


def _proposal(recipe: Mapping[str, Any], origin: str, point: Point) -> Proposal:
    params, distributions = point
    texts = {name: distribution_to_json(distribution) for name, distribution in distributions.items()}
    return Proposal(recipe=recipe, origin=origin, params=dict(params), distributions=texts)


def build_sampler(  # noqa: PLR0913 - all that a sampler needs
    name: str,
    *,
    space: SearchSpace,
    base: Recipe,
    objective: Objective,
    seed: int,
    constant_value: float | None = None,
    complete: Callable[[Recipe], Recipe] = as_it_is,
    allow: Callable[[Recipe], bool] = any_recipe,
    aims: Aims | None = None,
) -> Sampler:
    """The sampler of that name.

    Args:
        name: as in ``search.sampler``: one of `KINDS`.
        space: where recipes are drawn from.
        base: the recipe that the space's overrides change.
        objective: the metric and its direction.
        seed: of the search.
        constant_value: what a constant predictor reaches, for trials that diverged; default: the worst value seen.
        complete: fills in what a drawn recipe leaves open (`autoft.model.complete`).
        allow: whether a recipe may be proposed; what may not is drawn again.
        aims: several objectives to go by; those of `STEERED` do, the others by the first alone or by none.

    Raises:
        UnknownNameError: no such sampler.
        ConfigError: a grid over a function, whose dimensions nobody knows beforehand.
    """
    if name not in KINDS:
        raise UnknownNameError(f"search.sampler: {name!r} is not one of {', '.join(KINDS)}{near(name, KINDS)}")
    if name == "grid" and not isinstance(space, DeclaredSpace):
        raise ConfigError(
            "search.sampler: grid needs a space that says its dimensions, got a function; "
            "write the space as a mapping, or take another sampler"
        )
    return OptunaSampler(
        name=name,
        space=space,
        base=base,
        objective=objective,
        seed=seed,
        constant_value=constant_value,
        complete=complete,
        allow=allow,
        aims=aims if name in STEERED else None,
    )
