"""Where layer groups come from: timm's matcher, a list of patterns, the module tree."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from timm.models._manipulate import group_with_matcher
from torch import nn

from autoft.errors import ModelError, near

HEAD = "head"
_UNMATCHED = "~"


@dataclass(frozen=True, slots=True)
class Labels:
    """A backbone group for every parameter name outside the head."""

    names: tuple[str, ...]
    """Names of the backbone groups, from input to head."""
    of: Mapping[str, int]
    """Parameter name to index into ``names``."""


def inside(name: str, modules: Iterable[str]) -> bool:
    """Whether a parameter or module lies within one of the modules."""
    return any(not module or name == module or name.startswith(f"{module}.") for module in modules)


def matches(name: str, pattern: str) -> bool:
    """Whether a shell pattern names the parameter, or a module around it."""
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")


def from_patterns(names: Sequence[str], patterns: Sequence[str], head: Sequence[str]) -> Labels:
    """One group per pattern, in their order; the first that fits takes a parameter.

    A pattern that matches parameters of the head only is passed over: the head is a group of its own.

    Raises:
        ModelError: a pattern matches nothing, or a parameter is matched by none.
    """
    first = {name: next((index for index, p in enumerate(patterns) if matches(name, p)), None) for name in names}
    if missed := [name for name, index in first.items() if index is None]:
        shown = ", ".join(missed[:5]) + (f" and {len(missed) - 5} more" if len(missed) > 5 else "")
        raise ModelError(f"model.groups: every parameter must match a pattern, but none matches {shown}; add one")
    taken = {index for index in first.values() if index is not None}
    for index, pattern in enumerate(patterns):
        if index not in taken and not any(matches(name, pattern) for name in head):
            covered = any(matches(name, pattern) for name in names)
            rule = "matches only what patterns before it match" if covered else "matches no parameter"
            raise ModelError(f"model.groups: {pattern!r} {rule}{near(pattern, names)}; remove or change it")
    rank = {index: position for position, index in enumerate(sorted(taken))}
    titles = tuple(patterns[index].removesuffix(".*") for index in sorted(taken))
    return Labels(titles, {name: rank[index] for name, index in first.items() if index is not None})


def from_timm(model: nn.Module, names: Sequence[str]) -> Labels | None:
    """The groups of ``group_matcher(coarse=True)``; what it leaves over joins the top backbone group.

    Returns:
        None where the model has no such method.
    """
    if not callable(matcher_of := getattr(model, "group_matcher", None)):
        return None
    matcher = matcher_of(coarse=True)
    asked = [*names, _UNMATCHED] if isinstance(matcher, dict) else list(names)
    found: dict[str, int] = group_with_matcher(((name, None) for name in asked), matcher, reverse=True)
    left_over = found.pop(_UNMATCHED, None)
    matched = sorted({label for label in found.values() if label != left_over}) or [0]
    rank = {label: index for index, label in enumerate(matched)}
    of = {name: rank.get(label, len(matched) - 1) for name, label in found.items()}
    titles = [_title(matcher, [name for name in names if found[name] == label]) for label in matched]
    return Labels(_distinct(titles), of)


def _title(matcher: Any, names: Sequence[str]) -> str:
    """What a numbered expression matched (``blocks.3``), else the matcher's own word for it (``stem``)."""
    if not names:
        return "backbone"
    for key, spec in matcher.items() if isinstance(matcher, dict) else ():
        for expression in [spec] if isinstance(spec, str) else [part[0] for part in spec or ()]:
            if found := re.match(expression, names[0]):
                return found[0].rstrip("._") if found.groups() else str(key)
    return _common(names) or names[0].rpartition(".")[0] or names[0]


def _common(names: Sequence[str]) -> str:
    """The innermost module around all of the parameters."""
    split = [name.split(".")[:-1] for name in names]
    shared = []
    for parts in zip(*split, strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return ".".join(shared)


def _distinct(titles: Sequence[str]) -> tuple[str, ...]:
    seen: dict[str, int] = {HEAD: 1}
    result = []
    for title in titles:
        seen[title] = seen.get(title, 0) + 1
        result.append(title if seen[title] == 1 else f"{title}~{seen[title]}")
    return tuple(result)


def from_tree(model: nn.Module, names: Sequence[str], order: Sequence[str]) -> Labels:
    """The children of the model, containers of blocks opened into their blocks, in call order where it is known.

    A parameter that an opened module owns itself joins the earliest group inside that module.
    """
    called = {name: position for position, name in enumerate(order)}
    units = list(_units(model, ""))
    owned = {unit: [name for name in names if inside(name, [unit])] for unit in units}
    units = [unit for unit in units if owned[unit]]
    start = {unit: min((called[name] for name in called if inside(name, [unit])), default=None) for unit in units}
    if called:
        units = _by_call(units, start)
    of: dict[str, int] = {}
    for index, unit in enumerate(units):
        of.update({name: of.get(name, index) for name in owned[unit]})
    for name in names:
        if name not in of:
            holder = name.rpartition(".")[0]
            of[name] = next((index for index, unit in enumerate(units) if inside(unit, [holder])), 0)
    return Labels(_distinct(units or ["backbone"]), of)


def _by_call(units: Sequence[str], start: Mapping[str, int | None]) -> list[str]:
    """Sorted by first call; a unit that is never called stays behind the one before it."""
    keys: dict[str, int] = {}
    last = -1
    for unit in units:
        position = start[unit]
        last = last if position is None else position
        keys[unit] = last
    return sorted(units, key=lambda unit: keys[unit])


def _units(module: nn.Module, name: str) -> Iterable[str]:
    for child_name, child in module.named_children():
        path = f"{name}.{child_name}" if name else child_name
        if _opens(child) or _is_list(child) or (not name and _only_owner(module, child)):
            yield from _units(child, path)
        else:
            yield path


def _opens(module: nn.Module) -> bool:
    """Whether a module is a container of blocks, or holds one that has most of its parameters."""
    if _holds_blocks(module):
        return True
    total = _size(module)
    return any(_opens(child) and 2 * _size(child) > total for child in module.children())


def _holds_blocks(module: nn.Module) -> bool:
    if not isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict):
        return False
    return sum(bool(_size(child)) and any(True for _ in child.children()) for child in module.children()) > 1


def _is_list(module: nn.Module) -> bool:
    return isinstance(module, nn.ModuleList | nn.ModuleDict) and sum(bool(_size(c)) for c in module.children()) > 1


def _only_owner(module: nn.Module, child: nn.Module) -> bool:
    """Whether a child holds all parameters of a wrapper."""
    return bool(_size(child)) and _size(child) == _size(module) and any(True for _ in child.children())


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
