"""Asynchronous successive halving, the stopping variant (Li et al. 2020, arXiv 1810.05934), as a rule over curves."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from autoft.pruning import best_score, ordinal, peer_scores, rank, shown
from autoft.record import CONTINUE, Curve, Decision, Evaluation, Objective, stop


@dataclass(frozen=True, slots=True)
class Halving:
    """Stops a trial that is not in the top ``1 / reduction_factor`` at a rung.

    Rungs lie at ``grace_period * reduction_factor ** k`` evaluations. Trials compare by their best value so far,
    with all that came to the rung, at whatever time. A rung that falls into a warm-up, a cool-down or one of the
    ``unjudged`` stages is judged at the first evaluation after it.
    """

    grace_period: int = 2
    reduction_factor: int = 3
    unjudged: Collection[str] = ()

    def __call__(self, curve: Curve, peers: Sequence[Curve], objective: Objective, /) -> Decision:
        """Stop, or go on."""
        rung = self._due(curve)
        if rung is None:
            return CONTINUE
        index = len(curve)
        scores = peer_scores(peers, index, objective, came=rung)
        own = best_score(curve, index, objective)
        total = len(scores) + 1
        promoted, place = ceil(total / self.reduction_factor), rank(own, scores)
        if place <= promoted:
            return CONTINUE
        return stop(
            "not_promoted",
            f"best {objective.metric} {shown(own, objective)} at evaluation {index} is {ordinal(place)} of the "
            f"{total} trials that came to rung {rung}; the first {promoted} go on",
        )

    def _due(self, curve: Curve) -> int | None:
        """The highest rung that no evaluation before the last one could be judged at."""
        if not curve or not self._judged(curve[-1]):
            return None
        due, rung = None, self.grace_period
        while rung <= len(curve):
            if not any(self._judged(evaluation) for evaluation in curve[rung - 1 : -1]):
                due = rung
            rung *= self.reduction_factor
        return due

    def _judged(self, evaluation: Evaluation) -> bool:
        return evaluation.comparable and evaluation.stage not in self.unjudged


def opening_stages(stages: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """The head stages at the beginning, if others follow: what unfreezing brings cannot be judged by them."""
    names: list[str] = []
    for stage in stages[:-1]:
        if stage.get("unfreeze", 0) != 0:
            break
        names.append(str(stage["name"]))
    return frozenset(names)


def planned_evaluations(recipe: Mapping[str, Any]) -> int | None:
    """How many evaluations a recipe (plain data) runs at most, or None where that depends on the data's size."""
    lengths = [stage.get("epochs") for stage in recipe.get("stages", ())]
    every = recipe.get("optimisation", {}).get("eval_every_steps")
    return None if every or None in lengths else sum(lengths)
