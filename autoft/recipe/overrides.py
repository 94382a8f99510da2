"""Dotted overrides: the one way to change a recipe or a search configuration."""

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from autoft.errors import ConfigError, near
from autoft.recipe import yaml


def apply_overrides(plain: Mapping[str, Any], changes: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """A copy of ``plain`` in which each dotted path has its new value.

    Mappings are addressed by key, lists by the ``name`` of their entry or by index. Paths that replace a
    whole come before paths into it, whatever their order. A missing key of a mapping is created: whether it
    may exist is for the validation that follows.

    Raises:
        ConfigError: a path that leads through a scalar, or to an entry that a list does not have.
    """
    result: dict[str, Any] = copy.deepcopy(dict(plain))
    for path, value in sorted(changes.items(), key=lambda change: change[0].count(".")):
        _set(result, path, copy.deepcopy(value), where=where)
    return result


def look_up(plain: Mapping[str, Any], path: str, *, where: str) -> Any:
    """The value at a dotted path, or None where a mapping lacks a key.

    Raises:
        ConfigError: as `apply_overrides`.
    """
    current: Any = plain
    for part in path.split("."):
        if current is None:
            return None
        current = current.get(part) if isinstance(current, Mapping) else _entry(current, part, path, where)
    return current


def parse_assignment(text: str) -> tuple[str, Any]:
    """Read ``path=value`` as given to ``--set``; the value is YAML.

    Raises:
        ConfigError: no equals sign, an empty path, or a value that is not YAML.
    """
    path, equals, value = text.partition("=")
    if not equals or not path.strip() or any(not part for part in path.strip().split(".")):
        raise ConfigError(f"--set {text}: must be a dotted path, an equals sign and a value, as in search.seed=1")
    return path.strip(), yaml.loads(value, where=f"--set {path.strip()}")


def _set(target: dict[str, Any], path: str, value: Any, *, where: str) -> None:
    *parents, last = path.split(".")
    current: Any = target
    for part in parents:
        if isinstance(current, dict):
            if current.get(part) is None:
                current[part] = {}
            current = current[part]
        else:
            current = _entry(current, part, path, where)
    match current:
        case dict():
            current[last] = value
        case list():
            current[_index(current, last, path, where)] = value
        case _:
            raise ConfigError(f"{where}: {path}: leads through {current!r}, which has no parts")


def _entry(entries: Any, part: str, path: str, where: str) -> Any:
    if not isinstance(entries, list):
        raise ConfigError(f"{where}: {path}: leads through {entries!r}, which has no part {part!r}")
    return entries[_index(entries, part, path, where)]


def _index(entries: list[Any], part: str, path: str, where: str) -> int:
    names = list(_names(entries))
    if part in names:
        return names.index(part)
    if part.isdigit() and int(part) < len(entries):
        return int(part)
    known = ", ".join(name for name in names if name) or "none"
    raise ConfigError(f"{where}: {path}: there is no {part!r}{near(part, names)}; there are: {known}")


def _names(entries: Iterable[Any]) -> Iterable[str]:
    return (str(entry.get("name", "")) if isinstance(entry, Mapping) else "" for entry in entries)
