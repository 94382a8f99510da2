"""The probe's solution as one more way to train the head, where a search space offers several."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from autoft.recipe import Recipe, Stage
from autoft.space.dimension import Choice
from autoft.space.paths import inside
from autoft.space.space import DeclaredSpace, SearchSpace

SOLVED = "solved"
"""The option's name."""


def with_solved_head(space: SearchSpace, base: Recipe) -> SearchSpace:
    """The space with the option `SOLVED` among those of the opening head stage: the same stage with ``fit: solve``.

    A space that has no such choice, or in which another dimension can change that stage, stays as it is.
    """
    stage = base.stages[0]
    if not isinstance(space, DeclaredSpace) or not stage.head_only or stage.fit == "solve":
        return space
    first = f"stages.{stage.name}"
    bundles = (each for each in space.dimensions if isinstance(each, Choice) and each.bundled)
    ways = [each for each in bundles if all(inside(path, first) for path in each.paths)]
    others = [path for each in space.dimensions if each not in ways for path in each.paths]
    if len(ways) != 1 or any(path == first or inside(path, first) or inside(first, path) for path in others):
        return space
    (way,) = ways
    if SOLVED in way.labels:
        return space
    return DeclaredSpace([_offering(way, stage) if each is way else each for each in space.dimensions], base.full())


def _offering(way: Choice, stage: Stage) -> Choice:
    """The dimension with one option more; the others say what they left to the base recipe and it changes."""
    own, solved = stage.model_dump(mode="json"), stage.solved().model_dump(mode="json")
    searched = [path.rpartition(".")[2] for path in way.paths]
    more = [name for name in own if own[name] != solved[name] and name not in searched]
    paths = (*way.paths, *(f"stages.{stage.name}.{name}" for name in more))
    settings = [(label, (*setting, *_values(own, more))) for label, setting in way.settings]
    solution = (SOLVED, _values(solved, [*searched, *more]))
    return replace(way, paths=paths, settings=(*settings, solution))


def _values(stage: Mapping[str, Any], names: list[str]) -> tuple[Any, ...]:
    return tuple(stage[name] for name in names)
