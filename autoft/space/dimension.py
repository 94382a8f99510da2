"""Dimensions of a search space, resolved for one model: what is drawn, and what it sets in the recipe."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import BaseTrial

from autoft.space.condition import Condition, is_number


@dataclass(frozen=True, kw_only=True)
class _Dimension:
    name: str
    paths: tuple[str, ...]
    when: Mapping[str, Condition] = field(default_factory=dict)

    def active(self, values: Mapping[str, Any]) -> bool:
        """Whether the dimension counts, given the values drawn so far; one that was not drawn satisfies nothing."""
        return all(name in values and condition.holds(values[name]) for name, condition in self.when.items())


@dataclass(frozen=True, kw_only=True)
class Number(_Dimension):
    """An int or a float in a range; sets what is drawn."""

    distribution: IntDistribution | FloatDistribution
    of_model: bool = False
    """Whether the range depends on the model's depth."""

    def suggest(self, trial: BaseTrial) -> Any:
        """Draw."""
        chosen = self.distribution
        if isinstance(chosen, IntDistribution):
            return trial.suggest_int(self.name, chosen.low, chosen.high, step=chosen.step, log=chosen.log)
        return trial.suggest_float(self.name, chosen.low, chosen.high, step=chosen.step, log=chosen.log)

    def setting(self, value: Any) -> Any:
        """What ``value`` sets in the recipe."""
        return value

    def contains(self, value: Any) -> bool:
        """Whether ``value`` can be drawn."""
        chosen = self.distribution
        if not is_number(value) or not chosen.low <= value <= chosen.high:
            return False
        if chosen.step is None:
            return True
        steps = (value - chosen.low) / chosen.step
        return math.isclose(steps, round(steps), abs_tol=1e-8)

    def candidates(self, found: Any) -> Iterator[Any]:
        """The values that may have set ``found``."""
        if self.contains(found):
            yield int(found) if isinstance(self.distribution, IntDistribution) else float(found)

    def probes(self) -> Iterator[tuple[str, Any]]:
        """Values worth trying in a recipe, with the key that gives them."""
        yield "low", self.distribution.low
        yield "high", self.distribution.high

    def satisfying(self, *conditions: Condition) -> list[Any]:
        """One value for which all conditions hold, if there is any."""
        chosen = self.distribution
        points = [chosen.low, chosen.high]
        for operand in (operand for condition in conditions for operand in condition.operands if is_number(operand)):
            points += _around(operand, chosen.low, chosen.step)
        whole = isinstance(chosen, IntDistribution)
        possible = (int(point) if whole else point for point in points if self.contains(point))
        return [point for point in possible if all(condition.holds(point) for condition in conditions)][:1]


@dataclass(frozen=True, kw_only=True)
class Choice(_Dimension):
    """One of several labels, each of which sets a value; for a plain categorical the labels are the values."""

    settings: tuple[tuple[Any, Any], ...]
    """Label and what it sets."""
    labelled: bool
    """Whether labels and values differ (``type: choice``)."""
    bundled: bool = False
    """Whether a label sets one value per path (``type: bundle``)."""

    @property
    def labels(self) -> tuple[Any, ...]:
        """What is drawn from."""
        return tuple(label for label, _ in self.settings)

    @property
    def distribution(self) -> CategoricalDistribution:
        """As Optuna knows it."""
        return CategoricalDistribution(self.labels)

    def suggest(self, trial: BaseTrial) -> Any:
        """Draw."""
        return trial.suggest_categorical(self.name, self.labels)

    def setting(self, value: Any) -> Any:
        """What ``value`` sets in the recipe."""
        return next(setting for label, setting in self.settings if same(label, value))

    def contains(self, value: Any) -> bool:
        """Whether ``value`` can be drawn."""
        return any(same(label, value) for label in self.labels)

    def candidates(self, found: Any) -> Iterator[Any]:
        """The labels that may have set ``found``: all of them where other dimensions may have changed it since."""
        yield from (label for label in self.labels if self.labelled or label == found)

    def probes(self) -> Iterator[tuple[str, Any]]:
        """Values worth trying in a recipe, with the key that gives them."""
        for index, label in enumerate(self.labels):
            yield (f"options.{label}" if self.labelled else f"values.{index}"), label

    def satisfying(self, *conditions: Condition) -> list[Any]:
        """The labels for which all conditions hold."""
        return [label for label in self.labels if all(condition.holds(label) for condition in conditions)]


@dataclass(frozen=True, kw_only=True)
class Fixed(_Dimension):
    """A value that is set and not drawn."""

    value: Any

    def setting(self, value: Any) -> Any:
        """What it sets in the recipe."""
        return value

    def candidates(self, found: Any) -> Iterator[Any]:
        """The value, whatever was found."""
        del found
        yield self.value

    def probes(self) -> Iterator[tuple[str, Any]]:
        """The value, with the key that gives it."""
        yield "value", self.value

    def satisfying(self, *conditions: Condition) -> list[Any]:
        """The value, if all conditions hold for it."""
        return [self.value] if all(condition.holds(self.value) for condition in conditions) else []


Dimension: TypeAlias = Number | Choice | Fixed


def same(one: Any, other: Any) -> bool:
    """Equality that keeps bools and numbers apart."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _around(operand: float, low: float, step: float | None) -> list[float]:
    """The points of a range next to ``operand``, on both sides of it."""
    if step is None:
        return [operand, math.nextafter(operand, -math.inf), math.nextafter(operand, math.inf)]
    nearest = math.floor((operand - low) / step)
    return [low + count * step for count in range(nearest - 1, nearest + 3)]
