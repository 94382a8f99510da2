"""A summary as text."""

import json
from collections.abc import Mapping
from typing import Any


def to_json(summary: Mapping[str, Any]) -> str:
    """One line of JSON without NaN."""
    return json.dumps(_finite(summary), allow_nan=False)


def _finite(value: Any) -> Any:
    match value:
        case float() if value != value or abs(value) == float("inf"):  # noqa: PLR0124
            return None
        case Mapping():
            return {key: _finite(part) for key, part in value.items()}
        case list() | tuple():
            return [_finite(part) for part in value]
        case _:
            return value
