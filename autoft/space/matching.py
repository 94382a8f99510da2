"""Whether two recipes are the same, but for what is filled in later."""

from collections.abc import Mapping
from typing import Any

_IGNORED = {"seed", "provenance"}
_LEFT_OPEN = {"lr", "head_lr", "image_size"}
"""Filled in from the model's family when they are left out, so that absent equals anything."""


def matches(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two recipes, as `Recipe.full` gives them, train alike, the seed apart."""
    return all(_same(one.get(key), other.get(key)) for key in (one.keys() | other.keys()) - _IGNORED)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        keys = (one.keys() | other.keys()) - {key for key in _LEFT_OPEN if key not in one or key not in other}
        return all(_same(one.get(key), other.get(key)) for key in keys)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and bool(one == other)
