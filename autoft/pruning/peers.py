"""How a trial stands among its peers at the same evaluation."""

import math
from collections.abc import Iterable

from autoft.record import Curve, Objective


def best_score(curve: Curve, index: int, objective: Objective) -> float:
    """The best score (higher is better) within the first ``index`` evaluations; minus infinity without a number."""
    values = (e.value for e in curve[:index] if not e.diverged and math.isfinite(e.value))
    return max(map(objective.score, values), default=-math.inf)


def peer_scores(peers: Iterable[Curve], index: int, objective: Objective) -> list[float]:
    """`best_score` at ``index`` of each peer that came so far."""
    return [best_score(peer, index, objective) for peer in peers if len(peer) >= index]


def rank(score: float, others: Iterable[float]) -> int:
    """Place from 1 of ``score``: one more than how many are strictly better."""
    return 1 + sum(other > score for other in others)


def ordinal(place: int) -> str:
    """1st, 2nd, 3rd, 4th, ..."""
    tens, ones = divmod(place % 100, 10)
    return f"{place}{'th' if tens == 1 else {1: 'st', 2: 'nd', 3: 'rd'}.get(ones, 'th')}"


def shown(score: float, objective: Objective) -> str:
    """A score as the value of the metric that it stands for."""
    if math.isinf(score):
        return "none"
    return f"{score if objective.mode == 'max' else -score:.4g}"
