"""A dimension as it is written in YAML."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from pydantic import PositiveFloat, PositiveInt, field_validator

from autoft.errors import ConfigError, near
from autoft.recipe import Config
from autoft.record import Family
from autoft.space.condition import Condition, parse_condition
from autoft.space.paths import refusal

Requirement: TypeAlias = Literal["drop_path", "classes"]


class DimensionConfig(Config):
    """What all types share."""

    path: tuple[str, ...]
    """One dotted path or several, all of which are set to the same value; ``stages.*.lr`` is that of every stage."""
    when: Mapping[str, Any] = {}
    """Other dimensions' names to comparisons, all of which must hold."""
    requires: tuple[Requirement, ...] = ()
    """What model (``drop_path``) and task (``classes``) must have; else the dimension is left out."""
    families: tuple[Family, ...] | None = None
    """The model families it makes sense for; for others it is left out."""

    @field_validator("path", "requires", "families", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("path")
    @classmethod
    def _can_be_searched(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        if not paths:
            raise ConfigError("must name at least one place in the recipe")
        if reasons := [reason for path in paths if (reason := refusal(path))]:
            raise ConfigError("; ".join(reasons))
        return paths

    @field_validator("when")
    @classmethod
    def _comparisons(cls, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        for name, comparison in raw.items():
            try:
                parse_condition(comparison)
            except ConfigError as error:
                raise ConfigError(f"{name}: {error}, got {comparison!r}") from None
        return raw

    @property
    def conditions(self) -> dict[str, Condition]:
        """The comparisons of ``when``, parsed."""
        return {name: parse_condition(comparison) for name, comparison in self.when.items()}


class IntConfig(DimensionConfig):
    """``type: int``."""

    type: Literal["int"]
    low: Any
    """A number, ``all`` (the model's depth), ``at most N`` (not above the depth), or one of these per family."""
    high: Any
    step: PositiveInt = 1
    log: bool = False


class FloatConfig(DimensionConfig):
    """``type: float``."""

    type: Literal["float"]
    low: Any
    """A number, or one per family."""
    high: Any
    step: PositiveFloat | None = None
    log: bool = False


class CategoricalConfig(DimensionConfig):
    """``type: categorical``."""

    type: Literal["categorical"]
    values: list[Any]

    @field_validator("values")
    @classmethod
    def _scalars(cls, values: list[Any]) -> list[Any]:
        if not values:
            raise ConfigError("must have at least one value, got []")
        if strange := [value for value in values if not isinstance(value, bool | int | float | str | None)]:
            raise ConfigError(f"must be numbers, words, true, false or null, got {strange[0]!r}; use type: choice")
        return values


class BoolConfig(DimensionConfig):
    """``type: bool``."""

    type: Literal["bool"]


class ChoiceConfig(DimensionConfig):
    """``type: choice``: names for values of any shape, such as whole lists of stages."""

    type: Literal["choice"]
    options: dict[str, Any]

    @field_validator("options")
    @classmethod
    def _some(cls, options: dict[str, Any]) -> dict[str, Any]:
        if not options:
            raise ConfigError("must have at least one option, got {}")
        return options


class BundleConfig(DimensionConfig):
    """``type: bundle``: names for settings that go together, below one path."""

    type: Literal["bundle"]
    options: dict[str, dict[str, Any]]

    @field_validator("options")
    @classmethod
    def _all_set_the_same(cls, options: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        keys = [sorted(option) for option in options.values()]
        if not keys or not keys[0]:
            raise ConfigError(f"must have at least one option with at least one setting, got {options}")
        if any(found != keys[0] for found in keys):
            lines = "; ".join(f"{name} sets {', '.join(sorted(option)) or 'none'}" for name, option in options.items())
            raise ConfigError(f"must all set the same keys, got: {lines}")
        return options

    @property
    def keys(self) -> tuple[str, ...]:
        """What each option sets."""
        return tuple(next(iter(self.options.values())))


class FixedConfig(DimensionConfig):
    """No type, but a ``value``: set and not searched."""

    value: Any


_TYPES: Mapping[str, type[DimensionConfig]] = {
    "int": IntConfig,
    "float": FloatConfig,
    "categorical": CategoricalConfig,
    "bool": BoolConfig,
    "choice": ChoiceConfig,
    "bundle": BundleConfig,
}


def parse_dimension(raw: Any, *, where: str) -> DimensionConfig:
    """Read one dimension.

    Raises:
        ConfigError: one line per error.
    """
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{where}: must be a mapping with path, type and a range, got {raw!r}")
    if "grid_search" in raw:  # as Ray Tune writes one
        raise ConfigError(f"{where}: a grid is for all of a space; give tune.choice and search.sampler=grid")
    if "type" not in raw and "value" in raw:
        return _parse(FixedConfig, raw, where)
    kind = raw.get("type")
    known = ", ".join(_TYPES)
    if kind is None:
        raise ConfigError(f"{where}.type: is required, one of: {known}; or give a value, which is then not searched")
    if not isinstance(kind, str) or kind not in _TYPES:
        raise ConfigError(f"{where}.type: must be one of: {known}, got {kind!r}{near(str(kind), _TYPES)}")
    return _parse(_TYPES[kind], raw, where)


def _parse(model: type[DimensionConfig], raw: Mapping[str, Any], where: str) -> DimensionConfig:
    try:
        return model.parse(raw, where="")
    except ConfigError as error:
        lines = (line.removeprefix(": ") for line in str(error).splitlines())
        raise ConfigError("\n".join(f"{where}.{line}" for line in lines)) from None
