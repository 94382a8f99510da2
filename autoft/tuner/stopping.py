"""Whether it pays to try more recipes."""

from collections.abc import Sequence

from autoft.record import Objective, TrialRecord, TrialState
from autoft.statistics import expected_gain

FEWEST = 8
"""Trials with a value before anything is said of those to come."""


def gain_to_come(records: Sequence[TrialRecord], objective: Objective, more: int) -> float | None:
    """By how much ``more`` recipes are expected to better the best value, at most; None while too few were tried.

    What counts are trials that ended or paused, without those that diverged or crashed. For more recipes than half of
    those tried, the gain of so many is taken to go on at the same pace, though in truth it slows down.
    """
    judged = [record for record in records if record.state.finished or record.paused]
    found = (record.best(objective) for record in judged if record.state != TrialState.FAIL)
    scores = [objective.score(best.value) for best in found if best]
    if len(scores) < FEWEST or more < 1:
        return None
    known = min(more, len(scores) // 2)
    return expected_gain(scores, known) * more / known


def not_worth_it(
    records: Sequence[TrialRecord], objective: Objective, *, more: int, min_gain: float | None
) -> str | None:
    """A sentence when ``more`` recipes are expected to bring less than ``min_gain``; None to go on."""
    gain = None if min_gain is None else gain_to_come(records, objective, more)
    if min_gain is None or gain is None or gain >= min_gain:
        return None
    return (
        f"{more} more recipes were expected to better {objective.metric} by at most {gain:.2g}, less than "
        f"search.min_gain ({min_gain:g})"
    )
