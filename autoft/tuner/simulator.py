"""A search on a virtual clock: the real conductor and policy, with recorded curves in place of training.

Nothing is trained and nobody waits, so a policy can be tried on thousands of searches, and what it decides is what it
would decide in a real search that is fed the same curves.
"""

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from autoft.record import Action, Curve, Evaluation, TrialRecord
from autoft.study import Ledger, MemoryLedger
from autoft.tuner.conductor import Assignment, Clock, Conductor
from autoft.tuner.observer import Silent
from autoft.tuner.policy import Policy
from autoft.tuner.thaw import Cost
from autoft.tuner.worker import Report

Recorded: TypeAlias = Callable[[Mapping[str, Any]], Curve]
"""The whole curve of a recipe (plain data)."""


@dataclass(frozen=True, slots=True)
class Step:
    """One evaluation of a simulated search."""

    time: float
    """Virtual time at which it was reported: units of cost since the start, by one of the workers."""
    spent: float
    """Units of cost of all workers until then."""
    number: int
    evaluation: Evaluation
    action: Action


@dataclass(frozen=True, slots=True)
class Simulation:
    """A search that was simulated."""

    records: tuple[TrialRecord, ...]
    steps: tuple[Step, ...]


class VirtualClock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now


@dataclass
class _Machine:
    """Workers that replay recorded curves; the earliest evaluation to end is reported next."""

    conductor: Conductor
    clock: VirtualClock
    recorded: Recorded
    cost: Cost
    busy: list[tuple[float, int, int, float]] = field(default_factory=list)
    """Time, trial, evaluation and its cost of what runs, as a heap."""
    spent: float = 0.0

    def take_up(self) -> None:
        """Give every free worker a trial, if there is one."""
        while isinstance(turn := self.conductor.next_trial(), Assignment):
            self._run(turn.number, turn.known + 1)

    def step(self) -> Step:
        """Report the evaluation that ends next."""
        self.clock.now, number, index, cost = heapq.heappop(self.busy)
        self.spent += cost
        curve = self._curve(number)
        evaluation = curve[index - 1]
        action = self.conductor.hear(number, Report(evaluations=(evaluation,), done=index >= len(curve)))
        if action is Action.CONTINUE:
            self._run(number, index + 1)
        return Step(self.clock.now, self.spent, number, evaluation, action)

    def _run(self, number: int, index: int) -> None:
        cost = self.cost(self.conductor.ledger.trial(number).proposal, self._curve(number)[:index])
        heapq.heappush(self.busy, (self.clock.now + cost, number, index, cost))

    def _curve(self, number: int) -> Curve:
        return self.recorded(self.conductor.ledger.trial(number).proposal.recipe)


def simulate(
    policy: Policy,
    recorded: Recorded,
    *,
    workers: int = 1,
    ledger: Ledger | None = None,
    until: Callable[[Step], bool] = lambda _step: False,
) -> Simulation:
    """Run a search to its end, or until something has happened; then what has not ended is suspended.

    Args:
        policy: decides; the cost of an evaluation is its ``cost``.
        recorded: the curve that a recipe's training gives.
        workers: trials at a time.
        ledger: an earlier search to go on with; default: a new one in memory.
        until: asked after every evaluation.
    """
    clock = VirtualClock()
    conductor = Conductor(
        ledger=ledger or MemoryLedger(policy.objective),
        policy=policy,
        objective=policy.objective,
        clock=Clock(0.0, now=clock),
        slots=workers,
        observer=Silent(),
    )
    conductor.open()
    machine, steps = _Machine(conductor, clock, recorded, policy.cost), []
    machine.take_up()
    while machine.busy:
        steps.append(machine.step())
        if until(steps[-1]):
            conductor.suspend()
            break
        machine.take_up()
    else:
        conductor.settle()
    return Simulation(conductor.records, tuple(steps))
