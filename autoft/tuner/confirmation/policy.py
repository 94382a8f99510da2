"""The policy of confirmation: the next planned run that has not been started; nothing but a divergence stops one."""

from collections.abc import Sequence
from dataclasses import dataclass

from autoft.pruning import Diverged
from autoft.record import Decision, Objective, Proposal, TrialRecord
from autoft.tuner.conductor import BUDGET
from autoft.tuner.confirmation.plan import ConfirmPlan, origin_of, run_proposal
from autoft.tuner.thaw import Thaw


@dataclass(frozen=True)
class ConfirmPolicy:
    """Asked by a `Conductor` as `autoft.tuner.policy.Policy` is."""

    plan: ConfirmPlan
    trials: Sequence[TrialRecord]
    """Of the search."""
    objective: Objective
    seed: int
    """Of the study."""

    pauses = False

    @property
    def num_samples(self) -> int:
        """Runs in all."""
        return len(self.plan.pairs())

    def thaw(self, records: Sequence[TrialRecord], *, last: bool = False) -> Thaw | None:  # noqa: ARG002
        """Nothing pauses."""
        return None

    def next(self, records: Sequence[TrialRecord]) -> Proposal | None:
        """The next run; one that a time budget cut short does not count as started."""
        started = {record.proposal.origin for record in records if record.reason != BUDGET}
        for trial, run in self.plan.pairs():
            if origin_of(trial, run) not in started:
                return run_proposal(self.trials[trial], run, self.objective, seed=self.seed)
        return None

    def judge(self, record: TrialRecord, records: Sequence[TrialRecord], *, done: bool = False) -> Decision:  # noqa: ARG002
        """A run goes on, unless it diverged."""
        return Diverged(non_finite=True)(record.curve, [], self.objective)

    def enough(self, records: Sequence[TrialRecord]) -> str | None:  # noqa: ARG002
        """All planned runs are to be run."""
        return None

    def failure(self, records: Sequence[TrialRecord]) -> str | None:  # noqa: ARG002
        """A crash here costs a candidate, not the search."""
        return None
