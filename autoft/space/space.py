"""Search spaces: what a trial draws, and what it sets in the recipe."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from optuna.distributions import BaseDistribution
from optuna.trial import BaseTrial

from autoft.errors import AutoftError, ConfigError, described
from autoft.recipe import Recipe, apply_overrides, look_up
from autoft.space.dimension import Choice, Dimension, Fixed
from autoft.space.matching import matches
from autoft.space.paths import expand, refusal
from autoft.space.trial import OutsideError, RepeatedTrial, contains

Overrides: TypeAlias = dict[str, Any]
SpaceFunction: TypeAlias = Callable[[BaseTrial], Mapping[str, Any]]


class SearchSpace(ABC):
    """Draws changes to one base recipe, for one model."""

    @property
    def names(self) -> tuple[str, ...]:
        """The dimensions, those first on which others depend."""
        return tuple(self.ranges)

    @property
    @abstractmethod
    def ranges(self) -> Mapping[str, BaseDistribution]:
        """What each dimension is drawn from."""

    @abstractmethod
    def draw(self, trial: BaseTrial) -> Overrides:
        """Ask ``trial`` for values; gives the dotted overrides of the base recipe that they stand for."""

    @abstractmethod
    def project(self, recipe: Mapping[str, Any]) -> dict[str, Any] | None:
        """The values from which `draw` makes ``recipe`` (as `Recipe.full` gives it), or None if there are none."""

    @abstractmethod
    def distributions(self, params: Mapping[str, Any]) -> dict[str, BaseDistribution]:
        """What ``params`` were drawn from; those that this space would not draw are left out."""


class DeclaredSpace(SearchSpace):
    """Dimensions over dotted paths; one whose conditions do not hold keeps the base recipe's value."""

    def __init__(self, dimensions: Sequence[Dimension], base: Mapping[str, Any]) -> None:
        self._dimensions = tuple(dimensions)
        self._base = base
        self._ranges = {
            dimension.name: dimension.distribution for dimension in self._dimensions if not isinstance(dimension, Fixed)
        }

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        """All of them, fixed ones included, those first on which others depend."""
        return self._dimensions

    @property
    def ranges(self) -> Mapping[str, BaseDistribution]:
        """What each dimension is drawn from."""
        return self._ranges

    def draw(self, trial: BaseTrial) -> Overrides:
        """Ask for the values of the dimensions that count."""
        values: dict[str, Any] = {}
        for dimension in self._dimensions:
            if dimension.active(values):
                value = dimension.value if isinstance(dimension, Fixed) else dimension.suggest(trial)
                values[dimension.name] = value
        return self.overrides(values)

    def overrides(self, values: Mapping[str, Any]) -> Overrides:
        """The dotted overrides that the values of some dimensions stand for."""
        return _expanded(
            (
                found
                for dimension in self._dimensions
                if dimension.name in values
                for found in _settings(dimension, values[dimension.name])
            ),
            self._base,
        )

    def project(self, recipe: Mapping[str, Any]) -> dict[str, Any] | None:
        """Read values off the recipe, and take those from which `draw` makes it again."""
        target = Recipe.parse(recipe, where="recipe").full()
        for values in self._candidates(target, 0, {}):
            drawn = Recipe.parse(self._changed(values), where="space").full()
            if matches(drawn, target):
                return {name: value for name, value in values.items() if name in self._ranges}
        return None

    def distributions(self, params: Mapping[str, Any]) -> dict[str, BaseDistribution]:
        """Those of the declared ranges that contain their value."""
        return {
            name: distribution
            for name, distribution in self._ranges.items()
            if name in params and contains(distribution, params[name])
        }

    def _changed(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return apply_overrides(self._base, self.overrides(values), where="space")

    def _candidates(self, target: Mapping[str, Any], index: int, values: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """All assignments that may have led to ``target``, by depth-first search."""
        if index == len(self._dimensions):
            yield values
            return
        dimension = self._dimensions[index]
        if not dimension.active(values):
            yield from self._candidates(target, index + 1, values)
            return
        for value in _read(dimension, target):
            yield from self._candidates(target, index + 1, {**values, dimension.name: value})


class FunctionSpace(SearchSpace):
    """A function of a trial that returns dotted overrides; the names it suggests are the dimensions.

    Coordinates cannot be read off a recipe, so `project` always gives None.
    """

    def __init__(self, function: SpaceFunction, base: Mapping[str, Any]) -> None:
        self._function = function
        self._base = base
        self._seen: dict[str, BaseDistribution] = {}

    @property
    def ranges(self) -> Mapping[str, BaseDistribution]:
        """As seen in the draws so far."""
        return self._seen

    def draw(self, trial: BaseTrial) -> Overrides:
        """Call the function.

        Raises:
            ConfigError: it raises an exception of its own, returns something else, or a path that cannot be searched.
        """
        changes = self._called(trial)
        if not isinstance(changes, Mapping):
            raise ConfigError(
                "space: the function must return a mapping of dotted paths to values, as in "
                f"{{'stages.tune.lr': 1e-3}}, got {changes!r}"
            )
        if reasons := [reason for path in changes if (reason := refusal(str(path)))]:
            raise ConfigError("\n".join(f"space: {reason}" for reason in reasons))
        self._seen.update(trial.distributions)
        return _expanded(changes.items(), self._base)

    def project(self, recipe: Mapping[str, Any]) -> None:
        """Not known."""
        del recipe

    def distributions(self, params: Mapping[str, Any]) -> dict[str, BaseDistribution]:
        """Call the function with these values; none if it asks for another."""
        trial = RepeatedTrial(params)
        try:
            self._called(trial)
        except OutsideError:
            return {}
        return {name: found for name, found in trial.distributions.items() if name in params}

    def _called(self, trial: BaseTrial) -> Mapping[str, Any]:
        try:
            return self._function(trial)
        except (AutoftError, OutsideError):
            raise
        except Exception as error:
            drawn = f"having drawn {trial.params}" if trial.params else "before it drew anything"
            raise ConfigError(f"space: the function raised {described(error)} {drawn}; mend it") from error


def _settings(dimension: Dimension, value: Any) -> Iterator[tuple[str, Any]]:
    """Each path of a dimension with what ``value`` sets there."""
    found = dimension.setting(value)
    bundled = isinstance(dimension, Choice) and dimension.bundled
    yield from ((path, found[place] if bundled else found) for place, path in enumerate(dimension.paths))


def _expanded(settings: Any, base: Mapping[str, Any]) -> Overrides:
    """Settings with ``*`` written out for the stages that the other settings leave."""
    pairs = list(settings)
    result = {path: value for path, value in pairs if "*" not in path}
    if len(result) == len(pairs):
        return result
    changed = apply_overrides(base, result, where="space")
    for path, value in pairs:
        if "*" in path:
            result |= dict.fromkeys(expand(path, changed), value)
    return result


def _read(dimension: Dimension, target: Mapping[str, Any]) -> list[Any]:
    """The values of a dimension that its first place in ``target`` allows."""
    try:
        place = next(expand(dimension.paths[0], target), None)
        found = None if place is None else look_up(target, place, where="recipe")
    except ConfigError:
        return list(dimension.labels) if isinstance(dimension, Choice) and dimension.labelled else []
    return list(dimension.candidates(found))
