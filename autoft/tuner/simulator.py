"""A search on a virtual clock: the real conductor and policy, with recorded curves in place of training.

Nothing is trained and nobody waits, so a policy can be tried on thousands of searches, and what it decides is what it
would decide in a real search that is fed the same curves.
"""

import heapq
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from autoft.record import Action, Curve, Evaluation, TrialRecord
from autoft.study import Ledger, MemoryLedger
from autoft.tuner.conductor import Assignment, Clock, Conductor, Deciding
from autoft.tuner.confirmation.config import ConfirmConfig
from autoft.tuner.confirmation.opening import Opening
from autoft.tuner.confirmation.relay import Relay
from autoft.tuner.confirmation.runs import ticket
from autoft.tuner.observer import Silent
from autoft.tuner.policy import Policy
from autoft.tuner.reserve import Reserve
from autoft.tuner.thaw import Cost
from autoft.tuner.worker import Report

Until: TypeAlias = Callable[[Sequence[TrialRecord]], float]
"""When trials must end, given their records."""
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
    """Those of confirmation have its runs' numbers, below zero."""
    runs: tuple[TrialRecord, ...] = ()
    """Of confirmation."""


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

    conductor: Relay
    clock: VirtualClock
    recorded: Recorded
    cost: Cost
    busy: list[tuple[float, int, int, float]] = field(default_factory=list)
    """Time, trial, evaluation (0: out of time) and its cost of what runs, as a heap."""
    until: dict[int, float] = field(default_factory=dict)
    """When what runs must end."""
    spent: float = 0.0

    def take_up(self) -> None:
        """Give every free worker a trial, if there is one."""
        while isinstance(turn := self.conductor.next_trial(), Assignment):
            self.until[turn.number] = math.inf if turn.until is None else turn.until
            self._run(turn.number, turn.known + 1)

    def step(self) -> Step | None:
        """Report the evaluation that ends next, or None that time is up; a run of confirmation has one, at its end."""
        self.clock.now, number, index, cost = heapq.heappop(self.busy)
        self.spent += cost
        if index == 0:
            self.conductor.hear(number, Report(done=True, out_of_time=True))
            return None
        curve = self._curve(number)
        evaluation = curve[index - 1]
        done = number < 0 or index >= len(curve)
        action = self.conductor.hear(number, Report(evaluations=(evaluation,), done=done))
        if action is Action.CONTINUE:
            self._run(number, index + 1)
        return Step(self.clock.now, self.spent, number, evaluation, action)

    def _run(self, number: int, index: int) -> None:
        curve, proposal = self._curve(number), self._record(number).proposal
        first = index
        if number < 0:
            steps = proposal.recipe["stages"][-1]["steps"]
            index = next(place for place, each in enumerate(curve, start=1) if each.step >= steps)
        cost = sum(self.cost(proposal, curve[:place]) for place in range(first, index + 1))
        left = max(0.0, self.until[number] - self.clock.now)
        ending = (self.clock.now + cost, number, index, cost)
        heapq.heappush(self.busy, ending if cost <= left else (self.clock.now + left, number, 0, left))

    def _curve(self, number: int) -> Curve:
        return self.recorded(self._record(number).proposal.recipe)

    def _record(self, number: int) -> TrialRecord:
        if number >= 0:
            return self.conductor.trials.ledger.trial(number)
        assert self.conductor.confirmation is not None
        return self.conductor.confirmation.ledger.trial(ticket(number))


@dataclass(frozen=True)
class Again:
    """How a simulated search is confirmed."""

    config: ConfirmConfig = field(default_factory=ConfirmConfig)
    ledger: Ledger | None = None
    """Of an earlier search to go on with; default: a new one in memory."""
    early: bool = True
    """Whether idle workers begin with it while the last trials run."""


def simulate(
    policy: Policy,
    recorded: Recorded,
    *,
    workers: int = 1,
    ledger: Ledger | None = None,
    until: Callable[[Step], bool] = lambda _step: False,
    again: Again | None = None,
    reserve: Reserve | None = None,
) -> Simulation:
    """Run a search to its end, or until something has happened; then what has not ended is suspended.

    Args:
        policy: decides; the cost of an evaluation is its ``cost``.
        recorded: the curve that a recipe's training gives, also with a fresh seed.
        workers: trials at a time.
        ledger: an earlier search to go on with; default: a new one in memory.
        until: asked after every evaluation.
        again: how the best are trained again; None: they are not.
        reserve: what of a budget of virtual time is kept for the end; None: there is no budget.
    """
    clock = VirtualClock()

    def conduct(deciding: Deciding, kept: Ledger | None, until: Until | None) -> Conductor:
        conductor = Conductor(
            ledger=kept or MemoryLedger(policy.objective),
            policy=deciding,
            objective=policy.objective,
            clock=Clock(0.0, now=clock),
            slots=workers,
            observer=Silent(),
            until=until,
        )
        conductor.open()
        return conductor

    trials = conduct(policy, ledger, reserve.trials_until if reserve else None)
    relay = Relay(trials, lambda: None)
    if again:
        runs_until = (lambda _runs: reserve.runs_until(trials.records)) if reserve else None
        opening = Opening(
            again.config,
            policy.objective,
            0,
            lambda deciding: conduct(deciding, again.ledger, runs_until),
            lambda _trials, _runs: (reserve.runs_until(trials.records) - clock.now) * workers if reserve else math.inf,
        )
        relay = _relayed(trials, opening, early=again.early)
    machine, steps = _Machine(relay, clock, recorded, policy.cost), []
    machine.take_up()
    while machine.busy:
        step = machine.step()
        if step:
            steps.append(step)
        if step and until(step):
            relay.suspend()
            break
        machine.take_up()
    else:
        relay.settle()
    runs = relay.confirmation.records if relay.confirmation else ()
    return Simulation(relay.trials.records, tuple(steps), runs)


def _relayed(trials: Conductor, opening: Opening, *, early: bool) -> Relay:
    """The trials, with what confirms them."""

    def then() -> Conductor:
        return opening.follow(opening.plan(trials.records), trials.records)

    return Relay(trials, then, (lambda: opening.early(trials.records)) if early else (lambda: None))
