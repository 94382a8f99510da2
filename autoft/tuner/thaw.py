"""Freeze-thaw halving: trials are paused at rungs of equal cost, and thawed when they turn out to be among the best.

The promoting variant of asynchronous successive halving (Li et al. 2020, arXiv 1810.05934) with pauses in place of
stops (Swersky et al. 2014, arXiv 1406.3896). A function of the records: the same records, the same answer.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from autoft.pruning import best_score, ordinal, shown
from autoft.record import CONTINUE, Curve, Decision, Objective, Proposal, TrialRecord, pause
from autoft.tuner.halving import opening_stages

Cost: TypeAlias = Callable[[Proposal, Curve], float]
"""Units that a trial spends on the last evaluation of a curve; one unit is one epoch of a full fine-tune."""
NOT_PROMOTED = "not_promoted"


def counted_cost(proposal: Proposal, curve: Curve) -> float:
    """Units as the proposal has them for each stage; one per evaluation where it has none."""
    units = proposal.units.get(curve[-1].stage)
    if units is None:
        return 1.0
    before = curve[-2].epoch if len(curve) > 1 and curve[-2].stage == curve[-1].stage else 0.0
    return units * (curve[-1].epoch - before)


@dataclass(frozen=True, slots=True)
class Thaw:
    """A paused trial that goes on, and why."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Arrival:
    """Where a trial came to a rung."""

    index: int
    """The evaluation."""
    score: float
    """Its best score until then."""
    cooled: bool = False
    """Whether a cool-down lay before it."""


@dataclass(frozen=True, kw_only=True)
class FreezeThaw:
    """Pauses a trial at a rung unless it is in the top ``1 / reduction_factor`` there; thaws it when it comes to be.

    Rung k lies where a trial has cost ``grace_period * reduction_factor ** k`` units; the head stage that opens a
    recipe costs nothing here. A trial comes to a rung with its first evaluation at that cost or beyond it that lies
    outside of a warm-up and of a cool-down; trials compare by their best value until then, whenever they came, those
    that have cooled down with their like. Baselines run to their end whatever they come to, and take nobody's place.

    When no recipe is left, the top ``2 / (reduction_factor + 1)`` go on. Without it 21% of 48 searches of 24 that were
    replayed on recorded curves ended without the winner, with it 8%, with stopping halving 12%, for about the same
    training as the latter (tests/benchmarks/policy_replay.py).
    """

    objective: Objective
    grace_period: float = 2
    """Units until the first rung."""
    reduction_factor: int = 3
    cost: Cost = counted_cost
    _known: dict[int, tuple[Curve, tuple[Arrival, ...]]] = field(default_factory=dict, repr=False, compare=False)

    def judge(self, record: TrialRecord, records: Sequence[TrialRecord], *, last: bool = False) -> Decision:
        """Pause a trial whose last evaluation came to a rung where it is not promoted; else let it go on.

        Args:
            record: the trial, with the new evaluation.
            records: all trials; the trial itself among them is passed over.
            last: no more recipes will be started: more go on, and the best of every rung does, however few came.
        """
        arrivals = self.arrivals(record)
        if not arrivals or arrivals[-1].index != len(record.curve):
            return CONTINUE
        rung = len(arrivals) - 1
        others = [other for other in records if other.number != record.number]
        standing = self._standing((*others, record), rung, cooled=arrivals[rung].cooled)
        place, promoted = standing.index(record.number) + 1, self._promoted(len(standing), last=last)
        if place <= promoted:
            return CONTINUE
        best = f"best {self.objective.metric} {shown(arrivals[rung].score, self.objective)}"
        where = f"rung {rung + 1} ({self.rung_cost(rung):g} units)"
        if len(standing) == 1:
            return pause(NOT_PROMOTED, f"{best} is the first that came to {where}; it waits for others")
        return pause(
            NOT_PROMOTED,
            f"{best} is {ordinal(place)} of the {len(standing)} trials that came to {where}; "
            f"{promoted or 'none'} of them {'goes' if promoted < 2 else 'go'} on",
        )

    def thaw(self, records: Sequence[TrialRecord], *, last: bool = False) -> Thaw | None:
        """The paused trial that is next: of the highest rung where one is due, the best; None if none is due."""
        paused = {record.number: len(self.arrivals(record)) - 1 for record in records if record.paused}
        for rung in sorted(set(paused.values()), reverse=True):
            for cooled in (False, True):
                standing = self._standing(records, rung, cooled=cooled)
                promoted = standing[: self._promoted(len(standing), last=last)]
                for place, number in enumerate(promoted, start=1):
                    if paused.get(number) == rung:
                        text = f"{ordinal(place)} of the {len(standing)} trials that came to rung {rung + 1}"
                        return Thaw(number, text)
        return None

    def arrivals(self, record: TrialRecord) -> tuple[Arrival, ...]:
        """Where the trial came to each rung, from the first on; several with one evaluation if that was dear."""
        known = self._known.get(record.number)
        if known is None or known[0] is not record.curve:
            known = self._known[record.number] = (record.curve, self._read(record))
        return known[1]

    def rung_cost(self, rung: int) -> float:
        """Units at which a rung lies, counted from 0."""
        return float(self.grace_period * self.reduction_factor**rung)

    def _read(self, record: TrialRecord) -> tuple[Arrival, ...]:
        opening = opening_stages(record.proposal.recipe["stages"])
        found: list[Arrival] = []
        spent, best, cooled = 0.0, -math.inf, False
        for place, evaluation in enumerate(record.curve, start=1):
            best = max(best, best_score((evaluation,), 1, self.objective))
            if evaluation.stage in opening:
                continue
            spent += self.cost(record.proposal, record.curve[:place])
            cooled = cooled or evaluation.cooled > 0
            while evaluation.comparable and spent >= self.rung_cost(len(found)) * (1 - 1e-9):
                found.append(Arrival(place, best, cooled))
        return tuple(found)

    def _standing(self, records: Sequence[TrialRecord], rung: int, *, cooled: bool) -> list[int]:
        """Numbers of the trials that came to a rung alike, the best first, of equals the earlier one; no baselines."""
        challengers = (record for record in records if not record.baseline)
        came = ((record.number, self.arrivals(record)[rung : rung + 1]) for record in challengers)
        scores = [(-at.score, number) for number, arrivals in came for at in arrivals if at.cooled == cooled]
        return [number for _, number in sorted(scores)]

    def _promoted(self, came: int, *, last: bool) -> int:
        """How many of those that came to a rung go on; half-way from the factor to one when no recipe is left."""
        return max(2 * came // (self.reduction_factor + 1), 1) if last else came // self.reduction_factor
