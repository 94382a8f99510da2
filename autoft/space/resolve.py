"""From a dimension as written to a dimension of one model: families, depths, ranges."""

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, get_args

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from autoft.errors import ConfigError, near
from autoft.record import Family, ModelCard
from autoft.space.condition import is_number
from autoft.space.dimension import Choice, Dimension, Fixed, Number
from autoft.space.paths import refusal
from autoft.space.schema import (
    BoolConfig,
    BundleConfig,
    CategoricalConfig,
    ChoiceConfig,
    DimensionConfig,
    FixedConfig,
    FloatConfig,
    IntConfig,
)

_AT_MOST = re.compile(r"at most (\d+)")


def resolve(name: str, config: DimensionConfig, card: ModelCard, *, where: str) -> Dimension:
    """The dimension for the model that ``card`` describes.

    Raises:
        ConfigError: one line per error.
    """
    common: dict[str, Any] = {"name": name, "paths": config.path, "when": config.conditions}
    match config:
        case IntConfig() | FloatConfig():
            return _number(config, common, card, where)
        case CategoricalConfig():
            _distinct(config.values, f"{where}.values")
            return Choice(**common, settings=tuple((value, value) for value in config.values), labelled=False)
        case BoolConfig():
            return Choice(**common, settings=((False, False), (True, True)), labelled=False)
        case ChoiceConfig():
            _distinct(list(config.options.values()), f"{where}.options")
            return Choice(**common, settings=tuple(config.options.items()), labelled=True)
        case BundleConfig():
            _distinct(list(config.options.values()), f"{where}.options")
            places = tuple(f"{path}.{key}" for path in config.path for key in config.keys)
            settings = tuple(
                (label, tuple(option[key] for _ in config.path for key in config.keys))
                for label, option in config.options.items()
            )
            return Choice(**{**common, "paths": places}, settings=settings, labelled=True, bundled=True)
        case FixedConfig():
            return Fixed(**common, value=config.value)
        case _:
            raise TypeError(type(config))


def from_distribution(path: str, distribution: BaseDistribution, *, where: str) -> Dimension:
    """The dimension that an Optuna distribution makes of a path, which is also its name.

    Raises:
        ConfigError: a path that cannot be searched, or a distribution of another library.
    """
    if reason := refusal(path):
        raise ConfigError(f"{where}: {reason}")
    match distribution:
        case IntDistribution() | FloatDistribution():
            return Number(name=path, paths=(path,), distribution=distribution)
        case CategoricalDistribution():
            settings = tuple((value, value) for value in distribution.choices)
            return Choice(name=path, paths=(path,), settings=settings, labelled=False)
        case _:
            raise ConfigError(
                f"{where}: must be an int, float or categorical distribution, got {type(distribution).__name__}"
            )


def _number(config: IntConfig | FloatConfig, common: dict[str, Any], card: ModelCard, where: str) -> Number:
    whole = isinstance(config, IntConfig)
    bounds: dict[str, Any] = {}
    errors: list[str] = []
    for key, raw in (("low", config.low), ("high", config.high)):
        try:
            bounds[key] = _bound(raw, card, whole=whole)
        except ConfigError as error:
            errors.append(f"{where}.{key}: {error}")
    if not errors:
        errors = [f"{where}.{line}" for line in _range_errors(config, bounds["low"], bounds["high"])]
    if errors:
        raise ConfigError("\n".join(errors))
    return Number(
        **common,
        distribution=_distribution(config, bounds["low"], bounds["high"]),
        of_model=_of_model(config.low) or _of_model(config.high),
    )


def _distribution(config: IntConfig | FloatConfig, low: float, high: float) -> IntDistribution | FloatDistribution:
    if isinstance(config, IntConfig):
        return IntDistribution(int(low), int(high), log=config.log, step=config.step)
    return FloatDistribution(low, high, log=config.log, step=config.step)


def _bound(raw: Any, card: ModelCard, *, whole: bool) -> float:
    if isinstance(raw, Mapping):
        raw = _of_family(raw, card)
    if whole and raw == "all":
        return card.depth
    if whole and isinstance(raw, str) and (found := _AT_MOST.fullmatch(raw)):
        return min(int(found[1]), card.depth)
    if not is_number(raw) or (whole and not isinstance(raw, int)) or not math.isfinite(raw):
        forms = "a whole number, 'all' (the model's depth), 'at most N'" if whole else "a number"
        raise ConfigError(f"must be {forms}, or one of these for each model family, got {raw!r}")
    return raw if whole else float(raw)


def _of_family(raw: Mapping[Any, Any], card: ModelCard) -> Any:
    known = get_args(Family)
    if unknown := [str(key) for key in raw if key not in known]:
        hint = near(unknown[0], known)
        raise ConfigError(f"unknown model family {unknown[0]!r}{hint}; there are: {', '.join(known)}")
    if card.family not in raw and "other" not in raw:
        raise ConfigError(f"has no value for the family of {card.name}; add {card.family}, or other for all the rest")
    return raw.get(card.family, raw.get("other"))


def _of_model(raw: Any) -> bool:
    parts = raw.values() if isinstance(raw, Mapping) else (raw,)
    return any(isinstance(part, str) for part in parts)


def _range_errors(config: IntConfig | FloatConfig, low: float, high: float) -> list[str]:
    least = 1 if isinstance(config, IntConfig) else 0
    if low > high:
        return [f"low: must not be above high ({high:g}), got {low:g}"]
    errors = []
    if config.log and (low < least or low <= 0):
        rule = "at least 1" if least else "above 0"
        errors.append(f"low: must be {rule} on a log scale, got {low:g}; raise it or leave out log")
    step = config.step
    if config.log and step not in (None, 1):
        errors.append(f"step: a log scale has no steps, got {step:g}; leave out step or log")
    elif step is not None and (rest := _rest(low, high, step)):
        errors.append(
            f"step: must divide high - low, got {step:g} in {low:g} to {high:g}; high: {high - rest:g} would do"
        )
    return errors


def _rest(low: float, high: float, step: float) -> float:
    """What remains of the range behind the last step, in decimal arithmetic as Optuna does it."""
    return float((Decimal(str(high)) - Decimal(str(low))) % Decimal(str(step)))


def _distinct(values: list[Any], where: str) -> None:
    for index, value in enumerate(values):
        if any(value == other for other in values[:index]):
            raise ConfigError(f"{where}: must differ from one another, got {value!r} twice")
