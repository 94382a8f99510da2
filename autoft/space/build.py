"""Building a search space: from YAML's mappings, from Optuna's distributions, from a function."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from optuna.distributions import BaseDistribution

from autoft.errors import ConfigError
from autoft.record import ModelCard
from autoft.space.check import check_dimensions, check_function
from autoft.space.dependence import conditions_that_make_sense, in_order, reachable
from autoft.space.dimension import Dimension, Fixed
from autoft.space.resolve import from_distribution, resolve
from autoft.space.schema import DimensionConfig, parse_dimension
from autoft.space.space import DeclaredSpace, FunctionSpace, SearchSpace, SpaceFunction

RawSpace: TypeAlias = Mapping[str, Any] | SpaceFunction


def build_space(raw: RawSpace, base: Mapping[str, Any], card: ModelCard, *, where: str = "space") -> SearchSpace:
    """The search space of one model and one base recipe.

    Args:
        raw: a mapping of dimension names to what YAML gives, a mapping of dotted paths to Optuna distributions,
            or a function of a trial that returns dotted overrides.
        base: the recipe that is changed, as plain data.
        card: the model.
        where: what errors are prefixed with.

    Raises:
        ConfigError: one line per error, ``space.lr.low: rule, got value``.
    """
    if isinstance(raw, Mapping):
        return _declared(raw, base, card, where)
    if callable(raw):
        space = FunctionSpace(raw, base)
        check_function(space, base, card, where=where)
        return space
    raise ConfigError(f"{where}: must be a mapping of dimensions or a function of a trial, got {raw!r}")


def _declared(raw: Mapping[str, Any], base: Mapping[str, Any], card: ModelCard, where: str) -> DeclaredSpace:
    errors: list[str] = []
    dimensions: dict[str, Dimension] = {}
    for name, given in raw.items():
        try:
            made = _dimension(name, given, base, card, f"{where}.{name}")
        except ConfigError as error:
            errors += str(error).splitlines()
            continue
        if made is not None:
            dimensions[name] = made
    errors += conditions_that_make_sense(dimensions, known=[str(name) for name in raw], where=where)
    if errors:
        raise ConfigError("\n".join(errors))
    ordered = reachable(in_order(dimensions, where=where))
    if all(isinstance(dimension, Fixed) for dimension in ordered):
        raise ConfigError(f"{where}: has nothing to search; add a dimension such as lr, or use autoft train")
    check_dimensions(ordered, base, card, where=where)
    return DeclaredSpace(ordered, base)


def _dimension(name: object, given: Any, base: Mapping[str, Any], card: ModelCard, where: str) -> Dimension | None:
    """The dimension, or None where the model or the task has no use for it."""
    if not isinstance(name, str) or not name:
        raise ConfigError(f"{where}: a dimension's name must be text, got {name!r}")
    if isinstance(given, BaseDistribution):
        return from_distribution(name, given, where=where)
    config = parse_dimension(given, where=where)
    return resolve(name, config, card, where=where) if _of_use(config, base, card) else None


def _of_use(config: DimensionConfig, base: Mapping[str, Any], card: ModelCard) -> bool:
    if config.families is not None and card.family not in config.families:
        return False
    task = base.get("data", {}).get("task", "single_label")
    met = {"drop_path": card.supports_drop_path, "classes": task != "regression"}
    return all(met[requirement] for requirement in config.requires)
