"""The search policy: what to try next, and what becomes of a trial. Pure Python over records."""

from collections.abc import Sequence

from autoft.pruning import PruneConfig
from autoft.recipe import Recipe
from autoft.record import Decision, Objective, Proposal, TrialRecord
from autoft.tuner.sampler import Sampler


class Policy:
    """Baselines first, then the sampler; pruning rules, then asynchronous successive halving."""

    def __init__(
        self,
        *,
        objective: Objective,
        sampler: Sampler,
        baselines: Sequence[tuple[str, Recipe]],
        num_samples: int,
        scheduler: str = "asha",
        grace_period: int = 2,
        reduction_factor: int = 3,
        prune: PruneConfig | None = None,
    ) -> None: ...

    def next(self, records: Sequence[TrialRecord]) -> Proposal | None:
        """The next recipe to try; None when there is none left to start."""
        raise NotImplementedError

    def judge(self, record: TrialRecord, records: Sequence[TrialRecord], *, done: bool = False) -> Decision:
        """What becomes of a trial after its last evaluation; one that is ``done`` is only judged as diverged."""
        raise NotImplementedError

    def failure(self, records: Sequence[TrialRecord]) -> str | None:
        """The cause of three crashes in a row, by the order in which trials ended, or None."""
        raise NotImplementedError
