"""Trying a search space on the base recipe before anything is spent on it."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from autoft.errors import ConfigError
from autoft.recipe import Recipe, TopGroups, apply_overrides
from autoft.record import ModelCard
from autoft.space.dependence import disjoint
from autoft.space.dimension import Dimension
from autoft.space.paths import inside, overlap
from autoft.space.space import DeclaredSpace, FunctionSpace
from autoft.space.trial import RandomTrial
from autoft.streams import stream

_FUNCTION_DRAWS = 16


def check_dimensions(dimensions: Sequence[Dimension], base: Mapping[str, Any], card: ModelCard, *, where: str) -> None:
    """Try each dimension's ends and options, in every situation in which it counts.

    Raises:
        ConfigError: one line per path, value or combination that does not make a recipe for this model.
    """
    by_name = {dimension.name: dimension for dimension in dimensions}
    lines = [
        f"{where}.{one.name}: sets {path!r}, and so does {other.name}; give each its own place, or a `when`"
        for one, other in combinations(dimensions, 2)
        if (path := _shared(one, other)) and not disjoint(one, other, by_name)
    ]
    space = DeclaredSpace(dimensions, base)
    for dimension in dimensions:
        lines += _trouble(dimension, space, by_name, base, card, where)
    if lines:
        raise ConfigError("\n".join(dict.fromkeys(lines)))


def check_function(space: FunctionSpace, base: Mapping[str, Any], card: ModelCard, *, where: str) -> None:
    """Draw a few recipes, which also finds the dimensions' names.

    Raises:
        ConfigError: one line per way in which a draw is not a recipe for this model, with the first such value.
    """
    first: dict[str, str] = {}
    for number in range(_FUNCTION_DRAWS):
        overrides = space.draw(RandomTrial(stream(0, "space", number)))
        for reason in _reasons(overrides, base, card):
            first.setdefault(reason.partition(", got ")[0], f"{where}: {reason}")
    if first:
        raise ConfigError("\n".join(first.values()))


def _trouble(
    dimension: Dimension,
    space: DeclaredSpace,
    by_name: Mapping[str, Dimension],
    base: Mapping[str, Any],
    card: ModelCard,
    where: str,
) -> Iterator[str]:
    for situation in _situations(dimension, by_name, frozenset()):
        before = set(_reasons(space.overrides(situation), base, card))
        for key, value in dimension.probes():
            overrides = space.overrides({**situation, dimension.name: value})
            for reason in _reasons(overrides, base, card):
                if reason not in before:
                    misplaced = "unknown key" in reason or "there is no" in reason or "which has no" in reason
                    yield f"{where}.{dimension.name}.{'path' if misplaced else key}: {reason}"


def _reasons(overrides: Mapping[str, Any], base: Mapping[str, Any], card: ModelCard) -> list[str]:
    """What keeps the base recipe with ``overrides`` from being a recipe for this model."""
    try:
        recipe = Recipe.parse(apply_overrides(base, overrides, where=""), where="")
    except ConfigError as error:
        return [line.removeprefix(": ") for line in str(error).splitlines()]
    return list(_does_not_fit(recipe, card))


def _does_not_fit(recipe: Recipe, card: ModelCard) -> Iterator[str]:
    for stage in recipe.stages:
        match stage.unfreezing:
            case TopGroups(count=count) if count > card.depth:
                yield (
                    f"stages.{stage.name}.unfreeze: must be at most {card.depth}, the depth of {card.name} "
                    f"(its layer groups without the head), got {count}; use `all`"
                )
    if recipe.model.drop_path_rate and not card.supports_drop_path:
        yield f"model.drop_path_rate: {card.name} has no drop path; leave it out, or add requires: drop_path"


def _situations(
    dimension: Dimension, by_name: Mapping[str, Dimension], visited: frozenset[str]
) -> list[dict[str, Any]]:
    """Values of the other dimensions that decide whether this one counts, and what its paths lead into."""
    visited |= {dimension.name}
    situations: list[dict[str, Any]] = [{}]
    deciding = [other for other in by_name.values() if other.name not in visited and _decides(other, dimension)]
    for other in deciding:
        conditions = [dimension.when[other.name]] if other.name in dimension.when else []
        ways = [
            {**way, other.name: value}
            for way in _situations(other, by_name, visited)
            for value in other.satisfying(*conditions)
        ]
        if other.when and not conditions:
            ways.append({})
        situations = [{**one, **way} for one in situations for way in ways if _agree(one, way)]
    return [found for found in situations if not any(_missing(other, found) for other in deciding)]


def _decides(other: Dimension, dimension: Dimension) -> bool:
    into = any(inside(path, whole) for path in dimension.paths for whole in other.paths)
    return into or other.name in dimension.when


def _missing(other: Dimension, situation: Mapping[str, Any]) -> bool:
    return other.name not in situation and other.active(situation)


def _agree(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(one[name] == other[name] for name in one.keys() & other.keys())


def _shared(one: Dimension, other: Dimension) -> str | None:
    return next((a for a in one.paths for b in other.paths if overlap(a, b)), None)
