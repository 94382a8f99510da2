"""An interval for one accuracy."""

import math
from dataclasses import dataclass
from statistics import NormalDist

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A number, and between what it lies at a level of confidence."""

    value: float
    low: float
    high: float
    level: float = LEVEL

    def __contains__(self, truth: float) -> bool:
        return self.low <= truth <= self.high


def wilson_interval(correct: int, items: int, *, level: float = LEVEL) -> Interval:
    """The score interval of a proportion (Wilson 1927): honest also for few items and near 0 and 1.

    Args:
        correct: items that were predicted rightly.
        items: all items; each stands for itself, so give groups of like items to `paired_bootstrap` instead.
        level: of confidence, within 0..1.

    Raises:
        ValueError: no items, more correct than items, or a level outside of 0..1.
    """
    if items < 1 or not 0 <= correct <= items:
        raise ValueError(f"correct: must lie within 0..items with at least one item, got {correct} of {items}")
    z = normal_quantile(level)
    share = correct / items
    centre = (share + z**2 / (2 * items)) / (1 + z**2 / items)
    half = z * math.sqrt(share * (1 - share) / items + z**2 / (4 * items**2)) / (1 + z**2 / items)
    low = 0.0 if correct == 0 else centre - half
    high = 1.0 if correct == items else centre + half
    return Interval(share, low, high, level)


def normal_quantile(level: float) -> float:
    """How many standard deviations either side hold ``level`` of a normal distribution.

    Raises:
        ValueError: a level outside of 0..1.
    """
    if not 0 < level < 1:
        raise ValueError(f"level: must lie between 0 and 1, got {level}; 0.95 is customary")
    return NormalDist().inv_cdf(0.5 + level / 2)
