"""What a recipe will cost: predicted seconds per epoch of each stage, from measured seconds per row."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from autoft.cache.cost import Machine
from autoft.cache.measure import Speed
from autoft.data import DataHandle
from autoft.model import MICRO_BATCH, LoadedModel, padded, plan_stage
from autoft.recipe import Recipe
from autoft.record import Proposal, TrialRecord
from autoft.training.lengths import length_in_steps
from autoft.training.needs import boundaries_of
from autoft.training.source import can_train_from_cache

_SURPRISING = 1.5
"""Ratio of seconds taken and predicted, either way, that is told."""
_WORTH_TELLING_S = 5.0
FORKED = "stage:"
"""How an evaluation's ``reused`` begins where the trial forked from a stage that another one ran."""


@dataclass(frozen=True)
class Predictor:
    """Predicts for one model, one data set and one machine."""

    loaded: LoadedModel
    data: DataHandle
    speed: Speed
    machine: Machine
    kept: frozenset[int] = frozenset()
    """Boundaries at which activations are read."""

    @property
    def pass_s(self) -> float:
        """Seconds of a micro-batch from its items to its outputs."""
        return MICRO_BATCH * (self.machine.item_s + sum(self.speed.forward_s))

    def per_epoch(self, recipe: Recipe) -> dict[str, float]:
        """Seconds per epoch of each stage, evaluation on the validation split included."""
        boundaries = boundaries_of(recipe, self.loaded)
        return {
            stage.name: self._training_s(recipe, boundary, plan_stage(stage, self.loaded).trainable)
            + self._evaluation_s(recipe, boundary)
            for stage, boundary in zip(recipe.stages, boundaries, strict=True)
        }

    def total(self, recipe: Recipe) -> float:
        """Seconds of all epochs of all stages."""
        per_epoch, steps = self.per_epoch(recipe), self._steps(recipe)
        return sum(length_in_steps(stage, steps) / steps * per_epoch[stage.name] for stage in recipe.stages)

    def _steps(self, recipe: Recipe) -> int:
        return max(1, math.ceil(len(self.data.splits.train) / recipe.data.batch_size))

    def _training_s(self, recipe: Recipe, boundary: int, trainable: frozenset[int]) -> float:
        speed, rows, steps = self.speed, len(self.data.splits.train), self._steps(recipe)
        whole = len(speed.train_s) == 1
        first = 0 if whole else min(trainable)
        tail_s = sum(speed.forward_s[boundary:first]) + sum(speed.train_s[first:])
        updated = {0} if whole else trainable
        update_s = steps * sum(speed.update_s[group] for group in updated)
        batch = min(recipe.data.batch_size, rows)
        in_micro_batches = rows // batch * padded(batch) + padded(rows % batch)
        from_cache = boundary in self.kept and can_train_from_cache(recipe)
        return self._entering_s(boundary, rows, in_micro_batches, cached=from_cache) + rows * tail_s + update_s

    def _evaluation_s(self, recipe: Recipe, boundary: int) -> float:
        rows = len(self.data.splits.val)
        every = recipe.optimisation.eval_every_steps or self._steps(recipe)
        tail_s = padded(rows) * sum(self.speed.forward_s[boundary:])
        entering_s = self._entering_s(boundary, rows, padded(rows), cached=boundary in self.kept)
        return self._steps(recipe) / every * (entering_s + tail_s)

    def _entering_s(self, boundary: int, rows: int, in_micro_batches: int, *, cached: bool) -> float:
        """Seconds of getting ``rows`` to the boundary: read there, or computed from the items."""
        if cached:
            return rows * self.speed.row_bytes[boundary - 1] / self.machine.bytes_per_s
        return rows * self.machine.item_s + in_micro_batches * sum(self.speed.forward_s[:boundary])


def planned_s(proposal: Proposal) -> float | None:
    """Predicted seconds of a recipe's whole length; None where nothing was predicted, or a stage is long by steps."""
    stages, per_epoch = proposal.recipe["stages"], proposal.predicted
    if not per_epoch or not all(stage.get("epochs") for stage in stages):
        return None
    return math.fsum(stage["epochs"] * per_epoch.get(stage["name"], 0.0) for stage in stages)


def predicted_s(record: TrialRecord) -> float | None:
    """Predicted seconds of the epochs that a trial has trained itself; None where nothing was predicted."""
    if not record.proposal.predicted:
        return None
    epochs = {each.stage: each.epoch for each in record.curve if not each.reused.startswith(FORKED)}
    return sum(record.proposal.predicted.get(stage, 0.0) * count for stage, count in epochs.items())


def off_by(records: Sequence[TrialRecord]) -> float:
    """Seconds that trials took per second that was predicted for them; 1 where nothing is known."""
    known = [(record.compute_s, predicted_s(record) or 0.0) for record in records]
    predicted = sum(seconds for _, seconds in known)
    measured = sum(seconds for seconds, each in known if each)
    return measured / predicted if predicted > 0.0 and measured > 0.0 else 1.0


def predicted_in_all(records: Sequence[TrialRecord], building_s: float) -> float | None:
    """Predicted seconds of what all trials have trained, building activations included; None where one is unknown."""
    found = [predicted_s(record) for record in records if record.curve]
    known = [seconds for seconds in found if seconds is not None]
    return sum(known) + building_s if known and len(known) == len(found) else None


def surprise_at(compute_s: float, predicted: float | None) -> list[str]:
    """A sentence where the trials took much longer or shorter than was predicted."""
    if predicted is None or max(compute_s, predicted) < _WORTH_TELLING_S:
        return []
    ratio = compute_s / max(predicted, 1e-9)
    if 1 / _SURPRISING <= ratio <= _SURPRISING:
        return []
    told = (
        f"the trials took {compute_s:.0f} s of computing, {predicted:.0f} s were predicted: the machine was busier or "
        "idler than when the model's speed was measured; predictions decide nothing but what is kept"
    )
    return [told]
