"""Dotted paths of a search space: several at once, ``*`` for every stage, and what may be searched at all."""

from collections.abc import Iterator, Mapping
from typing import Any

from autoft.errors import near
from autoft.recipe import look_up

_ROOTS = ("model", "data", "stages", "optimisation")
_SEARCHABLE: Mapping[str, tuple[str, ...]] = {
    "model": ("drop_rate", "drop_path_rate"),
    "data": ("batch_size", "augment", "views", "class_weights", "sampler"),
}
_SETTLED: Mapping[str, tuple[str, ...]] = {
    "model": ("name", "weights", "groups"),
    "data": (
        "task",
        "image_size",
        "resize",
        "val_fraction",
        "test_fraction",
        "split_seed",
        "allow_corrupt_fraction",
    ),
}


def refusal(path: str) -> str | None:
    """Why a path cannot be searched, or None if it can (as far as one can tell without a recipe)."""
    root, *parts = path.split(".")
    if not all([root, *parts]):
        return f"must be names with dots between them, got {path!r}"
    if root in {"seed", "provenance", "schema_version"}:
        return f"{path!r} cannot be searched: trials would not be comparable"
    if root not in _ROOTS:
        return f"{path!r}: a recipe has no {root!r}{near(root, _ROOTS)}; there are: {', '.join(_ROOTS)}"
    return _refused_part(path, root, parts) if root in _SEARCHABLE else None


def expand(path: str, plain: Mapping[str, Any]) -> Iterator[str]:
    """The paths that ``path`` stands for in a recipe: ``stages.*.lr`` is that of every stage."""
    head, star, tail = path.partition(".*")
    if not star:
        yield path
        return
    entries = look_up(plain, head, where="space")
    for entry in entries if isinstance(entries, list) else ():
        yield from expand(f"{head}.{entry['name']}{tail}", plain)


def overlap(one: str, other: str) -> bool:
    """Whether two paths can stand for the same place."""
    pairs = list(zip(one.split("."), other.split("."), strict=False))
    return one.count(".") == other.count(".") and all(a == b or "*" in (a, b) for a, b in pairs)


def inside(path: str, whole: str) -> bool:
    """Whether ``path`` leads into what ``whole`` replaces."""
    parts, outer = path.split("."), whole.split(".")
    return len(parts) > len(outer) and all(a == b or "*" in (a, b) for a, b in zip(parts, outer, strict=False))


def _refused_part(path: str, root: str, parts: list[str]) -> str | None:
    known = _SEARCHABLE[root]
    if parts and parts[0] in known:
        return None
    if not parts or parts[0] in _SETTLED[root]:
        return f"{path!r} is the same for all trials of a search; of {root} one can search: {', '.join(known)}"
    return f"{path!r}: unknown key{near(parts[0], known)}; of {root} one can search: {', '.join(known)}"
