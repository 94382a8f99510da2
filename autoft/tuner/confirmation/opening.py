"""How confirmation begins: with what is certain while the last trials run, then with all that was planned. No files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from autoft.record import Objective, TrialRecord
from autoft.tuner.conductor import Conductor, Deciding
from autoft.tuner.confirmation.config import ConfirmConfig
from autoft.tuner.confirmation.plan import ConfirmPlan, Terms, certain, ended, grown, plan_runs
from autoft.tuner.confirmation.policy import ConfirmPolicy


@dataclass
class Opening:
    """Holds the one conductor of confirmation, and what it follows.

    Args:
        config: how many.
        objective: what decides.
        seed: of the study.
        conduct: opens the conductor of a policy; called once.
        seconds: of all workers together, given the trials and the runs so far.
        able: whether a trial's weights are still there.
        allowed: whether a trial keeps to the constraints.
    """

    config: ConfirmConfig
    objective: Objective
    seed: int
    conduct: Callable[[Deciding], Conductor]
    seconds: Callable[[Sequence[TrialRecord], Sequence[TrialRecord]], float]
    able: Callable[[TrialRecord], bool] = lambda _record: True
    allowed: Callable[[TrialRecord], bool] = lambda _record: True
    conductor: Conductor | None = None
    _seen: tuple[int, int] | None = field(default=None, repr=False)
    """Trials that had ended, and trials that ran, when it was last asked what is certain."""

    def plan(self, trials: Sequence[TrialRecord]) -> ConfirmPlan:
        """What is to be run again now that every trial has ended."""
        return plan_runs(trials, self._terms(trials))

    def grown(self, plan: ConfirmPlan, trials: Sequence[TrialRecord]) -> ConfirmPlan:
        """The plan, and what of the rest fits as well by now."""
        workers = self.conductor.slots if self.conductor else 1
        return grown(plan, trials, self._runs(), self._terms(trials), workers=workers)

    def early(self, trials: Sequence[TrialRecord]) -> Conductor | None:
        """The conductor of the runs that are needed whatever the running trials come to; None where none is."""
        running = sum(not (record.state.finished or record.paused) for record in trials)
        if self._seen == (now := (ended(trials), running)):
            return self.conductor
        self._seen = now
        plan = certain(trials, self._terms(trials))
        return self.follow(plan, trials) if plan.runs else self.conductor

    def follow(self, plan: ConfirmPlan, trials: Sequence[TrialRecord]) -> Conductor:
        """The conductor of a plan; runs of an earlier one stay."""
        policy = ConfirmPolicy(plan=plan, trials=trials, objective=self.objective, seed=self.seed)
        if self.conductor is None:
            self.conductor = self.conduct(policy)
        else:
            self.conductor.follow(policy)
        return self.conductor

    def _terms(self, trials: Sequence[TrialRecord]) -> Terms:
        return Terms(
            objective=self.objective,
            config=self.config,
            seconds=self.seconds(trials, self._runs()),
            able=self.able,
            allowed=self.allowed,
        )

    def _runs(self) -> Sequence[TrialRecord]:
        return self.conductor.records if self.conductor else ()
