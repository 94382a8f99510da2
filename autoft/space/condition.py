"""Conditions: what ``when`` says of another dimension's value, parsed and never evaluated as code."""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from autoft.errors import ConfigError
from autoft.recipe import yaml

_ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_COMPARISON = re.compile(r"(?P<sign>>=|<=|==|!=|>|<)\s*(?P<operand>[^<>=!].*)|in\s*(?P<list>\[.*\])", re.DOTALL)
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_RULE = "must be a comparison such as '>= 2', '== sgd' or 'in [two, three]'"


@dataclass(frozen=True, slots=True)
class Condition:
    """A comparison of a dimension's value with one operand, or (``in``) with several."""

    sign: str
    operands: tuple[Any, ...]

    @property
    def orders(self) -> bool:
        """Whether it compares by size, so that only numbers will do."""
        return self.sign in _ORDERS

    def holds(self, value: Any) -> bool:
        """Whether ``value`` satisfies it; a number never equals a bool."""
        if self.orders:
            return is_number(value) and _ORDERS[self.sign](value, self.operands[0])
        found = any(
            value == operand and isinstance(value, bool) == isinstance(operand, bool) for operand in self.operands
        )
        return found != (self.sign == "!=")


def parse_condition(raw: Any) -> Condition:
    """Read ``">= 2"``, ``"!= sgd"``, ``"in [a, b]"``, or a plain value, which stands for equality.

    Raises:
        ConfigError: anything else.
    """
    if isinstance(raw, bool | int | float):
        return Condition("==", (raw,))
    if not isinstance(raw, str):
        raise ConfigError(_RULE)
    text = raw.strip()
    found = _COMPARISON.fullmatch(text)
    if found is None:
        if _WORD.fullmatch(text) and text != "in":
            return Condition("==", (text,))
        raise ConfigError(_RULE)
    operands = _operands(found["list"] or f"[{found['operand']}]")
    sign = found["sign"] or "in"
    if not operands or (sign != "in" and len(operands) != 1):
        raise ConfigError(_RULE)
    if sign in _ORDERS and not is_number(operands[0]):
        raise ConfigError(f"{sign} compares with a number")
    return Condition(sign, operands)


def is_number(value: Any) -> bool:
    """Whether ``value`` is an int or a float; a bool is not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _operands(text: str) -> tuple[Any, ...]:
    try:
        values = yaml.loads(text)
    except ConfigError:
        raise ConfigError(_RULE) from None
    if not isinstance(values, list) or any(isinstance(value, list | dict) for value in values):
        raise ConfigError(_RULE)
    return tuple(values)
