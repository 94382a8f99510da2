"""What a training's seed does to its score, estimated from few runs of several recipes."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from autoft.statistics.intervals import Interval, normal_quantile
from autoft.statistics.paired import Comparison

Array = NDArray[np.float64]


def seed_variance(runs: Sequence[Array], *, same_items: bool) -> float:
    """The variance that seeds put between runs of one recipe, taken to be the same for all recipes; at least 0.

    What is left of the means when recipe and run are taken out (two-way analysis of variance without replication), less
    what the items of a run explain. Two runs of one recipe say next to nothing; all recipes together say something.

    Args:
        runs: per run the scores (recipes, items); every recipe has every run.
        same_items: whether all runs are scored on the same items, which then explain nothing of what is left.

    Raises:
        ValueError: another number of recipes in one run than in another.
    """
    if len({len(scores) for scores in runs}) > 1:
        raise ValueError("runs: must have the same recipes in each")
    if len(runs) < 2 or len(runs[0]) < 2:
        return 0.0
    means = np.stack([scores.mean(axis=1) for scores in runs], axis=1)
    rest = means - means.mean(axis=0) - means.mean(axis=1, keepdims=True) + means.mean()
    recipes = len(means)
    left = np.square(rest).sum() / ((recipes - 1) * (len(runs) - 1))
    explained = 0.0 if same_items else float(np.mean([_by_items(scores) for scores in runs]))
    return max(0.0, float(left) - explained)


def _by_items(scores: Array) -> float:
    """Variance of a recipe's mean that comes from which items were drawn, beyond what they do to all recipes alike."""
    recipes, items = scores.shape
    own = scores - scores.mean(axis=0)
    own -= own.mean(axis=1, keepdims=True)
    return float(np.square(own).sum() / ((recipes - 1) * max(1, items - 1)) / items)


def seed_error(variance: float, runs: int) -> float:
    """Standard error that seeds put on the difference of two recipes with so many runs each."""
    return math.sqrt(2 * variance / max(1, runs))


def widened(comparison: Comparison, error: float) -> Comparison:
    """A comparison on items, with an error beside that of the items."""
    interval = wider(comparison.interval, error)
    return replace(comparison, standard_error=math.hypot(comparison.standard_error, error), interval=interval)


def wider(interval: Interval, error: float) -> Interval:
    """An interval from items, with a standard error beside theirs."""
    if not error:
        return interval
    more = normal_quantile(interval.level) * error
    below, above = math.hypot(interval.value - interval.low, more), math.hypot(interval.high - interval.value, more)
    return replace(interval, low=interval.value - below, high=interval.value + above)
