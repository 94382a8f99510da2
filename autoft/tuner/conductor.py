"""The conductor: hands out trials, hears their reports, and writes the ledger. Pure Python: it knows no Ray.

The Ray adapters drive it in a search, a loop over one `Worker` drives it in tests.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from autoft.errors import SearchFailedError
from autoft.record import Action, Decision, Evaluation, Objective, TrialRecord, TrialState, stop
from autoft.study import Ledger
from autoft.tuner.observer import Observer
from autoft.tuner.policy import Policy
from autoft.tuner.worker import Report

BUDGET = "budget"


class Turn(Enum):
    """What there is for a free worker when there is no trial."""

    WAIT = "wait"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class Assignment:
    """A trial for a worker."""

    number: int
    recipe: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Clock:
    """The search's time: it starts with the process, and goes on where an earlier start of the run ended."""

    started_at: float
    """Seconds since the epoch at which this process began."""
    deadline: float | None = None
    """Seconds since the epoch at which trials must end."""
    offset_s: float = 0.0
    """Seconds that earlier starts of the run took."""
    now: Callable[[], float] = time.time

    @property
    def wall_s(self) -> float:
        """Seconds since the search began."""
        return self.offset_s + self.now() - self.started_at

    @property
    def left_s(self) -> float:
        """Seconds left for trials."""
        return math.inf if self.deadline is None else self.deadline - self.now()


@dataclass
class Conductor:
    """Drives policy and ledger; every call comes from one thread."""

    ledger: Ledger
    policy: Policy
    objective: Objective
    clock: Clock
    slots: int
    observer: Observer
    on_trial_end: Callable[["Conductor"], None] = lambda _conductor: None
    _records: dict[int, TrialRecord] = field(default_factory=dict)
    _live: set[int] = field(default_factory=set)
    _waiting: list[int] = field(default_factory=list)
    _failure: str | None = None

    def open(self) -> None:
        """Read the ledger; trials that did not end are the first to go on."""
        self._records = {record.number: record for record in self.ledger.trials()}
        self._waiting = [number for number, record in self._records.items() if not record.state.finished]

    @property
    def records(self) -> tuple[TrialRecord, ...]:
        """All trials, by number."""
        return tuple(self._records[number] for number in sorted(self._records))

    @property
    def best_value(self) -> float | None:
        """The best value of any evaluation so far."""
        best: float | None = None
        for record in self._records.values():
            evaluation = record.best(self.objective)
            if evaluation and (best is None or self.objective.better(evaluation.value, best)):
                best = evaluation.value
        return best

    def next_trial(self) -> Assignment | Turn:
        """A trial for a free worker; none while all slots are busy, so that none is drawn ahead of time."""
        if len(self._live) >= self.slots:
            return Turn.WAIT
        if self._failure or self.clock.left_s <= 0:
            return Turn.FINISHED
        if self._waiting:
            number = self._waiting.pop(0)
            self.ledger.reenter(number)
            self._records[number] = replace(self._records[number], state=TrialState.RUNNING)
        else:
            proposal = self.policy.next(self.records)
            if proposal is None:
                return Turn.FINISHED
            number = self.ledger.start(proposal)
            self._records[number] = TrialRecord(number, TrialState.RUNNING, proposal)
        self._live.add(number)
        self.observer.trial_started(self._records[number])
        return Assignment(number, self._records[number].proposal.recipe)

    def hear(self, number: int, report: Report) -> Action:
        """Take a worker's report and say whether the trial goes on."""
        if report.evaluation is not None:
            self._record(number, report.evaluation)
        record = self._records[number]
        if report.crash is not None:
            self._end(number, TrialState.FAIL, stop("crashed", report.crash))
            return Action.STOP
        decision = self.policy.judge(record, self.records, done=report.done) if report.evaluation else Decision()
        match decision:
            case Decision(action=Action.STOP | Action.PAUSE):
                self._end(number, TrialState.PRUNED, decision)
            case _ if report.out_of_time or (not report.done and self.clock.left_s <= 0):
                self._end(number, TrialState.PRUNED, stop(BUDGET, "the time budget of the search was used up"))
            case _ if report.done:
                self._end(number, TrialState.COMPLETE, Decision())
            case _:
                return Action.CONTINUE
        return Action.STOP

    def lost(self, number: int, cause: str) -> None:
        """The worker process of a trial died and could not be replaced."""
        if number in self._live:
            self._end(number, TrialState.FAIL, stop("crashed", cause))

    def suspend(self) -> None:
        """The search is interrupted: trials that have not ended wait in the ledger for the next start."""
        for number in sorted(self._live):
            self.ledger.suspend(number)
            self._records[number] = replace(self._records[number], state=TrialState.WAITING)
        self._live.clear()

    def raise_if_failed(self) -> None:
        """End the search when its trials fail for one cause.

        Raises:
            SearchFailedError: with that cause.
        """
        if self._failure:
            raise SearchFailedError(
                f"three trials in a row crashed for the same cause: {self._failure}; the tracebacks are in "
                "trials/*/error.txt of the run; mend the cause, then resume the run"
            )

    def _record(self, number: int, evaluation: Evaluation) -> None:
        evaluation = replace(evaluation, wall_s=round(self.clock.wall_s, 3))
        record = self._records[number]
        kept = tuple(earlier for earlier in record.curve if earlier.index < evaluation.index)
        self._records[number] = replace(record, curve=(*kept, evaluation))
        self.ledger.report(number, evaluation)
        self.observer.evaluated(self._records[number], evaluation, self.best_value)

    def _end(self, number: int, state: TrialState, decision: Decision) -> None:
        self.ledger.finish(number, state, decision.rule, decision.text)
        record = replace(self._records[number], state=state, reason=decision.rule, reason_text=decision.text)
        self._records[number] = record
        self._live.discard(number)
        self._failure = self.policy.failure(self.records)
        self.observer.trial_ended(record)
        self.on_trial_end(self)
