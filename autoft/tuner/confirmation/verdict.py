"""What confirmation says: the simplest recipe within one paired standard error of the best. Pure, of scores alone."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoft.data.outcomes import score_name
from autoft.record import Objective
from autoft.statistics import (
    Candidate,
    Comparison,
    Interval,
    compare,
    paired_bootstrap,
    seed_error,
    seed_variance,
    simplest,
    standard_error,
    widened,
    wider,
    wilson_interval,
)
from autoft.tuner.confirmation.runs import Outcome

_ACCURACIES = ("accuracy", "balanced_accuracy")
"""Differences of these are told in points."""
Pair = tuple[int, int]
"""Trial and run."""
_BASES = {"over_frozen": "head_only", "over_standard": "standard"}


@dataclass(frozen=True, slots=True)
class Entrant:
    """A trial that is run again."""

    trial: int
    origin: str
    parameters: int
    """That it trains."""
    cost_s: float
    """Predicted, of one run: the cheaper one is simpler where as many parameters are trained."""
    head_alone: bool = False
    """Whether the backbone stays frozen throughout."""

    @property
    def complexity(self) -> float:
        """Parameters first, then cost."""
        return self.parameters + self.cost_s / (1.0 + self.cost_s)


@dataclass(frozen=True)
class Verdict:
    """The choice among the recipes that came through."""

    entrants: tuple[Entrant, ...]
    outcomes: Mapping[Pair, Outcome]
    objective: Objective
    groups: NDArray[np.str_] | None = None
    """Of all items; what belongs together is drawn together."""
    runs: tuple[int, ...] = ()
    """That all entrants have."""
    _pooled: dict[int, tuple[NDArray[np.int64], NDArray[np.float64]]] = field(default_factory=dict, repr=False)

    @property
    def winner(self) -> Entrant:
        """The simplest within one standard error of the best."""
        named = [Candidate(one.trial, one.complexity, self.scores(one)) for one in self.entrants]
        groups = self._groups()
        chosen = (
            simplest(named, groups=groups, beside=self.of_seeds)
            if self._comparable()
            else max(named, key=lambda one: one.mean)
        )
        return next(one for one in self.entrants if one.trial == chosen.name)

    @property
    def best(self) -> Entrant:
        """The highest mean; the simpler one where two are equal."""
        return max(self.entrants, key=lambda one: (self.scores(one).mean(), -one.complexity))

    def scores(self, one: Entrant) -> NDArray[np.float64]:
        """Per held-out item (n,), in the order of `items`; of several runs on an item their mean."""
        return self._pool(one)[1]

    def items(self) -> NDArray[np.int64]:
        """What was held out in all runs, each item once."""
        return self._pool(self.entrants[0])[0]

    def interval(self, one: Entrant) -> Interval | None:
        """Of the metric, by items and seeds; None where it is not a mean over items, or nothing can be said."""
        found = self._by_items(one)
        if found is None:
            return None
        both = wider(found, self.of_seeds / math.sqrt(2))
        share = self.objective.metric == "accuracy"
        return replace(both, low=max(0.0, both.low), high=min(1.0, both.high)) if share else both

    def _by_items(self, one: Entrant) -> Interval | None:
        scores, metric = self.scores(one), self.objective.metric
        if score_name(metric) != metric:
            return None
        if metric == "accuracy" and self.groups is None and bool(np.isin(scores, (0.0, 1.0)).all()):
            return wilson_interval(int(scores.sum()), len(scores))
        if not self._comparable():
            return None
        found = paired_bootstrap(scores, groups=self._groups())
        if self.objective.mode == "max":
            return found
        return Interval(-found.value, -found.high, -found.low, found.level)

    def compared(self, first: Entrant, second: Entrant) -> Comparison | None:
        """By how much the first is better; None where fewer than two items or groups were held out."""
        if not self._comparable():
            return None
        return widened(compare(self.scores(first), self.scores(second), groups=self._groups()), self.of_seeds)

    def error(self, one: Entrant) -> float:
        """Standard error of the difference to the best, by items and seeds."""
        behind = self.scores(self.best) - self.scores(one)
        return math.hypot(standard_error(behind, groups=self._groups()), self.of_seeds) if self._comparable() else 0.0

    @cached_property
    def of_seeds(self) -> float:
        """Standard error that seeds put on the difference of two recipes, estimated from all who were run again."""
        parts = [[self.outcomes[one.trial, run] for one in self.entrants] for run in self.runs]
        same = len({part[0].items.tobytes() for part in parts}) < len(parts)
        variance = seed_variance([np.stack([each.scores for each in part]) for part in parts], same_items=same)
        return seed_error(variance, len(self.runs))

    def _pool(self, one: Entrant) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        if one.trial not in self._pooled:
            parts = [self.outcomes[one.trial, run] for run in self.runs]
            items, members = np.unique(np.concatenate([part.items for part in parts]), return_inverse=True)
            sums = np.bincount(members, weights=np.concatenate([part.scores for part in parts]))
            self._pooled[one.trial] = items, sums / np.bincount(members)
        return self._pooled[one.trial]

    def _groups(self) -> list[str] | None:
        return None if self.groups is None else self.groups[self.items()].tolist()

    def _comparable(self) -> bool:
        groups = self._groups()
        return len(self.items() if groups is None else set(groups)) > 1


def judge(
    entrants: Sequence[Entrant],
    outcomes: Mapping[Pair, Outcome],
    failed: frozenset[int],
    objective: Objective,
    *,
    groups: NDArray[np.str_] | None = None,
) -> Verdict | None:
    """Compare what can be compared: the runs that all have who did not fail; else who has the first run.

    None where fewer than two recipes of several came through: then nothing was confirmed.

    Args:
        entrants: as planned.
        outcomes: of the runs that came to their end.
        failed: trials of which a run diverged or crashed.
        objective: what decides.
        groups: of all items.
    """
    alive = [one for one in entrants if one.trial not in failed]
    planned = sorted({run for _, run in outcomes})
    runs = [run for run in planned if all((one.trial, run) in outcomes for one in alive)]
    if not runs and planned:
        runs = planned[:1]
        alive = [one for one in alive if (one.trial, runs[0]) in outcomes]
    if not runs or not alive or (len(alive) == 1 and len(entrants) > 1):
        return None
    return Verdict(tuple(alive), outcomes, objective, groups, tuple(runs))


def plain_verdict(verdict: Verdict, *, best: int | None = None) -> dict[str, Any]:
    """The choice as summary.json has it.

    Args:
        verdict: on those that came through.
        best: the trial that is the best by validation and has not failed. Where it did not come through, for lack of
            time, nobody has beaten it: ``winner`` is None.
    """
    winner: int | None = verdict.winner.trial
    told = why(verdict)
    if best is not None and all(one.trial != best for one in verdict.entrants):
        winner = None
        told = f"trial {best}, the best by validation, stays: there was no time for its run to come to its end; {told}"
    return {
        "runs": len(verdict.runs),
        "held_out_items": len(verdict.items()),
        "score": score_name(verdict.objective.metric),
        "candidates": [_candidate(verdict, one) for one in verdict.entrants],
        "winner": winner,
        "why": told,
        "unfreezing": {name: _bought(verdict, name, base) for name, base in _BASES.items()},
    }


def why(verdict: Verdict) -> str:
    """Why the winner won, in a sentence."""
    winner, best = verdict.winner, verdict.best
    where = f"{len(verdict.items())} held-out items, {len(verdict.runs)} run{'s' * (len(verdict.runs) != 1)} of each"
    if len(verdict.entrants) == 1:
        return f"trial {winner.trial} was the only one: {where}"
    if winner == best:
        return f"trial {winner.trial} is the best of {len(verdict.entrants)} on {where}"
    behind = float(verdict.scores(best).mean() - verdict.scores(winner).mean())
    return (
        f"trial {winner.trial} is simpler ({winner.parameters:,} trained parameters) than trial {best.trial} "
        f"({best.parameters:,}), the best of {len(verdict.entrants)}, and {_amount(verdict, behind)} behind it, "
        f"within one standard error ({_amount(verdict, verdict.error(winner))}): {where}"
    )


def _candidate(verdict: Verdict, one: Entrant) -> dict[str, Any]:
    values = [verdict.outcomes[one.trial, run].value for run in verdict.runs]
    to_best = verdict.compared(one, verdict.best)
    return {
        "trial": one.trial,
        "origin": one.origin,
        "runs": len(values),
        "values": values,
        "mean": float(np.mean(values)),
        "interval": _ends(verdict.interval(one)),
        "difference_to_best": to_best.difference if to_best else None,
        "standard_error": to_best.standard_error if to_best else None,
        "trained_parameters": one.parameters,
    }


def _bought(verdict: Verdict, name: str, base: str) -> dict[str, Any]:
    """What the winner, or the best who unfreezes where it does not, is better by than a baseline."""
    nothing = {"difference": None, "interval": None, "real": False}
    baseline = next((one for one in verdict.entrants if one.origin == f"baseline:{base}"), None)
    if baseline is None:
        return {**nothing, "text": f"{base} was not run again, so nothing is said of it"}
    over_frozen = name == "over_frozen"
    fitting = [one for one in verdict.entrants if one != baseline and not (over_frozen and one.head_alone)]
    if not fitting:
        others = len(verdict.entrants) > 1
        none = f"no recipe was run again that unfreezes: all are best as {base} is, with the backbone frozen"
        return {**nothing, "text": none if others else f"nothing but {base} was run again"}
    winner = verdict.winner
    subject = winner if winner in fitting else max(fitting, key=lambda one: verdict.scores(one).mean())
    found = verdict.compared(subject, baseline)
    if found is None:
        return {**nothing, "text": "too few items were held out to say"}
    who = f"trial {subject.trial}" if subject == winner else f"trial {subject.trial}, which did not win,"
    return {
        "trial": subject.trial,
        "difference": found.difference,
        "interval": _ends(found.interval),
        "real": found.real,
        "text": _sentence(verdict, who, base, found),
    }


def _sentence(verdict: Verdict, who: str, base: str, found: Comparison) -> str:
    low, high = (_end(verdict, end) for end in (found.interval.low, found.interval.high))
    amount = _signed(verdict, found.difference)
    if found.real:
        return f"{who} is {amount} against {base}, and the difference is real: {low} to {high} (95%)"
    return f"{who} is {amount} against {base}, but the difference is not real: {low} to {high} (95%) holds zero"


def _amount(verdict: Verdict, value: float) -> str:
    """The size of a difference: points of an accuracy, else units of the error."""
    name = score_name(verdict.objective.metric)
    return f"{100 * value:.1f} points" if name in _ACCURACIES else f"{value:.3g} in {name}"


def _signed(verdict: Verdict, value: float) -> str:
    """A difference of which more is better."""
    if score_name(verdict.objective.metric) in _ACCURACIES:
        return _end(verdict, value)
    return f"{'better' if value >= 0 else 'worse'} by {_amount(verdict, abs(value))}"


def _end(verdict: Verdict, value: float) -> str:
    """An end of its interval."""
    return f"{100 * value:+.1f} points" if score_name(verdict.objective.metric) in _ACCURACIES else f"{value:+.3g}"


def _ends(interval: Interval | None) -> list[float] | None:
    return [interval.low, interval.high] if interval else None
