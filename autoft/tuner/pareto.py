"""Several objectives: the trials that no other one betters in all of them."""

import math
from collections.abc import Sequence
from typing import Any

from autoft.data import Task
from autoft.errors import UnknownNameError
from autoft.model import LoadedModel, plan_stage
from autoft.recipe import Recipe
from autoft.record import Objective, TrialRecord, TrialState
from autoft.tuner.config import COST, PARAMETERS


def objectives_of(names: Sequence[str], task: Task) -> tuple[Objective, ...]:
    """The objectives of those names: metrics of the task, ``cost`` and ``parameters``.

    Raises:
        UnknownNameError: no such metric, or one of another kind of task.
    """
    own = {COST, PARAMETERS}
    try:
        return tuple(Objective(name, "min") if name in own else task.objective(name) for name in names)
    except UnknownNameError as error:
        raise UnknownNameError(f"search.objectives: {error}, {COST}, {PARAMETERS}") from None


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


def pareto_front(
    records: Sequence[TrialRecord], objectives: Sequence[Objective], loaded: LoadedModel
) -> dict[str, Any]:
    """What summary.json says under ``pareto``: the objectives with their modes, and the front.

    A trial stands with the weights that are kept of it, those of its best evaluation by the first objective. One is on
    the front when no other is at least as good in all objectives and better in one; of equals the earliest.
    """
    found = [(record.number, _values(record, objectives, loaded)) for record in records]
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


def _values(record: TrialRecord, objectives: Sequence[Objective], loaded: LoadedModel) -> dict[str, float]:
    best = record.best(objectives[0])
    if best is None or record.state == TrialState.FAIL:
        return {}
    recipe = Recipe.parse(record.proposal.recipe, where=f"trial {record.number}")
    own = {COST: round(cost_s(record, objectives[0]), 6), PARAMETERS: float(trained_parameters(recipe, loaded))}
    known = {**best.metrics, **own, objectives[0].metric: best.value}
    return {each.metric: known.get(each.metric, math.nan) for each in objectives}
