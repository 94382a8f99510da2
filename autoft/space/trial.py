"""Trials without a study: one that draws at random, one that repeats given values."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FixedTrial

from autoft.space.dimension import Number, same


class OutsideError(LookupError):
    """A value that was asked for is missing, or cannot be drawn."""


class RandomTrial(FixedTrial):
    """Draws each value uniformly (on a log scale where asked), keeping what it drew in ``params``."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__({})
        self._rng = rng

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        if name not in self._params:
            self._params[name] = _draw(distribution, self._rng)
        return super()._suggest(name, distribution)


class RepeatedTrial(FixedTrial):
    """Gives back values drawn before.

    Raises:
        OutsideError: when asked for a value that is missing or that the distribution does not contain.
    """

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__(dict(params))

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        if name not in self._params or not contains(distribution, self._params[name]):
            raise OutsideError(name)
        return super()._suggest(name, distribution)


def contains(distribution: BaseDistribution, value: Any) -> bool:
    """Whether ``value`` can be drawn from ``distribution``."""
    if isinstance(distribution, CategoricalDistribution):
        return any(same(choice, value) for choice in distribution.choices)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    return Number(name="", paths=(), distribution=distribution).contains(value)


def _draw(distribution: BaseDistribution, rng: np.random.Generator) -> Any:
    match distribution:
        case CategoricalDistribution():
            return distribution.choices[rng.integers(len(distribution.choices))]
        case IntDistribution(low=low, high=high, log=True):
            return min(high, max(low, round(float(np.exp(rng.uniform(np.log(low), np.log(high)))))))
        case IntDistribution(low=low, high=high, step=step):
            return low + step * int(rng.integers((high - low) // step + 1))
        case FloatDistribution(low=low, high=high, log=True):
            return min(high, max(low, float(np.exp(rng.uniform(np.log(low), np.log(high))))))
        case FloatDistribution(low=low, high=high, step=float(step)):
            return min(high, low + step * int(rng.integers(round((high - low) / step) + 1)))
        case FloatDistribution(low=low, high=high):
            return float(rng.uniform(low, high))
        case _:
            raise TypeError(type(distribution))
