"""The baselines: what every search tries first, so that it never ends below what one does by hand."""

from collections.abc import Sequence
from typing import Any

from autoft.model.family import complete
from autoft.recipe import Recipe, Stage
from autoft.record import ModelCard

HEAD_ONLY = "head_only"
"""It retains all of the pretrained model."""
COMPARED = (HEAD_ONLY, "standard")
"""Those that a winner is compared with."""
HEAD_SHARE = 4
"""A recipe without a head stage gives it one part in so many of its length."""


def baselines(base: Recipe, card: ModelCard, *, solved: bool = False) -> tuple[tuple[str, Recipe], ...]:
    """Names and recipes, cheapest first, each as long as the base recipe and with its data, optimisation and seed.

    ``head_only``: the frozen backbone. ``standard``: the head, then the upper half of the backbone's cost with frozen
    normalisation statistics. ``full``: the head, then everything at a tenth of the rate. A model without backbone
    groups has the first alone.

    Args:
        base: the recipe that a search starts from.
        card: of the model.
        solved: whether the head can be solved for: then ``head_only`` is at least as good as that solution.
    """
    head, tune = base.stages[0], base.stages[-1]
    recipes = {HEAD_ONLY: _with_stages(base, _head_stages(base.stages, solved=solved), card)}
    if card.depth > 0:
        before, after = _lengths(base.stages)
        opening = _stage(head, before, name="head", unfreeze=0, lr=None)
        half = 0.5 if card.depth > 1 else 1
        standard = _stage(tune, after, name="tune", unfreeze=half, norm="eval")
        recipes["standard"] = _with_stages(base, [opening, standard], card)
        rate = recipes["standard"].stages[-1].lr
        assert rate is not None
        recipes["full"] = _with_stages(
            base, [opening, {**standard, "unfreeze": "all", "norm": tune.norm, "lr": rate / 10}], card
        )
    return tuple(recipes.items())


def _with_stages(base: Recipe, stages: list[dict[str, Any]], card: ModelCard) -> Recipe:
    return complete(base.override({"stages": stages}, where="baseline"), card)


def _head_stages(stages: Sequence[Stage], *, solved: bool) -> list[dict[str, Any]]:
    """One head stage of the same length, or a solution and its polish; as many as there are where units are mixed."""
    total = _total(stages)
    if total is None:
        return [_stage(stage, _length(stage), unfreeze=0, lr=None) for stage in stages]
    steps = stages[0].model_copy(update={"fit": "steps", "penalty": None})
    if not (solved and "epochs" in total):
        return [_stage(steps, total, name="head", unfreeze=0, lr=None)]
    solution = stages[0].solved().model_dump(mode="json", exclude_none=True)
    left = total["epochs"] - 1
    return [
        solution,
        *([_stage(steps, {"epochs": left}, name=f"{stages[0].name}_polish", unfreeze=0, lr=None)] if left else []),
    ]


def _lengths(stages: Sequence[Stage]) -> tuple[dict[str, int], dict[str, int]]:
    """How long the head stage and what follows it are."""
    first, total = stages[0], _total(stages)
    if total is None:
        return _length(first), _length(stages[-1])
    ((unit, amount),) = total.items()
    own_head = first.head_only and len(stages) > 1
    before = _length(first)[unit] if own_head else max(1, amount // HEAD_SHARE)
    return {unit: before}, {unit: max(1, amount - before)}


def _total(stages: Sequence[Stage]) -> dict[str, int] | None:
    lengths = [_length(stage) for stage in stages]
    units = {unit for length in lengths for unit in length}
    return {unit: sum(length[unit] for length in lengths) for unit in units} if len(units) == 1 else None


def _length(stage: Stage) -> dict[str, int]:
    return {"epochs": stage.epochs} if stage.epochs is not None else {"steps": stage.steps or 1}


def _stage(template: Stage, length: dict[str, int], **changes: Any) -> dict[str, Any]:
    """The template with another length; a schedule ends where the stage does."""
    plain = template.model_dump(mode="json", exclude={"epochs", "steps", "schedule_steps"}) | changes | length
    return {key: value for key, value in plain.items() if value is not None}
