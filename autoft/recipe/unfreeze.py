"""What a stage unfreezes, as a sum type."""

import re
from dataclasses import dataclass
from typing import TypeAlias

from pydantic import StrictFloat, StrictInt, StrictStr

from autoft.errors import ConfigError

UnfreezeValue: TypeAlias = StrictInt | StrictFloat | StrictStr | tuple[StrictStr, ...]


@dataclass(frozen=True, slots=True)
class TopGroups:
    """The ``count`` backbone groups nearest to the head; 0 trains the head alone."""

    count: int


@dataclass(frozen=True, slots=True)
class CostFraction:
    """The top groups that make up about this share (0..1) of the backbone's forward cost."""

    fraction: float


@dataclass(frozen=True, slots=True)
class LastLayers:
    """The last ``count`` layers (modules that own parameters) before the head, rounded up to whole groups."""

    count: int


@dataclass(frozen=True, slots=True)
class Names:
    """The groups whose name, or one of whose parameters, matches a shell pattern."""

    patterns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Everything:
    """All groups."""


Unfreeze: TypeAlias = TopGroups | CostFraction | LastLayers | Names | Everything

_LAST = re.compile(r"last (\d+) layers?")
_FORMS = (
    "a number of top groups (3), a fraction of the cost (0.4), 'last 12 layers', a list of names or patterns, or 'all'"
)


def parse_unfreeze(value: UnfreezeValue) -> Unfreeze:
    """Read the ``unfreeze`` value of a stage.

    Raises:
        ConfigError: none of the forms fits.
    """
    match value:
        case bool():
            raise ConfigError(f"must be {_FORMS}")
        case int() if value >= 0:
            return TopGroups(value)
        case float() if 0.0 <= value <= 1.0:
            return CostFraction(value)
        case "all":
            return Everything()
        case str() if found := _LAST.fullmatch(value.strip()):
            return LastLayers(int(found[1]))
        case tuple() if value and all(value):
            return Names(value)
        case _:
            raise ConfigError(f"must be {_FORMS}")
