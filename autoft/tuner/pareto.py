"""Several objectives: the trials that no other one betters in all of them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from autoft.data import Task
from autoft.errors import UnknownNameError
from autoft.model import LoadedModel, plan_stage
from autoft.recipe import Recipe
from autoft.record import Objective, TrialRecord, TrialState
from autoft.tuner.config import COST, FORGETTING, NO_METRICS, PARAMETERS


def objectives_of(names: Sequence[str], task: Task) -> tuple[Objective, ...]:
    """The objectives of those names: metrics of the task, ``cost``, ``parameters`` and ``forgetting``.

    Raises:
        UnknownNameError: no such metric, or one of another kind of task.
    """
    try:
        return tuple(Objective(name, "min") if name in NO_METRICS else task.objective(name) for name in names)
    except UnknownNameError as error:
        raise UnknownNameError(f"search.objectives: {error}, {', '.join(NO_METRICS)}") from None


def trained_parameters(recipe: Recipe, loaded: LoadedModel) -> int:
    """Parameters of all layer groups that any stage trains, the head included."""
    trained = frozenset[int]().union(*(plan_stage(stage, loaded).trainable for stage in recipe.stages))
    return sum(loaded.card.groups[group].num_parameters for group in trained)


def cost_s(record: TrialRecord, objective: Objective) -> float:
    """Predicted seconds of training up to the trial's best evaluation; measured ones where nothing was predicted.

    Shared stages count as if the trial had run them itself: it is what the recipe costs.
    """
    best = record.best(objective)
    curve = record.curve[: best.index if best else 0]
    if not record.proposal.predicted:
        return sum(evaluation.compute_s for evaluation in curve)
    epochs = {evaluation.stage: evaluation.epoch for evaluation in curve}
    return sum(record.proposal.predicted.get(stage, 0.0) * count for stage, count in epochs.items())


@dataclass(frozen=True)
class Aims:
    """Several objectives by which recipes are proposed: those that are known of every trial, so not forgetting."""

    objectives: tuple[Objective, ...]
    loaded: LoadedModel
    _known: dict[tuple[int, int], tuple[float, ...] | None] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, objectives: Sequence[Objective], loaded: LoadedModel) -> "Aims | None":
        """None where one is left."""
        known = tuple(each for each in objectives if each.metric != FORGETTING)
        return cls(known, loaded) if len(known) > 1 else None

    def values(self, record: TrialRecord) -> tuple[float, ...] | None:
        """What a trial reached in each of them; None where it has no value."""
        key = record.number, len(record.curve)
        if key not in self._known:
            found = tuple(_values(record, self.objectives, self.loaded, math.nan).values())
            self._known[key] = found if found and all(map(math.isfinite, found)) else None
        return self._known[key]


def pareto_front(
    records: Sequence[TrialRecord],
    objectives: Sequence[Objective],
    loaded: LoadedModel,
    retained: Mapping[int, float] | None = None,
) -> dict[str, Any]:
    """What summary.json says under ``pareto``: the objectives with their modes, and the front.

    What a trial retains of the pretrained model is known of those whose weights are kept (``retained``). With
    forgetting among the objectives, the front is one of these.

    A trial stands with the weights that are kept of it, those of its best evaluation by the first objective. One is on
    the front when no other is at least as good in all objectives and better in one; of equals the earliest.
    """
    retained = retained or {}
    found = [
        (record.number, _values(record, objectives, loaded, retained.get(record.number, math.nan)))
        for record in records
    ]
    known = [(number, values) for number, values in found if values and all(map(math.isfinite, values.values()))]
    scores = {number: tuple(each.score(values[each.metric]) for each in objectives) for number, values in known}
    kept = [
        (number, values)
        for number, values in known
        if not any(_beats(scores[other], other, scores[number], number) for other in scores)
    ]
    kept.sort(key=lambda point: scores[point[0]], reverse=True)
    front = [{"trial": number, "values": values} for number, values in kept]
    return {"objectives": {each.metric: each.mode for each in objectives}, "front": front}


def _beats(one: tuple[float, ...], number: int, other: tuple[float, ...], place: int) -> bool:
    """Whether trial ``number`` keeps trial ``place`` off the front."""
    at_least = all(mine >= theirs for mine, theirs in zip(one, other, strict=True))
    return at_least and (one != other or number < place)


def _values(
    record: TrialRecord, objectives: Sequence[Objective], loaded: LoadedModel, retained: float
) -> dict[str, float]:
    best = record.best(objectives[0])
    if best is None or record.state == TrialState.FAIL:
        return {}
    recipe = Recipe.parse(record.proposal.recipe, where=f"trial {record.number}")
    own = {COST: round(cost_s(record, objectives[0]), 6), PARAMETERS: float(trained_parameters(recipe, loaded))}
    own[FORGETTING] = round(1.0 - retained, 6)
    known = {**best.metrics, **own, objectives[0].metric: best.value}
    return {each.metric: known.get(each.metric, math.nan) for each in objectives}
