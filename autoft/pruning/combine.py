"""Rules made of rules."""

from collections.abc import Sequence
from dataclasses import replace

from autoft.pruning.peers import best_score, ordinal, peer_scores, rank
from autoft.pruning.rules import Rule
from autoft.record import CONTINUE, Action, Curve, Decision, Objective


def any_of(*rules: Rule) -> Rule:
    """The decision of the rule that asks for most (stop before pause); of equals, the first one's."""

    def judge(curve: Curve, peers: Sequence[Curve], objective: Objective, /) -> Decision:
        decision = CONTINUE
        for rule in rules:
            candidate = rule(curve, peers, objective)
            if candidate.action == Action.STOP:
                return candidate
            decision = max(decision, candidate, key=lambda one: one.action)
        return decision

    return judge


def patient(times: int, rule: Rule) -> Rule:
    """Speaks only when ``rule`` has spoken at each of the last ``times`` evaluations."""

    def judge(curve: Curve, peers: Sequence[Curve], objective: Objective, /) -> Decision:
        decision = rule(curve, peers, objective)
        for back in range(1, times):
            if decision == CONTINUE or back >= len(curve):
                return CONTINUE
            if rule(curve[:-back], peers, objective).action == Action.CONTINUE:
                return CONTINUE
        return decision

    return judge


def after(evaluations: int, rule: Rule) -> Rule:
    """Speaks only once the trial has had ``evaluations`` evaluations."""

    def judge(curve: Curve, peers: Sequence[Curve], objective: Objective, /) -> Decision:
        return rule(curve, peers, objective) if len(curve) >= evaluations else CONTINUE

    return judge


def with_consent(rule: Rule, *, min_peers: int = 5, top_fraction: float = 1 / 3) -> Rule:
    """Lets a rule that looks at one curve stop a trial, when its peers consent; else the trial goes on.

    They consent when at least ``min_peers`` of them came to the same evaluation and the trial's best so far is
    not in the top ``top_fraction`` of all of them, itself included.
    """

    def judge(curve: Curve, peers: Sequence[Curve], objective: Objective, /) -> Decision:
        decision = rule(curve, peers, objective)
        if decision.action == Action.CONTINUE:
            return CONTINUE
        index = len(curve)
        scores = peer_scores(peers, index, objective)
        place = rank(best_score(curve, index, objective), scores)
        total = len(scores) + 1
        if len(scores) < min_peers or place <= top_fraction * total:
            return CONTINUE
        text = f"{decision.text}; {ordinal(place)} best of {total} at evaluation {index}"
        return replace(decision, action=Action.STOP, text=text)

    return judge
