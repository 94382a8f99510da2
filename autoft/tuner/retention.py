"""What finished trials have kept of the pretrained model, where a search asks for a least."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from autoft.cache import Reuse
from autoft.errors import ConfigError, ModelError, WeightsError
from autoft.model import original_head
from autoft.record import Objective, TrialRecord
from autoft.study import Ledger
from autoft.training import ForgettingMeter, best_weights, thread_count
from autoft.tuner.prepare import Ground, scorer_of
from autoft.tuner.run_folder import RunFolder

_KEPT = "retention"
"""Where a study keeps what was measured, by trial and evaluation: a resumed search finds the same."""


@dataclass
class Retention:
    """Measures trials once each, by the weights of their best evaluation (`autoft.training.Forgetting.retention`).

    Args:
        least: what a trial must retain to win, 0 to 1.
        folder: the run.
        ground: model and data; the model's weights are changed.
        objective: which evaluation is a trial's best.
        ledger: of the trials.
        threads: of a trial: results depend on them bit by bit.
        reuse: where activations are kept.
    """

    least: float
    folder: RunFolder
    ground: Ground
    objective: Objective
    ledger: Ledger
    threads: int = 1
    reuse: Reuse | None = None

    def check(self) -> None:
        """Find out before anything is trained whether it can be measured.

        Raises:
            ConfigError: it cannot.
        """
        try:
            self.measured({})
        except ModelError as error:
            raise ConfigError(
                f"search.constraints.min_retention: is {self.least:g}, but what trials retain cannot be measured: "
                f"{error}; or leave the constraint out"
            ) from None

    def keeps(self, record: TrialRecord) -> bool:
        """Whether the trial retains enough; not where its weights are gone."""
        found = self.of(record)
        return found is not None and found >= self.least

    def of(self, record: TrialRecord) -> float | None:
        """What the trial retains; None where it has no weights (any more)."""
        known, key = self._known(), self._key(record)
        if key not in known:
            weights = best_weights(self.folder.checkpoint(record.number))
            if weights is None:
                return None
            known = {**known, key: self.measured(weights)}
            self.ledger.set_meta(_KEPT, known)
        return known[key]

    def notes(self, records: Sequence[TrialRecord]) -> list[str]:
        """Which trials could not win for it, as far as they were measured."""
        known = self._known()
        found = {record.number: known[key] for record in records if (key := self._key(record)) in known}
        fallen = [f"trial {number} ({kept:.3g})" for number, kept in found.items() if kept < self.least]
        least = f"search.constraints.min_retention ({self.least:g})"
        return [f"what retains less than {least} cannot win: {', '.join(fallen)}"] if fallen else []

    def _known(self) -> Mapping[str, float]:
        """What was measured, by trial and evaluation."""
        known: Mapping[str, float] = self.ledger.meta().get(_KEPT, {})
        return known

    def _key(self, record: TrialRecord) -> str:
        best = record.best(self.objective)
        return f"{record.number}:{best.index if best else 0}"

    def measured(self, weights: Mapping[str, Tensor]) -> float:
        """What these weights retain."""
        with thread_count(self.threads):
            return self._meter.measure(weights).retention

    @cached_property
    def _meter(self) -> ForgettingMeter:
        try:
            head = original_head(self.ground.loaded)
        except WeightsError:  # the summary's forgetting says that the classifier is gone
            head = None
        return ForgettingMeter(scorer_of(self.ground, self.reuse), head=head)
