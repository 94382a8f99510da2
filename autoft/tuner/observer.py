"""Who looks on while a search runs: the seam between the search and whatever shows it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from autoft.record import Evaluation, ModelCard, Objective, TrialRecord

if TYPE_CHECKING:
    from autoft.tuner.forecast import Forecast


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """What is about to be searched."""

    place: str
    """The run's folder or URL."""
    model: ModelCard
    data: str
    items: dict[str, int]
    """Items per split."""
    objective: Objective
    num_samples: int
    slots: int
    """Trials at a time."""
    time_left_s: float | None
    finished_trials: int
    """Trials that an earlier start of the same run has finished."""
    forecast: "Forecast | None" = None
    """What is kept, and what it will cost."""
    saved_s: float = 0.0
    """Seconds that earlier starts of the same run have saved by reading activations."""
    best: TrialRecord | None = None
    """The best trial of earlier starts of the same run."""


class Observer(Protocol):
    """Told what happens, in the driver's process; must return quickly and must not raise."""

    def note(self, text: str) -> None:
        """Something worth a line: a data note, a setting that changed."""

    def started(self, plan: SearchPlan) -> None:
        """The first trial is about to start."""

    def trial_started(self, trial: TrialRecord) -> None:
        """A trial starts, or goes on after an interruption or a pause."""

    def evaluated(self, trial: TrialRecord, evaluation: Evaluation, best: float | None) -> None:
        """A trial was evaluated; ``best`` is the best value of the search so far."""

    def trial_ended(self, trial: TrialRecord) -> None:
        """A trial ended, or paused (`TrialRecord.paused`), with its state and reason."""


class Silent:
    """Looks on and says nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def started(self, plan: SearchPlan) -> None:
        """Say nothing."""

    def trial_started(self, trial: TrialRecord) -> None:
        """Say nothing."""

    def evaluated(self, trial: TrialRecord, evaluation: Evaluation, best: float | None) -> None:
        """Say nothing."""

    def trial_ended(self, trial: TrialRecord) -> None:
        """Say nothing."""
