"""A trial's record: what was tried, how far it came, and why it ended."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Self

from autoft.record.evaluation import Curve, Evaluation, Objective, best_evaluation


class TrialState(StrEnum):
    """The states of a trial, by Optuna's names."""

    RUNNING = "RUNNING"
    WAITING = "WAITING"
    """Interrupted or paused; goes on from its checkpoint."""
    COMPLETE = "COMPLETE"
    PRUNED = "PRUNED"
    FAIL = "FAIL"

    @property
    def finished(self) -> bool:
        """Whether the trial will not go on."""
        return self in {TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL}


@dataclass(frozen=True, slots=True)
class Proposal:
    """A recipe to try: where it comes from and its coordinates in the search space."""

    recipe: Mapping[str, Any]
    """The recipe as plain data (`Recipe.full`)."""
    origin: str
    """``baseline:NAME`` or the sampler's name."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """Value per dimension of the search space; empty when the recipe lies outside of it."""
    distributions: Mapping[str, str] = field(default_factory=dict)
    """Distribution per dimension, as JSON by `optuna.distributions.distribution_to_json`."""
    predicted: Mapping[str, float] = field(default_factory=dict)
    """Predicted seconds per epoch of each stage, by name; empty where nothing was predicted."""
    units: Mapping[str, float] = field(default_factory=dict)
    """Cost per epoch of each stage, in epochs of a full fine-tune; empty where nothing was counted."""

    def plain(self) -> dict[str, Any]:
        """As JSON knows it."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """The inverse of `plain`."""
        return cls(**plain)


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """All that is known of one trial."""

    number: int
    state: TrialState
    proposal: Proposal
    curve: Curve = ()
    reason: str = ""
    """Name of the rule that ended or paused the trial; empty for a complete, a running and an interrupted one."""
    reason_text: str = ""
    ended: int | None = None
    """Place in the order in which the study's trials ended, from 1; None while the trial may go on."""

    @property
    def baseline(self) -> str | None:
        """The baseline's name, if the trial is one."""
        kind, _, name = self.proposal.origin.partition(":")
        return name if kind == "baseline" else None

    @property
    def paused(self) -> bool:
        """Whether the policy paused the trial and may thaw it; one that was interrupted waits without a reason."""
        return self.state == TrialState.WAITING and bool(self.reason)

    @property
    def compute_s(self) -> float:
        """Seconds of training and evaluation."""
        return sum(evaluation.compute_s for evaluation in self.curve)

    @property
    def saved_s(self) -> float:
        """Predicted seconds of computing that were saved by reading activations."""
        return sum(evaluation.saved_s for evaluation in self.curve)

    @property
    def reused(self) -> tuple[str, ...]:
        """Names of the layer groups after which activations were read, in the order of the stages."""
        return tuple(dict.fromkeys(evaluation.reused for evaluation in self.curve if evaluation.reused))

    @property
    def workers(self) -> int:
        """Processes that trained it together, at most."""
        return max((evaluation.workers for evaluation in self.curve), default=1)

    def best(self, objective: Objective) -> Evaluation | None:
        """The evaluation whose weights are kept."""
        return best_evaluation(self.curve, objective)


def best_first(records: Iterable[TrialRecord], objective: Objective) -> list[TrialRecord]:
    """The trials that have a value, the best first, the earlier one of equal ones; crashed ones are left out."""
    valued = [
        (best, record) for record in records if record.state != TrialState.FAIL and (best := record.best(objective))
    ]
    valued.sort(key=lambda pair: pair[1].number)
    return [record for _, record in sorted(valued, key=lambda pair: objective.rank(pair[0]), reverse=True)]
