"""Where Ray keeps its sockets: below a folder whose path must be short."""

import os
from collections.abc import Mapping

from autoft.errors import ConfigError

_VARIABLES = "RAY_TMPDIR", "TMPDIR"
"""Where Ray looks for the folder; without them it takes /tmp."""
_BELOW = "/ray/session_2026-01-31_23-59-59_123456_4194304/sockets/plasma_store"
_LONGEST = 107 - len(_BELOW)
"""The path of a socket may have 107 bytes."""


def check_sockets_fit(environment: Mapping[str, str] = os.environ) -> None:
    """Refuse a temporary folder in which Ray cannot start.

    Raises:
        ConfigError: its path is too long.
    """
    name = next((name for name in _VARIABLES if name in environment), None)
    if name and len(os.fsencode(environment[name])) > _LONGEST:
        raise ConfigError(
            f"{name}: Ray keeps its sockets below this folder, so its path may have {_LONGEST} bytes at most, got "
            f"{environment[name]!r}; set RAY_TMPDIR to a shorter one, for example /tmp"
        )
