"""Two conductors as one: the search's and, where its trials leave a worker idle, confirmation's. The same workers serve
both.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from autoft.interrupts import unbroken
from autoft.record import Action
from autoft.tuner.conductor import Assignment, Conductor, Turn
from autoft.tuner.confirmation.plan import pair_of
from autoft.tuner.confirmation.runs import ticket
from autoft.tuner.worker import Report


@dataclass
class Relay:
    """What runs a search asks this as it would ask a `Conductor`.

    Args:
        trials: opened.
        then: called once, when every trial has ended: the opened conductor of confirmation, or None.
        meanwhile: asked when a worker is free and the last trials run: the same conductor, with the runs that are
            needed whatever these come to; None where there is none.
    """

    trials: Conductor
    then: Callable[[], Conductor | None]
    meanwhile: Callable[[], Conductor | None] = lambda: None
    confirmation: Conductor | None = None
    _handed_over: bool = field(default=False, repr=False)

    @property
    def trials_to_come(self) -> int:
        """How many trials there are to run, at most; where there are none, runs of confirmation may still come."""
        return self.trials.trials_to_come or 1

    @unbroken()
    def next_trial(self) -> Assignment | Turn:
        """A trial, or a confirmation run, for a free worker."""
        if not self._handed_over:
            turn = self.trials.next_trial()
            if isinstance(turn, Assignment) or self.trials.failed:
                return turn
            if self.trials.busy:
                return self._early()
            self._handed_over = True
            self.trials.settle()
            self.confirmation = self.then()
        return self._run(self.confirmation) if self.confirmation else Turn.FINISHED

    def _early(self) -> Assignment | Turn:
        """A run that is sure to be needed, on a worker for which there is no trial."""
        if self._running >= self.trials.slots or (self.confirmation and self.confirmation.failed):
            return Turn.WAIT
        self.confirmation = self.meanwhile() or self.confirmation
        turn = self._run(self.confirmation) if self.confirmation else Turn.WAIT
        return turn if isinstance(turn, Assignment) else Turn.WAIT

    def _run(self, confirmation: Conductor) -> Assignment | Turn:
        confirmation.slots = self.trials.slots
        turn = confirmation.next_trial()
        if not isinstance(turn, Assignment):
            return turn
        _, run = pair_of(confirmation.ledger.trial(turn.number))
        return replace(turn, number=ticket(turn.number), run=run)

    @property
    def _running(self) -> int:
        return self.trials.running + (self.confirmation.running if self.confirmation else 0)

    def hear(self, number: int, report: Report) -> Action:
        """Take a worker's report."""
        conductor, own = self._of(number)
        return conductor.hear(own, report)

    def lost(self, number: int, cause: str) -> None:
        """The worker process died and could not be replaced."""
        conductor, own = self._of(number)
        conductor.lost(own, cause)

    def put_back(self, number: int) -> None:
        """The worker process died before it began with the trial."""
        conductor, own = self._of(number)
        conductor.put_back(own)

    @property
    def used_up(self) -> str | None:
        """Which budget of what runs now is used up; while trials run, theirs."""
        return (self._both[-1] if self._handed_over else self.trials).used_up

    def resize(self, slots: int) -> None:
        """Let so many trials, and then runs of confirmation, run at a time."""
        self.trials.resize(slots)

    def say(self, note: str) -> None:
        """Tell a sentence that belongs to the search's result, once."""
        self.trials.say(note)

    def end_for_budget(self) -> None:
        """The budget is used up, and no worker is there to report."""
        for conductor in self._both:
            conductor.end_for_budget()

    def suspend(self) -> None:
        """The search is interrupted."""
        for conductor in self._both:
            conductor.suspend()

    def settle(self) -> None:
        """The search is over."""
        self.trials.settle()

    def raise_if_failed(self) -> None:
        """End the search when its trials fail for one cause, or cannot be kept.

        Raises:
            SearchFailedError: with that cause.
            StorageError: what the storage said.
        """
        self.trials.raise_if_failed()
        if self.confirmation:
            self.confirmation.raise_if_refused()

    @property
    def _both(self) -> tuple[Conductor, ...]:
        return (self.trials, self.confirmation) if self.confirmation else (self.trials,)

    def _of(self, number: int) -> tuple[Conductor, int]:
        if number >= 0:
            return self.trials, number
        assert self.confirmation is not None
        return self.confirmation, ticket(number)
