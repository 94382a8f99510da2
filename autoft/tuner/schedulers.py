"""Rules that stop trials early, by the names of ``search.scheduler``; `autoft.tuner.thaw` has the one that pauses."""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from autoft.pruning import Nothing, Rule, best_score, shown
from autoft.record import CONTINUE, Curve, Decision, Objective, TrialRecord, stop
from autoft.tuner.halving import Halving, opening_stages, planned_evaluations

SchedulerName: TypeAlias = Literal["thaw", "asha", "hyperband", "median", "none"]

_BRACKETS = 3
"""Of hyperband, where a recipe does not say how many evaluations it has."""
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True, slots=True)
class Median:
    """Stops a trial whose best lies behind the median of its peers' running averages (Golovin et al. 2017).

    Peers are those that came as far. Unlike `autoft.pruning.Dominated`, which compares best with best and is patient.
    """

    grace_period: int = 2
    """Evaluations before a trial is judged."""
    min_peers: int = 5
    unjudged: Collection[str] = ()
    """Stages in which none is."""

    def __call__(self, curve: Curve, peers: Sequence[Curve], objective: Objective, /) -> Decision:
        """Stop, or go on."""
        index = len(curve)
        if index < self.grace_period or not curve[-1].comparable or curve[-1].stage in self.unjudged:
            return CONTINUE
        averages = [_average(peer[:index], objective) for peer in peers if len(peer) >= index]
        if len(averages) < self.min_peers:
            return CONTINUE
        own, median = best_score(curve, index, objective), float(np.median(averages))
        if own >= median:
            return CONTINUE
        return stop(
            "median",
            f"best {objective.metric} {shown(own, objective)} at evaluation {index} is behind "
            f"{shown(median, objective)}, the median of the running averages of {len(averages)} peers",
        )


def _average(curve: Curve, objective: Objective) -> float:
    return float(np.mean([best_score((evaluation,), 1, objective) for evaluation in curve]))


def bracket_of(record: TrialRecord, *, grace_period: int, reduction_factor: int) -> int:
    """The bracket of a trial, from 0: it is first judged at ``grace_period * reduction_factor ** bracket`` evaluations.

    Trials are spread by their number, so that each bracket is expected to spend alike, as in Hyperband (Li et al. 2018,
    arXiv 1603.06560).
    """
    planned = planned_evaluations(record.proposal.recipe)
    count = _BRACKETS
    if planned is not None:
        rungs = range(1, planned.bit_length() + 1)
        count = 1 + sum(grace_period * reduction_factor**rung <= planned for rung in rungs)
    last = count - 1
    trials = [count / (last - bracket + 1) * reduction_factor ** (last - bracket) for bracket in range(count)]
    place = (record.number * _GOLDEN) % 1.0 * sum(trials)
    return next((bracket for bracket in range(count) if place < sum(trials[: bracket + 1])), last)


def among(peers: Sequence[Curve], rule: Rule) -> Rule:
    """The rule, with these as the peers."""

    def judge(curve: Curve, _peers: Sequence[Curve], objective: Objective, /) -> Decision:
        return rule(curve, peers, objective)

    return judge


def scheduler_rule(
    name: SchedulerName,
    record: TrialRecord,
    peers_in: Callable[[Callable[[TrialRecord], bool]], Sequence[Curve]],
    *,
    grace_period: int,
    reduction_factor: int,
    min_peers: int,
) -> Rule:
    """What a scheduler says of a trial.

    Args:
        name: as in ``search.scheduler``; ``thaw`` and ``none`` stop nothing.
        record: the trial.
        peers_in: the curves of those other trials for which a condition holds.
        grace_period: evaluations before a trial is compared with others.
        reduction_factor: of so many trials that come to a rung one goes on.
        min_peers: without so many the median rule is silent.
    """
    opening = opening_stages(record.proposal.recipe["stages"])
    match name:
        case "asha":
            return Halving(grace_period, reduction_factor, opening)
        case "hyperband":
            own = bracket_of(record, grace_period=grace_period, reduction_factor=reduction_factor)

            def beside(other: TrialRecord) -> bool:
                return bracket_of(other, grace_period=grace_period, reduction_factor=reduction_factor) == own

            first = grace_period * reduction_factor**own
            return among(peers_in(beside), Halving(first, reduction_factor, opening))
        case "median":
            return Median(grace_period, min_peers, opening)
        case "thaw" | "none":
            return Nothing()
