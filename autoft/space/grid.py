"""A grid over a search space: a few levels of each dimension, and all their combinations in an order that spreads."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from autoft.streams import stream_seed

LEVELS = 5
"""Of a continuous range; a range with a step has all its values, a choice all its labels."""
_GOLDEN = (math.sqrt(5) - 1) / 2


def levels(distribution: BaseDistribution, count: int = LEVELS) -> list[Any]:
    """Values evenly spread over a range (on a log scale where it has one), both ends among them."""
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    low, high, step = distribution.low, distribution.high, distribution.step
    if step is not None and not distribution.log:
        return [low + step * place for place in range(round((high - low) / step) + 1)]
    if low == high:
        return [low]
    spread = (np.geomspace if distribution.log else np.linspace)(low, high, count)
    if isinstance(distribution, IntDistribution):
        return sorted({int(value) for value in spread.round()})
    return [low, *(float(value) for value in spread[1:-1]), high]


def middle(distribution: BaseDistribution) -> Any:
    """The value half-way through a range; the first of a choice's labels."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0]
    found = levels(distribution, 3)
    return found[len(found) // 2]


def grid_points(ranges: Mapping[str, BaseDistribution], seed: int) -> Iterator[dict[str, Any]]:
    """All combinations of the ranges' `levels`, each once, in an order that depends on the seed alone.

    Combinations are counted, and taken in steps of the golden section of their number (the nearest that is coprime to
    it), so that the first few already lie apart.
    """
    values = {name: levels(distribution) for name, distribution in ranges.items()}
    size = math.prod(map(len, values.values()))
    step = next(each for each in range(max(1, round(_GOLDEN * size)), 2 * size + 1) if math.gcd(each, size) == 1)
    first = stream_seed(seed, "grid") % size
    for count in range(size):
        rest, point = (first + count * step) % size, {}
        for name, found in values.items():
            rest, place = divmod(rest, len(found))
            point[name] = found[place]
        yield point
