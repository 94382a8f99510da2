"""Which of several measured recipes to take, and whether to go on looking."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoft.statistics.paired import standard_error


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A recipe with what it reached on each item."""

    name: Hashable
    complexity: float
    """What makes the simpler one simpler: parameters trained, predicted cost; lower is simpler."""
    scores: NDArray[np.float64]
    """(n,) per item, higher is better, in the same order for all candidates; of several seeds, their means."""

    @property
    def mean(self) -> float:
        """Over the items."""
        return float(self.scores.mean())


def simplest(candidates: Sequence[Candidate], *, groups: Sequence[Any] | None = None, beside: float = 0.0) -> Candidate:
    """The simplest recipe within one standard error of the best (Breiman et al. 1984), by paired differences.

    The error is that of the difference on the same items, which is smaller than that of either mean.

    Args:
        candidates: at least one.
        groups: name per item of what belongs together.
        beside: a standard error of each difference beside that of the items, as of seeds.

    Raises:
        ValueError: no candidates, or scores of different items.
    """
    if not candidates:
        raise ValueError("candidates: must be at least one, got none")
    best = max(candidates, key=lambda one: (one.mean, -one.complexity))
    near = [best]
    for one in candidates:
        if one is not best:
            behind = best.scores - one.scores
            # one item more is one standard error, whatever the rounding says
            if behind.mean() <= math.hypot(standard_error(behind, groups=groups), beside) * (1 + 1e-9):
                near.append(one)
    return min(near, key=lambda one: (one.complexity, -one.mean))


def expected_gain(scores: Sequence[float], more: int) -> float:
    """By how much ``more`` recipes drawn like those tried are expected to raise the best score, at most.

    By how much the last ``more`` of them raised it, over all orders in which they might have come, from what Dodge et
    al. (2019, arXiv 1909.03004) call expected validation performance. As the best of n grows ever slower with n, the
    next ones are not expected to bring more.

    Args:
        scores: of the recipes tried, (n,), higher is better.
        more: recipes; at most n - 1 can be judged.

    Raises:
        ValueError: ``more`` outside of 1..n - 1, or a score that is no number.
    """
    ordered = np.sort(np.asarray(scores, dtype=float))
    count = len(ordered)
    if not 1 <= more < count:
        raise ValueError(f"more: must lie within 1..{count - 1}, one less than the scores, got {more}")
    if not np.isfinite(ordered).all():
        raise ValueError("scores: must be finite; leave out recipes that diverged")
    fewer = count - more
    chances = [math.comb(place, fewer - 1) / math.comb(count, fewer) for place in range(count)]
    return float(ordered[-1] - np.dot(chances, ordered))
