"""Portfolios: named recipes, known to be good elsewhere, that a search tries before it draws any."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field, NonNegativeInt

from autoft.errors import ConfigError
from autoft.recipe import Config, Recipe, look_up
from autoft.record import ModelCard
from autoft.space.condition import is_number
from autoft.space.dimension import Choice, Dimension, Number
from autoft.space.grid import middle
from autoft.space.paths import expand, inside
from autoft.space.space import DeclaredSpace, SearchSpace


class Entry(Config):
    """A recipe as changes to the base recipe of any search."""

    depth: NonNegativeInt | Literal["half", "all but one", "all"]
    """Top groups that the last stage trains; more than a model has are all of them."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Dotted overrides; ``stages.head`` stands for the stage before the last, ``stages.tune`` for the last."""
    where_searched: dict[str, Any] = Field(default_factory=dict)
    """The same, each left out where it would lead out of the search space."""

    def groups(self, card: ModelCard) -> int:
        """How many top groups of this model the last stage trains."""
        match self.depth:
            case int():
                return min(self.depth, card.depth)
            case "half":
                return math.ceil(card.depth / 2)
            case "all but one":
                return max(1, card.depth - 1)
            case "all":
                return card.depth


def parse_portfolio(raw: Any, *, where: str) -> dict[str, Entry]:
    """Read a portfolio's file.

    Raises:
        ConfigError: not a mapping of names to entries.
    """
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{where}: must be a mapping of names to recipes, got {raw!r}")
    return {name: Entry.parse(entry, where=f"{where}: {name}") for name, entry in raw.items()}


def within(space: SearchSpace, base: Recipe, entry: Entry, card: ModelCard) -> Recipe | None:
    """The recipe of an entry, if the space could have drawn it from the base recipe; else None."""
    base, tune = drawable_base(space, base), base.stages[-1].name
    needed = _named(entry.settings, base) | {f"stages.{tune}.unfreeze": entry.groups(card)}
    recipe = drawable(space, base, needed) or drawable(space, base, _with_one_norm(needed, base))
    if recipe is None:
        return None
    for changes in _parts(_named(entry.where_searched, base)):
        recipe = drawable(space, recipe, changes) or recipe
    return recipe


def _parts(changes: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The changes, first those together that belong to one stage or section: a space may know them as a whole only."""
    together: dict[str, dict[str, Any]] = {}
    for path, value in changes.items():
        together.setdefault(path.rpartition(".")[0], {})[path] = value
    yield from (part for part in together.values() if len(part) > 1)
    yield from ({path: value} for path, value in changes.items())


def head_options(space: SearchSpace, base: Recipe) -> dict[str, dict[str, Any]]:
    """By name, the changes to an opening stage of the head alone that the space offers as one choice."""
    first = f"stages.{base.stages[0].name}"
    if not isinstance(space, DeclaredSpace) or not base.stages[0].head_only:
        return {}
    return {
        str(label): dict(zip(dimension.paths, setting, strict=True))
        for dimension in space.dimensions
        if isinstance(dimension, Choice) and dimension.bundled and all(inside(each, first) for each in dimension.paths)
        for label, setting in dimension.settings
    }


def drawable_base(space: SearchSpace, base: Recipe) -> Recipe:
    """The base recipe, moved into the space where it lies outside of it: each dimension to what is nearest there."""
    if not isinstance(space, DeclaredSpace) or space.project(base.full()) is not None:
        return base
    plain, values = base.full(), dict[str, Any]()
    for dimension in space.dimensions:
        if dimension.active(values):
            values[dimension.name] = _nearest(dimension, plain)
    return drawable(space, base, space.overrides(values)) or base


def _nearest(dimension: Dimension, plain: Mapping[str, Any]) -> Any:
    """The value of a dimension that changes a recipe least."""
    found = [_found(path, plain) for path in dimension.paths]
    match dimension:
        case Number(distribution=range_) if dimension.contains(found[0]) or not is_number(found[0]):
            return found[0] if is_number(found[0]) else middle(range_)
        case Number(distribution=range_):
            return range_.low if found[0] < range_.low else range_.high if found[0] > range_.high else middle(range_)
        case Choice(settings=settings, bundled=bundled):
            alike = [sum(map(_alike, found, setting if bundled else (setting,))) for _, setting in settings]
            return settings[alike.index(max(alike))][0]
        case _:
            return dimension.value


def _found(path: str, plain: Mapping[str, Any]) -> Any:
    try:
        return next((look_up(plain, place, where="recipe") for place in expand(path, plain)), None)
    except ConfigError:
        return None


def _alike(one: Any, other: Any) -> bool:
    """Equality; plans of stages are alike when their stages have the same names."""
    if isinstance(one, list) and isinstance(other, list):
        return [part["name"] for part in one] == [part["name"] for part in other]
    return bool(one == other)


def drawable(space: SearchSpace, recipe: Recipe, changes: Mapping[str, Any]) -> Recipe | None:
    """The recipe with the changes, if the space could have drawn it; else None."""
    try:
        changed = recipe.override(changes, where="portfolio")
        return None if space.project(changed.full()) is None else changed
    except ConfigError:  # this search's stages or settings do not have it
        return None


def _with_one_norm(changes: Mapping[str, Any], base: Recipe) -> dict[str, Any]:
    """The changes with the last stage's norm mode in all stages: some spaces have one for all of them."""
    norm = changes.get(f"stages.{base.stages[-1].name}.norm", base.stages[-1].norm)
    return {**changes, **{f"stages.{stage.name}.norm": norm for stage in base.stages}}


def _named(changes: Mapping[str, Any], base: Recipe) -> dict[str, Any]:
    """The changes with the stages' names of this search; what is for a stage that it has not keeps its name."""
    names = {"tune": base.stages[-1].name} | ({"head": base.stages[-2].name} if len(base.stages) > 1 else {})
    return {_renamed(path.split("."), names): value for path, value in changes.items()}


def _renamed(parts: list[str], names: Mapping[str, str]) -> str:
    if parts[0] == "stages" and len(parts) > 1:
        parts = [parts[0], names.get(parts[1], parts[1]), *parts[2:]]
    return ".".join(parts)
