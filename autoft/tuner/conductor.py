"""The conductor: hands out trials, hears their reports, and writes the ledger. Pure Python: it knows no Ray.

The Ray adapters drive it in a search, a loop over one `Worker` drives it in tests.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Protocol

from autoft.errors import SearchFailedError, StorageError
from autoft.interrupts import unbroken
from autoft.record import (
    Action,
    Decision,
    Evaluation,
    Objective,
    Proposal,
    TrialRecord,
    TrialState,
    best_evaluation,
    stop,
)
from autoft.study import Ledger
from autoft.tuner.observer import Observer
from autoft.tuner.predict import off_by, planned_s
from autoft.tuner.thaw import Thaw
from autoft.tuner.worker import Report

BUDGET = "budget"
NONE_LEFT = "no recipe of the search space is left untried"
_TIME_IS_UP = "the time budget of the search was used up"


class Deciding(Protocol):
    """What decides: the `autoft.tuner.policy.Policy` of the trials, or that of confirmation."""

    @property
    def num_samples(self) -> int:
        """Recipes to start, at most."""
        ...

    @property
    def pauses(self) -> bool:
        """Whether a trial may pause."""
        ...

    def thaw(self, records: Sequence[TrialRecord], *, last: bool = False) -> Thaw | None:
        """The paused trial to go on with before anything new is started."""
        ...

    def next(self, records: Sequence[TrialRecord]) -> Proposal | None:
        """The next recipe; None where there is none now."""
        ...

    def judge(self, record: TrialRecord, records: Sequence[TrialRecord], *, done: bool = False) -> Decision:
        """What becomes of a trial after the last evaluation of its curve."""
        ...

    def enough(self, records: Sequence[TrialRecord]) -> str | None:
        """Why no more recipes are started, although there may be some."""
        ...

    def failure(self, records: Sequence[TrialRecord]) -> str | None:
        """The cause when there is no use in going on."""
        ...


class Turn(Enum):
    """What there is for a free worker when there is no trial."""

    WAIT = "wait"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class Assignment:
    """A trial for a worker."""

    number: int
    recipe: Mapping[str, Any]
    known: int = 0
    """Evaluations that the ledger has of it: a checkpoint may have one more."""
    run: int | None = None
    """Of a confirmation run: which of the candidate's."""
    until: float | None = None
    """Seconds since the epoch at which it must end, as it looks now."""


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
    policy: Deciding
    objective: Objective
    clock: Clock
    slots: int
    observer: Observer
    max_gpu_s: float | None = None
    """Seconds of training on GPUs that all trials may take."""
    gpus: float = 0.0
    """Of each trial."""
    on_trial_end: Callable[["Conductor"], None] = lambda _conductor: None
    until: Callable[[Sequence[TrialRecord]], float] | None = None
    """Sets the clock's deadline anew whenever a trial has ended; None: it stays as it is."""
    best_value: float | None = None
    """The best value of any evaluation so far."""
    notes: list[str] = field(default_factory=list)
    """What workers had to say of the search as a whole, each sentence once."""
    _live: set[int] = field(default_factory=set)
    _waiting: list[int] = field(default_factory=list)
    _given: dict[int, float | None] = field(default_factory=dict)
    """The deadline that each trial was started with."""
    _unjudged: int | None = None
    """The trial whose evaluation was written down last by a driver that was killed; what follows from it may not be."""
    _all_drawn: bool = False
    """Whether the policy has no recipe any more."""
    _failure: str | None = None
    _refused: str | None = None
    """What the storage said; the search ends, and can go on when that is mended."""
    _gpu_s: float = 0.0

    def open(self) -> None:
        """Read the ledger; interrupted trials are the first to go on, paused ones wait for a thaw."""
        self._waiting = [record.number for record in self.records if not (record.state.finished or record.paused)]
        newest = max(self.records, key=_last_heard, default=None)
        if newest and newest.curve and newest.state == TrialState.RUNNING:
            self._unjudged = newest.number
        for record in self.records:
            self._take_best(record.best(self.objective))
            self._gpu_s += self.gpus * record.compute_s
        self._set_deadline()

    @property
    def records(self) -> tuple[TrialRecord, ...]:
        """All trials, in the order in which they were started."""
        return self.ledger.trials()

    @property
    def busy(self) -> bool:
        """Whether a trial runs."""
        return bool(self._live)

    @property
    def running(self) -> int:
        """How many trials run."""
        return len(self._live)

    @property
    def failed(self) -> bool:
        """Whether trials fail for one cause, or the storage refused what they need."""
        return (self._failure or self._refused) is not None

    @property
    def trials_to_come(self) -> int:
        """How many trials there are to run, at most; not counted are paused ones."""
        return len(self._waiting) + max(0, self.policy.num_samples - len(self.records))

    @property
    def used_up(self) -> str | None:
        """Which budget for trials is used up, in words; None while there is some left."""
        if self.clock.left_s <= 0:
            return _TIME_IS_UP
        if self.max_gpu_s is not None and self._gpu_s >= self.max_gpu_s:
            return f"the {self.max_gpu_s / 3600:g} GPU hours of the search were used up"
        return None

    @property
    def stopped_because(self) -> str:
        """Why the search, now that it is over, did not go on."""
        records = self.records
        enough = self.policy.enough(records)
        cut = any(record.reason == BUDGET for record in records) or not (enough or self._all_drawn)
        return (self.used_up if cut else None) or enough or NONE_LEFT

    @property
    def ahead(self) -> Mapping[str, Any] | None:
        """The recipe of the trial that would be started next; None where another goes on, or none can start.

        While there is no value at all, a budget that is used up keeps no trial that costs nothing from being told.
        """
        records = self.records
        over = self.used_up and self.best_value is not None
        if self._waiting or self._all_drawn or self.failed or over or len(self._live) >= self.slots:
            return None
        proposal = None if self.policy.thaw(records) else self.policy.next(records)
        return proposal.recipe if proposal else None

    @unbroken()
    def next_trial(self, *, free: bool = False) -> Assignment | Turn:
        """A trial for a free worker; none while all slots are busy, so that none is drawn ahead of time.

        Args:
            free: it costs nothing, so that no budget counts.
        """
        if len(self._live) >= self.slots:
            return Turn.WAIT
        if self.failed or (self.used_up and not free):
            return Turn.FINISHED
        number = self._go_on_with()
        if number is None:
            number = self._start()
        if number is None:
            return Turn.WAIT if self._live else Turn.FINISHED  # what runs may pause, or lose its worker
        self._live.add(number)
        record = self.ledger.trial(number)
        self.observer.trial_started(record)
        until = self._given[number] = self.clock.deadline
        return Assignment(number, record.proposal.recipe, len(record.curve), until=until)

    def _go_on_with(self, *, last: bool = False) -> int | None:
        """A trial that was interrupted, else a paused one that is due; None if there is neither.

        Args:
            last: more of the paused ones are due, because nothing new is started.
        """
        self._judge_late()
        if self._waiting:
            number = self._waiting.pop(0)
        elif due := self.policy.thaw(self.records, last=last or self._all_drawn):
            number = due.number
        else:
            return None
        self.ledger.reenter(number)
        return number

    def _judge_late(self) -> None:
        """Decide what a killed driver may not have come to write down, from the same records, before anything else."""
        number, self._unjudged = self._unjudged, None
        if number is None:
            return
        decision = self.policy.judge(self.ledger.trial(number), self.records)
        if decision.action is not Action.CONTINUE:
            self._waiting.remove(number)
        if decision.action is Action.STOP:
            self._end(number, TrialState.PRUNED, decision)
        elif decision.action is Action.PAUSE:
            self._pause(number, decision)

    def _start(self) -> int | None:
        """A new trial; in its place a paused one where there is no recipe any more, or none that time is left for."""
        if self._all_drawn:
            return None
        proposal = self.policy.next(self.records)
        self._all_drawn = proposal is None
        if proposal is None or not self._comes_to_its_end(proposal):
            number = self._go_on_with(last=True)
            if number is not None or proposal is None:
                return number
        return self.ledger.start(proposal)

    def _comes_to_its_end(self, proposal: Proposal) -> bool:
        """Whether there is time for the whole recipe, as far as that is known."""
        seconds = planned_s(proposal)
        return seconds is None or seconds * off_by(self.records) <= self.clock.left_s

    @unbroken()
    def hear(self, number: int, report: Report) -> Action:
        """Take a worker's report and say whether the trial goes on; what is to be paused ends for the worker too."""
        for note in report.notes:
            self.say(note)
        for evaluation in report.evaluations:
            self._record(number, evaluation)
        record = self.ledger.trial(number)
        if report.refused is not None:
            return self._put_off(number, report.refused)
        if report.crash is not None:
            self._end(number, TrialState.FAIL, stop("crashed", report.crash))
            return Action.STOP
        judged = record.curve and (report.evaluations or report.done)  # its last may have been kept, and not judged
        decision = self.policy.judge(record, self.records, done=report.done) if judged else Decision()
        match decision:
            case Decision(action=Action.STOP):
                self._end(number, TrialState.PRUNED, decision)
            case Decision(action=Action.PAUSE):
                self._pause(number, decision)
            case _ if report.out_of_time or (not report.done and self.used_up):
                self._end_for_budget(number)
            case _ if report.done:
                self._end(number, TrialState.COMPLETE, Decision())
            case _ if self._refused:
                return self._put_off(number, self._refused)
            case _:
                return Action.CONTINUE
        return Action.STOP

    def follow(self, policy: Deciding) -> None:
        """Go on with another policy; what runs goes on."""
        self.policy, self._all_drawn = policy, False

    def resize(self, slots: int) -> None:
        """Let so many trials run at a time: nodes have joined or left. Those that run already go on."""
        if slots != self.slots:
            how = "joined" if slots > self.slots else "left"
            self.slots = slots
            self.observer.note(f"nodes have {how}: {slots} trial{'s' * (slots != 1)} at a time")

    def say(self, note: str) -> None:
        """Tell a sentence that belongs to the search's result, once."""
        if note not in self.notes:
            self.notes.append(note)
            self.observer.note(note)

    @unbroken()
    def end_for_budget(self) -> None:
        """The budget is used up, and no worker is there to report on the trials that wait for one."""
        for number in sorted(self._live):
            self._end_for_budget(number)

    def _put_off(self, number: int, refused: str) -> Action:
        """Let a trial wait for the next start of the search: this one ends, because the storage refused."""
        self._refused = self._refused or refused
        self.ledger.suspend(number)
        self._live.discard(number)
        return Action.STOP

    def _given_more_time(self, number: int) -> bool:
        """Whether trials may take longer than was known when this one was started, and there is some time left."""
        given, deadline = self._given.get(number), self.clock.deadline
        return given is not None and deadline is not None and deadline > given and not self.used_up

    def _put_back(self, number: int) -> None:
        self.ledger.suspend(number)
        self._live.discard(number)
        self._waiting.insert(0, number)

    def _set_deadline(self) -> None:
        if self.until:
            self.clock = replace(self.clock, deadline=self.until(self.records))

    def _end_for_budget(self, number: int) -> None:
        """Prune a trial for the budget; while nothing at all has been evaluated, let it wait for a larger one.

        One that was started when less time seemed to be left for trials is the next to go on, from its last checkpoint.
        """
        if self._given_more_time(number):
            self._put_back(number)
        elif self.best_value is None:
            self.ledger.suspend(number)
            self._live.discard(number)
        else:
            self._end(number, TrialState.PRUNED, stop(BUDGET, self.used_up or _TIME_IS_UP))

    @unbroken()
    def lost(self, number: int, cause: str) -> None:
        """The worker process of a trial died and could not be replaced."""
        if number in self._live:
            self._end(number, TrialState.FAIL, stop("crashed", cause))

    @unbroken()
    def put_back(self, number: int) -> None:
        """The worker of a trial died before it began with it: the trial is the next to go on, if there is time."""
        if number not in self._live:
            return
        if self.used_up:
            self._end_for_budget(number)
        else:
            self._put_back(number)

    @unbroken()
    def suspend(self) -> None:
        """The search is interrupted: trials that have not ended wait in the ledger for the next start."""
        for number in sorted(self._live):
            self.ledger.suspend(number)
        self._live.clear()

    @unbroken()
    def settle(self) -> None:
        """The search is over: what is paused will not be thawed, and ends with the reason for which it paused."""
        paused = [record for record in self.records if record.paused]
        for record in paused:
            self.ledger.finish(record.number, TrialState.PRUNED, record.reason, record.reason_text)
            self.observer.trial_ended(self.ledger.trial(record.number))
        if paused:
            self.on_trial_end(self)

    def raise_if_failed(self) -> None:
        """End the search when its trials fail for one cause, or cannot be kept.

        Raises:
            SearchFailedError: with that cause.
            StorageError: what the storage said.
        """
        self.raise_if_refused()
        if self._failure:
            raise SearchFailedError(
                f"three trials in a row crashed for the same cause: {self._failure}; the tracebacks are in "
                "trials/*/error.txt of the run; mend the cause, then resume the run"
            )

    def raise_if_refused(self) -> None:
        """End the search when the storage refuses what its trials need.

        Raises:
            StorageError: with what it said.
        """
        if self._refused:
            raise StorageError(f"{self._refused}; the search has stopped, nothing is lost: resume the run to go on")

    def _record(self, number: int, evaluation: Evaluation) -> None:
        evaluation = replace(evaluation, wall_s=round(self.clock.wall_s, 3))
        self.ledger.report(number, evaluation)
        self._gpu_s += self.gpus * evaluation.compute_s
        self._take_best(best_evaluation([evaluation], self.objective))
        self.observer.evaluated(self.ledger.trial(number), evaluation, self.best_value)

    def _take_best(self, evaluation: Evaluation | None) -> None:
        if evaluation and (self.best_value is None or self.objective.better(evaluation.value, self.best_value)):
            self.best_value = evaluation.value

    def _pause(self, number: int, decision: Decision) -> None:
        self.ledger.suspend(number, decision.rule, decision.text)
        self._leave(number)

    def _end(self, number: int, state: TrialState, decision: Decision) -> None:
        self.ledger.finish(number, state, decision.rule, decision.text)
        self._failure = self.policy.failure(self.records)
        self._leave(number)

    def _leave(self, number: int) -> None:
        self._live.discard(number)
        self._set_deadline()
        self.observer.trial_ended(self.ledger.trial(number))
        self.on_trial_end(self)


def _last_heard(record: TrialRecord) -> float:
    """When a trial's last evaluation came, in seconds since the search began."""
    return record.curve[-1].wall_s if record.curve else -math.inf
