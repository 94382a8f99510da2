"""Truth values are no numbers, although Python takes them for 1 and 0."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, get_args, get_origin


def check_number(value: object, annotation: Any) -> None:
    """Refuse true and false, also within lists and mappings, where the annotation asks for numbers.

    Raises:
        ValueError: the rule.
    """
    if _holds_truth(value) and _asks_for_numbers(annotation):
        raise ValueError("must be a number, not true or false")


def _holds_truth(value: object) -> bool:
    match value:
        case bool():
            return True
        case list() | tuple():
            return any(_holds_truth(each) for each in value)
        case Mapping():
            return any(_holds_truth(each) for each in value.values())
    return False


def _asks_for_numbers(annotation: Any) -> bool:
    """Whether numbers may stand there, and nothing but numbers and given words."""
    leaves = _leaves(annotation)
    return bool(leaves & {int, float}) and leaves <= {int, float, type(None), Literal}


@cache
def _leaves(annotation: Any) -> frozenset[Any]:
    """The types that an annotation is made of."""
    if get_origin(annotation) is Literal:
        return frozenset({Literal})
    inner = [part for part in get_args(annotation) if part is not ...]
    if hasattr(annotation, "__metadata__"):
        inner = inner[:1]
    return frozenset().union(*(_leaves(part) for part in inner)) if inner else frozenset({annotation})
