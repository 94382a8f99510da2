"""What comes with autoft: search spaces (partial search.yaml files with a base plan and a space) and portfolios."""

from pathlib import Path
from typing import Any

from autoft.errors import ConfigError, UnknownNameError, near
from autoft.recipe import yaml
from autoft.record import Family
from autoft.space.portfolio import Entry, parse_portfolio

_INSTALLED = Path(__file__).parent / "shipped"
_CHECKOUT = Path(__file__).parents[2] / "search_spaces"


def names() -> tuple[str, ...]:
    """The names that `shipped` knows."""
    return tuple(sorted(path.stem for path in _folder().glob("*.yaml")))


def shipped(name: str) -> dict[str, Any]:
    """The sections ``stages`` and ``space`` (and others, where a space needs them) of a shipped space.

    Raises:
        UnknownNameError: no such space.
    """
    known = names()
    if name not in known:
        raise UnknownNameError(
            f"search space {name!r} is not known{near(name, known)}; "
            f"use one of: {', '.join(known)}, or the path of a .yaml file"
        )
    path = _folder() / f"{name}.yaml"
    sections = yaml.load(path)
    if not isinstance(sections, dict):
        raise ConfigError(f"{path}: must be a mapping of sections; install autoft again")
    return sections


def portfolio(family: Family) -> dict[str, Entry]:
    """The entries of a model family's portfolio, by name."""
    path = _folder() / "portfolios" / f"{family}.yaml"
    return parse_portfolio(yaml.load(path), where=str(path))


def _folder() -> Path:
    """Inside an installed wheel the spaces lie in the package, in a checkout at the top."""
    return _INSTALLED if _INSTALLED.is_dir() else _CHECKOUT
