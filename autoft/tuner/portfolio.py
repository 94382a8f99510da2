"""The portfolio of a search: which recipes it tries after its baselines, and in which order."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import Any, TypeAlias

from autoft.errors import AutoftError
from autoft.model import complete, plan_stage
from autoft.model.freeze import Grouped
from autoft.recipe import Recipe
from autoft.space import SearchSpace, portfolio
from autoft.space.portfolio import drawable, within
from autoft.study import Ledger

PORTFOLIO = "portfolio"
"""Where a study keeps it: a resumed search goes on with the order that it began with."""

_UNLIKELY = 2.0
"""A recipe that is unlikely to win comes where one of so many times its cost would, at the earliest."""

Named: TypeAlias = tuple[str, Recipe]


def portfolio_of(base: Recipe, model: Grouped, space: SearchSpace) -> tuple[Named, ...]:
    """The entries of the model family's portfolio that the search space could have drawn, in the file's order."""
    if model.card.depth == 0:
        return ()
    made = ((name, within(space, base, entry, model.card)) for name, entry in portfolio(model.card.family).items())
    return tuple((name, complete(recipe, model.card)) for name, recipe in made if recipe)


def without_repeats(recipes: Iterable[Named], model: Grouped, *, known: Iterable[Recipe] = ()) -> tuple[Named, ...]:
    """The recipes without those that train what one before them, or a known one, trains."""
    seen = [_essence(recipe, model) for recipe in known]
    kept = []
    for name, recipe in recipes:
        essence = _essence(recipe, model)
        if essence not in seen:
            seen.append(essence)
            kept.append((name, recipe))
    return tuple(kept)


def in_order(
    recipes: Sequence[Named],
    cost: Callable[[Recipe], float],
    unlikely: Callable[[Recipe], bool] = lambda _recipe: False,
) -> tuple[Named, ...]:
    """The cheapest first, as they were where the cost is the same; what is unlikely to win comes later.

    It waits until one of twice its cost would be tried, and until half of the others have been.
    """
    costs = {name: (cost(recipe), unlikely(recipe)) for name, recipe in recipes}
    half = median([own for own, late in costs.values() if not late] or [0.0])
    places = {name: (max(_UNLIKELY * own, half) if late else own, late) for name, (own, late) in costs.items()}
    return tuple(sorted(recipes, key=lambda named: places[named[0]]))


def kept_portfolio(ledger: Ledger, space: SearchSpace, make: Callable[[], Sequence[Named]]) -> tuple[Named, ...]:
    """What the study keeps, but for recipes outside of a space that has changed since; else what is made now, and kept.

    A study whose trials began without a portfolio goes on without; the baselines come before it.
    """
    stored = ledger.meta().get(PORTFOLIO)
    if stored is None:
        made = tuple(make()) if all(record.baseline for record in ledger.trials()) else ()
        ledger.set_meta(PORTFOLIO, [[name, recipe.full()] for name, recipe in made])
        return made
    recipes = ((name, Recipe.parse(plain, where=f"portfolio {name}")) for name, plain in stored)
    return tuple((name, recipe) for name, recipe in recipes if drawable(space, recipe, {}))


def trained_groups(recipe: Recipe, model: Grouped) -> int:
    """How many groups below the head the recipe trains in any of its stages."""
    return len(frozenset().union(*(plan_stage(stage, model).trainable for stage in recipe.stages))) - 1


def _essence(recipe: Recipe, model: Grouped) -> Mapping[str, Any]:
    """What decides a recipe's result, however it is written."""
    plain = recipe.full()
    for stage, written in zip(recipe.stages, plain["stages"], strict=True):
        try:
            written["unfreeze"] = sorted(plan_stage(stage, model).trainable)
        except AutoftError:  # a recipe that does not fit the model says so where it is trained
            continue
        written["name"] = None
        written["weight_decay"] = _or(stage.weight_decay, recipe.optimisation.weight_decay)
        if stage.head_only:
            written["drop_rate"] = _or(stage.drop_rate, recipe.model.drop_rate)
            written.pop("norm", None)
    return plain


def _or(own: float | None, shared: float) -> float:
    return shared if own is None else own
