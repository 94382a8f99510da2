"""Layer groups: the parts of a model that are frozen and unfrozen as one, from input to head."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from autoft.errors import ModelError
from autoft.model.head import head_names
from autoft.model.sources import HEAD, Labels, from_patterns, from_timm, from_tree, inside


@dataclass(frozen=True, slots=True)
class LayerGroup:
    """Names of the parameters and buffers of one group, and of the modules that own them."""

    name: str
    parameters: tuple[str, ...]
    buffers: tuple[str, ...]
    modules: tuple[str, ...]

    @property
    def num_layers(self) -> int:
        """Modules that own parameters."""
        return len({owner(name) for name in self.parameters})


@dataclass(frozen=True, slots=True)
class Grouping:
    """Groups and where they come from."""

    groups: tuple[LayerGroup, ...]
    source: str
    """``timm``, ``patterns`` or ``module tree``."""
    head: tuple[str, ...]
    """The modules that make up the head."""


def owner(name: str) -> str:
    """The module that holds the parameter or buffer ``name``."""
    return name.rpartition(".")[0]


def layer_groups(model: nn.Module, patterns: Sequence[str] | None = None) -> tuple[LayerGroup, ...]:
    """The layer groups of any module, from input to head, the head last.

    They partition parameters and buffers; a shared parameter is in the earliest of its groups, under its name there.
    The groups are those of ``patterns`` if given, else those of the model's ``group_matcher`` (timm models), else
    the module tree: children, with containers of blocks opened into their blocks.

    Raises:
        ModelError: not a module, there is no head, or the patterns do not cover the model.
    """
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"model: must be an nn.Module, got {type(model).__name__}; for a timm model give timm.create_model(NAME)"
        )
    return find_groups(model, patterns).groups


def find_groups(model: nn.Module, patterns: Sequence[str] | None = None, order: Sequence[str] = ()) -> Grouping:
    """As `layer_groups`, with the call order of the modules where it is known."""
    head = head_names(model, order)
    aliases = _aliases(model)
    names = [name for same in aliases for name in same if not inside(name, head)]
    if patterns is not None:
        labels, source = from_patterns(names, patterns, _head_parameters(aliases, head)), "patterns"
    elif (found := from_timm(model, names)) is not None:
        labels, source = found, "timm"
    else:
        labels, source = from_tree(model, names, order), "module tree"
    _check_head(model, head, aliases, labels)
    return Grouping(_partition(model, labels, aliases, order or _registered(model)), source, head)


def _aliases(model: nn.Module) -> list[list[str]]:
    """The names of each parameter; more than one where it is shared."""
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return list(names.values())


def _registered(model: nn.Module) -> tuple[str, ...]:
    return tuple(name for name, _ in model.named_modules())


def _head_parameters(aliases: Iterable[Iterable[str]], head: Sequence[str]) -> list[str]:
    return [name for same in aliases for name in same if inside(name, head)]


def _check_head(model: nn.Module, head: Sequence[str], aliases: list[list[str]], labels: Labels) -> None:
    what = type(model).__qualname__
    if not head:
        raise ModelError(
            f"{what}: has no head: neither get_classifier() nor a linear layer that owns parameters; "
            "add a final nn.Linear or the methods get_classifier() and reset_classifier(num_outputs)"
        )
    if not any(all(name not in labels.of for name in same) for same in aliases):
        raise ModelError(
            f"{what}: the head {head[0]!r} shares all its parameters with earlier layers, so it cannot train alone; "
            "give it a head of its own"
        )


def _partition(
    model: nn.Module, labels: Labels, aliases: list[list[str]], order: Sequence[str]
) -> tuple[LayerGroup, ...]:
    last = len(labels.names)
    group_of: dict[str, int] = {}
    for same in aliases:
        name = min(same, key=lambda alias: labels.of.get(alias, last))
        group_of[name] = labels.of.get(name, last)
    used = sorted({*group_of.values(), last})
    rank = {label: index for index, label in enumerate(used)}
    parameters = {name: rank[label] for name, label in group_of.items()}
    homes = _homes(model, parameters, order, head=len(used) - 1)
    buffers = {name: min(homes[owner(name)]) for name in _buffers(model)}
    titles = [labels.names[label] if label < last else HEAD for label in used]
    return tuple(_group(title, index, parameters, buffers) for index, title in enumerate(titles))


def _group(title: str, index: int, parameters: Mapping[str, int], buffers: Mapping[str, int]) -> LayerGroup:
    mine = tuple(name for name, group in parameters.items() if group == index)
    kept = tuple(name for name, group in buffers.items() if group == index)
    return LayerGroup(title, mine, kept, tuple(dict.fromkeys(owner(name) for name in (*mine, *kept))))


def _buffers(model: nn.Module) -> list[str]:
    return [name for name, _ in model.named_buffers()]


def homes_of(model: nn.Module, groups: Sequence[LayerGroup], order: Sequence[str] = ()) -> dict[str, frozenset[int]]:
    """Indices of the groups that every module belongs to, whether it owns parameters or not.

    A module that owns parameters belongs to their groups, one around others to theirs. A module without parameters,
    such as dropout, belongs to the module around it; where that spans several groups, to the owner of parameters
    called before it, and a dropout right before the head to the head.

    Args:
        model: the root; its name is empty.
        groups: of this model.
        order: names of the modules in call order; default: as they were registered.
    """
    parameters = {name: index for index, group in enumerate(groups) for name in group.parameters}
    return _homes(model, parameters, order or _registered(model), head=len(groups) - 1)


def _homes(
    model: nn.Module, parameters: Mapping[str, int], order: Sequence[str], *, head: int
) -> dict[str, frozenset[int]]:
    group_of = {id(model.get_parameter(name)): group for name, group in parameters.items()}
    modules = dict(model.named_modules(remove_duplicate=False))
    direct: dict[str, frozenset[int]] = {}
    within: dict[str, set[int]] = {}
    for name, part in modules.items():
        direct[name] = frozenset(group_of[id(parameter)] for parameter in part.parameters(recurse=False))
        for ancestor in upwards(name):
            within.setdefault(ancestor, set()).update(direct[name])
    places = _places(modules, direct, order, head)
    return {name: direct[name] or frozenset(within[name]) or _around(name, within, places) for name in modules}


def upwards(name: str) -> Iterable[str]:
    """The module itself and all around it, the root (an empty name) last."""
    yield name
    while name:
        name = owner(name)
        yield name


def _around(name: str, within: Mapping[str, set[int]], place: Mapping[str, int]) -> frozenset[int]:
    for ancestor in upwards(name):
        groups = within[ancestor]
        if len(groups) == 1:
            return frozenset(groups)
        if groups:
            break
    return frozenset({place[name]})


def _places(
    modules: Mapping[str, nn.Module], direct: Mapping[str, frozenset[int]], order: Sequence[str], head: int
) -> dict[str, int]:
    """Group of the owner of parameters that comes before a module; the head for dropout right before the head."""
    called = list(dict.fromkeys((*order, *modules)))
    places: dict[str, int] = {}
    current = min((min(groups) for groups in direct.values() if groups), default=head)
    for name in called:
        if name and direct[name]:
            current = max(direct[name])
        places[name] = current
    following = head
    for name in reversed(order):
        if name and direct[name]:
            following = max(direct[name])
        elif following == head and is_dropout(modules[name]):
            places[name] = head
    return places


def is_dropout(part: nn.Module) -> bool:
    """Whether the module drops activations in train mode."""
    return isinstance(part, nn.modules.dropout._DropoutNd) or "Drop" in type(part).__name__
