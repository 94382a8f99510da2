"""Optuna's samplers by name, each ready for a scratch study that is built anew for every proposal."""

import math
from collections.abc import Mapping
from importlib import import_module
from typing import Any, TypeAlias

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.search_space import intersection_search_space
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

STARTUP_TRIALS = 8
"""Trials inside the space before a model is made of them; the ones before are drawn at random."""
POPULATION = 8
"""Of nsga2: searches are short."""
KINDS = ("tpe", "gp", "cmaes", "random", "grid", "nsga2")
JOINT = frozenset({"gp", "cmaes", "nsga2"})
"""Samplers that know only dimensions which every trial has."""
STEERED = frozenset({"tpe", "nsga2"})
"""Samplers that go by several objectives; gp could, but takes seconds for a proposal then."""

Numeric: TypeAlias = IntDistribution | FloatDistribution


def optuna_sampler(name: str, seed: int) -> BaseSampler:
    """The sampler of that name; ``grid`` is none of Optuna's, and stands here as ``random``."""
    match name:
        case "tpe":
            return TPESampler(n_startup_trials=STARTUP_TRIALS, multivariate=True, group=True, seed=seed)
        case "gp":
            return GPSampler(n_startup_trials=STARTUP_TRIALS, seed=seed, warn_independent_sampling=False)
        case "cmaes":
            return ReplayedCma(seed)
        case "nsga2":
            return NSGAIISampler(population_size=POPULATION, seed=seed)
        case _:
            return RandomSampler(seed=seed)


def generation_attrs(name: str, place: int) -> dict[str, Any]:
    """What tells nsga2 of which generation a trial is, by its place among those that have a value."""
    return {NSGAIISampler._get_generation_key(): place // POPULATION} if name == "nsga2" else {}


class ReplayedCma(RandomSampler):
    """CMA-ES (Hansen 2016, arXiv 1604.00772) that is told all earlier trials again, generation by generation.

    Optuna's own keeps the optimizer in the trials of one process's study; this one is a function of the records. Before
    the first generation is full, and for choices, it draws at random.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(seed=seed)
        self._random = np.random.RandomState(seed % 2**32)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The numbers that all trials with a value have."""
        del trial
        shared = intersection_search_space(_with_value(study))
        return {name: each for name, each in shared.items() if isinstance(each, Numeric) and each.low < each.high}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A draw from what the generations so far have made of the distribution."""
        del trial
        if not search_space:
            return {}
        ranges = {name: each for name, each in search_space.items() if isinstance(each, Numeric)}
        size, sign = len(ranges), -1 if study.direction == StudyDirection.MAXIMIZE else 1
        bounds = np.tile([0.0, 1.0], (size, 1))
        cmaes = import_module("cmaes")  # seldom needed, and imports scipy's statistics
        optimizer = cmaes.CMA(mean=np.full(size, 0.5), sigma=1 / 4, bounds=bounds, seed=0, n_max_resampling=10 * size)
        told = [(_unit(one.params, ranges), sign * (one.value or 0.0)) for one in _with_value(study)]
        if len(told) < optimizer.population_size:
            return {}
        for start in range(0, len(told) - optimizer.population_size + 1, optimizer.population_size):
            optimizer.tell(told[start : start + optimizer.population_size])
        optimizer._rng.seed(self._random.randint(2**31))
        return _values(optimizer.ask(), ranges)


def _with_value(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def _unit(params: Mapping[str, Any], ranges: Mapping[str, Numeric]) -> NDArray[np.float64]:
    """Values as places within 0..1 of their ranges."""
    return np.array([scaled(params[name], each) for name, each in ranges.items()])


def scaled(value: float, chosen: Numeric) -> float:
    """The place of a value within 0..1 of its range."""
    if chosen.log:
        return math.log(value / chosen.low) / math.log(chosen.high / chosen.low)
    return (value - chosen.low) / (chosen.high - chosen.low)


def _values(places: NDArray[np.float64], ranges: Mapping[str, Numeric]) -> dict[str, Any]:
    """The inverse of `_unit`, on the steps of ranges that have some."""
    return {name: _value(float(place), each) for place, (name, each) in zip(places, ranges.items(), strict=True)}


def _value(place: float, chosen: Numeric) -> float:
    low, high = chosen.low, chosen.high
    value = low * (high / low) ** place if chosen.log else low + place * (high - low)
    if chosen.step is not None:
        value = low + chosen.step * round((value - low) / chosen.step)
    value = min(high, max(low, value))
    return int(value) if isinstance(chosen, IntDistribution) else value
