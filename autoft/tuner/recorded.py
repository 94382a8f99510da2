"""Recorded trials as a search sees them: recipes that stand for them, and a sampler over a pool of them."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoft.pruning import best_score
from autoft.pruning.replay import STAGE, RecordedTask
from autoft.recipe import Recipe
from autoft.record import Curve, Objective, Proposal, TrialRecord
from autoft.streams import stream
from autoft.tuner.surrogate import Array, Surrogate, fit

MODEL = "recorded:{}"
"""The model's name in a recipe that stands for a recorded trial."""
_REFIT_EVERY, _RECENT, _AT_MOST = 8, 100, 240
_SHARES = (0.04, 0.2, 1.0)
"""Of the longest curve: how far a trial has come when what it reached is told to the model."""
_NOISE = 0.02
_WORST_LOSS = 1.0
"""Above it losses are alike: a trial that diverged says no more than one that learned nothing."""


def recorded_task(name: str, records: Sequence[TrialRecord], objective: Objective) -> RecordedTask:
    """The trials of a search that were evaluated, as recorded ones: in the form in which pruning rules are judged.

    Their hyperparameters are the dimensions of the search space: numbers as they are, a choice as its place among the
    choices, NaN where a dimension does not count.
    """
    tried = [record for record in records if record.curve]
    names = tuple(dict.fromkeys(name for record in tried for name in record.proposal.params))
    rows = [[_coordinate(record.proposal, name) for name in names] for record in tried]
    points = np.array(rows, dtype=float).reshape(len(tried), len(names))
    return RecordedTask(name, names, points, tuple(record.curve for record in tried), objective)


def _coordinate(proposal: Proposal, name: str) -> float:
    if name not in proposal.params:
        return math.nan
    value = proposal.params[name]
    choices = json.loads(proposal.distributions.get(name, "{}")).get("attributes", {}).get("choices")
    return float(choices.index(value) if choices else value)


def recorded_recipe(trial: int, evaluations: int) -> Recipe:
    """A recipe that stands for a recorded trial."""
    stage = {"name": STAGE, "unfreeze": "all", "epochs": evaluations}
    return Recipe.parse({"model": MODEL.format(trial), "stages": [stage]}, where=MODEL.format(trial))


def recorded_trial(recipe: Mapping[str, Any]) -> int:
    """The number of the recorded trial that a recipe (plain data) stands for."""
    return int(recipe["model"]["name"].partition(":")[2])


def curves_of(task: RecordedTask) -> Callable[[Mapping[str, Any]], Curve]:
    """What a task's recipes give."""
    return lambda recipe: task.curves[recorded_trial(recipe)]


@dataclass(frozen=True, kw_only=True)
class PoolSampler:
    """A `Sampler` over recorded trials: at random first, then by expected improvement, a fifth always at random.

    The model's last dimension is the length of training, so that what a short one reached says what a whole one may
    reach (Swersky et al. 2014, arXiv 1406.3896, with a plain kernel).
    """

    task: RecordedTask
    coordinates: Array
    """(n, d) of all recorded trials, within 0..1."""
    pool: Sequence[int] | NDArray[np.intp]
    """The trials to choose from; what is random goes in this order."""
    seed: int
    model: bool = True
    """Whether to model at all; without, all is random."""
    startup: int = 8
    random_share: float = 0.2
    _scales: dict[tuple[int, ...], Array] = field(default_factory=dict, repr=False, compare=False)
    _values: dict[tuple[int, int], float] = field(default_factory=dict, repr=False, compare=False)

    def propose(self, records: Sequence[TrialRecord], number: int) -> Proposal | None:
        """The recipe for trial ``number``; None when every trial of the pool was tried."""
        tried = [recorded_trial(record.proposal.recipe) for record in records]
        seen = set(tried)
        left = [int(trial) for trial in self.pool if int(trial) not in seen]
        if not left:
            return None
        draw = stream(self.seed, "propose", number).random()
        if not self.model or len(tried) < self.startup or draw < self.random_share:
            return self._proposal(left[0], "random")
        return self._proposal(left[int(np.argmax(self._gain(tried, records, left)))], "gp")

    def locate(self, recipe: Recipe, origin: str) -> Proposal:
        """A proposal of a given recipe."""
        return self._proposal(recorded_trial(recipe.full()), origin)

    def _gain(self, tried: list[int], records: Sequence[TrialRecord], left: list[int]) -> Array:
        """Expected improvement of each trial that is left, were it trained to its end."""
        points, values, places = self._observations(tried, records)
        first = max(self.startup, len(tried) // _REFIT_EVERY * _REFIT_EVERY)
        key = tuple(tried[:first])
        if key not in self._scales:
            recent = (places < first) & (places >= first - _RECENT)
            self._scales[key] = fit(points[recent], values[recent], noise=_NOISE)
        latest = np.arange(max(0, len(values) - _AT_MOST // 2), len(values))
        keep = np.union1d(np.argsort(-values)[: _AT_MOST // 2], latest)
        known = Surrogate(points[keep], values[keep], self._scales[key], _NOISE)
        return known.expected_improvement(np.hstack([self.coordinates[left], np.ones((len(left), 1))]))

    def _observations(self, tried: list[int], records: Sequence[TrialRecord]) -> tuple[Array, Array, NDArray[np.intp]]:
        """Points (m, d + 1), values (m,) and the place (m,) of the trial that each belongs to."""
        whole = max(2, *map(len, self.task.curves))
        rows = [
            (place, trial, index)
            for place, (trial, record) in enumerate(zip(tried, records, strict=True))
            for index in self._told(len(record.curve), whole)
        ]
        places, trials, lengths = (np.array(column, dtype=np.intp) for column in zip(*rows, strict=True))
        points = np.hstack([self.coordinates[trials], np.log(lengths)[:, None] / math.log(whole)])
        return points, np.array([self._value(trial, index) for _, trial, index in rows]), places

    @staticmethod
    def _told(came: int, whole: int) -> list[int]:
        """The evaluations at which the model is told of a trial: some shares of a whole curve, and the last one."""
        shares = {max(1, round(share * whole)) for share in _SHARES}
        return sorted({index for index in shares if index <= came} | ({came} - {0}))

    def _value(self, trial: int, index: int) -> float:
        """Minus the log of the best loss within ``index`` evaluations."""
        if (trial, index) not in self._values:
            loss = -best_score(self.task.curves[trial], index, self.task.objective)
            self._values[trial, index] = -math.log(min(loss, _WORST_LOSS))
        return self._values[trial, index]

    def _proposal(self, trial: int, origin: str) -> Proposal:
        return Proposal(recorded_recipe(trial, len(self.task.curves[trial])).full(), origin, {"trial": trial})


def ranked(points: Array) -> Array:
    """Hyperparameters (n, d) as ranks within 0..1, whatever their scale."""
    return points.argsort(axis=0).argsort(axis=0) / max(1, len(points) - 1)


def recorded_pool(
    task: RecordedTask, pool: Sequence[int] | NDArray[np.intp], *, seed: int = 0, model: bool = True
) -> PoolSampler:
    """The sampler over a pool of a task's trials."""
    return PoolSampler(task=task, coordinates=ranked(task.points), pool=pool, seed=seed, model=model)
