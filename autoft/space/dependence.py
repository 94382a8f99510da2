"""Which dimension depends on which: conditions that make sense, an order to draw in, what can never be drawn."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from autoft.errors import ConfigError, near
from autoft.space.condition import Condition, is_number
from autoft.space.dimension import Choice, Dimension, Fixed, Number


def conditions_that_make_sense(dimensions: Mapping[str, Dimension], *, known: Collection[str], where: str) -> list[str]:
    """One line per condition that names an unknown dimension, or compares with what that one never is."""
    return [
        f"{where}.{dimension.name}.when.{name}: {reason}"
        for dimension in dimensions.values()
        for name, condition in dimension.when.items()
        if (reason := _nonsense(name, condition, dimensions, known))
    ]


def in_order(dimensions: Mapping[str, Dimension], *, where: str) -> list[Dimension]:
    """Each dimension after those its conditions name, otherwise in the order given.

    Raises:
        ConfigError: a circle of conditions.
    """
    ordered: dict[str, Dimension] = {}
    waiting = dict(dimensions)
    while waiting:
        ready = next((name for name, found in waiting.items() if not _open(found, waiting)), None)
        if ready is None:
            circle = " -> ".join(_circle(waiting))
            raise ConfigError(f"{where}: conditions go in a circle: {circle}; take one of these `when` out")
        ordered[ready] = waiting.pop(ready)
    return list(ordered.values())


def reachable(ordered: Sequence[Dimension]) -> list[Dimension]:
    """Without the dimensions whose conditions cannot hold for this model, and those that hang on them."""
    kept: dict[str, Dimension] = {}
    for dimension in ordered:
        if all(name in kept and kept[name].satisfying(found) for name, found in dimension.when.items()):
            kept[dimension.name] = dimension
    return list(kept.values())


def disjoint(one: Dimension, other: Dimension, dimensions: Mapping[str, Dimension]) -> bool:
    """Whether the conditions of two dimensions can never hold together."""
    shared = one.when.keys() & other.when.keys()
    return any(not dimensions[name].satisfying(one.when[name], other.when[name]) for name in shared)


def _nonsense(
    name: str, condition: Condition, dimensions: Mapping[str, Dimension], known: Collection[str]
) -> str | None:
    if name not in known:
        return f"there is no dimension {name!r}{near(name, known)}; there are: {', '.join(known)}"
    match dimensions.get(name):
        case Choice() as found if not condition.orders:
            if strange := [operand for operand in condition.operands if not found.contains(operand)]:
                labels = [str(label) for label in found.labels]
                hint = near(str(strange[0]), labels)
                return f"{name} is never {strange[0]!r}{hint}; it is one of: {', '.join(labels)}"
        case Choice(labels=labels) if not all(map(is_number, labels)):
            return f"{name} has no order, so {condition.sign} says nothing about it; use ==, != or in"
        case Number() if not all(map(is_number, condition.operands)):
            return f"{name} is a number, so it cannot be compared with {condition.operands[0]!r}"
    found_dimension = dimensions.get(name)
    if found_dimension is None or _of_model(found_dimension) or found_dimension.satisfying(condition):
        return None
    return f"can never hold: {_range(found_dimension)}"


def _of_model(dimension: Dimension) -> bool:
    return isinstance(dimension, Number) and dimension.of_model


def _range(dimension: Dimension) -> str:
    match dimension:
        case Number(name=name, distribution=found):
            return f"{name} goes from {found.low:g} to {found.high:g}"
        case Choice(name=name, labels=labels):
            return f"{name} is one of: {', '.join(map(str, labels))}"
        case Fixed(name=name, value=value):
            return f"{name} is always {value!r}"


def _open(dimension: Dimension, waiting: Mapping[str, Dimension]) -> bool:
    return any(name in waiting for name in dimension.when)


def _circle(waiting: Mapping[str, Dimension]) -> Iterator[str]:
    """Names along one circle; every dimension that waits hangs on another that waits."""
    seen: list[str] = []
    current = next(iter(waiting))
    while current not in seen:
        seen.append(current)
        current = next(name for name in waiting[current].when if name in waiting)
    yield from [*seen[seen.index(current) :], current]
