"""A model as a chain of segments, one per layer group: what runs before a boundary depends on nothing after it."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from timm.layers.adaptive_avgmax_pool import SelectAdaptivePool2d
from torch import Tensor, nn

from autoft.errors import ModelError
from autoft.model.groups import LayerGroup
from autoft.model.inputs import ModelInput, call
from autoft.model.sources import inside

_POOLS = (nn.modules.pooling._AdaptiveAvgPoolNd, nn.modules.pooling._AdaptiveMaxPoolNd, SelectAdaptivePool2d)
"""Modules without parameters that do the same in training and in evaluation, and make what comes in smaller."""

Run: TypeAlias = Callable[[Any], Any]


def unchanged(x: Any) -> Any:
    """A segment in which nothing happens: it gives what it got."""
    return x


@dataclass(frozen=True)
class Piece:
    """A step of a model's forward pass, and the modules and parameters it uses."""

    run: Run
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cut:
    """How a model falls into pieces that run one after the other."""

    kind: str
    """``cutter`` (written for this kind of model), ``sequential``, ``segments()``, ``traced``."""
    pieces: tuple[Piece, ...] = ()
    own: tuple[Run, ...] = ()
    """A model's own segments, one per group; then there are no pieces."""


class Chain:
    """Segments of a model, one per layer group; ``run(x, 0, len(chain))`` is bitwise what the module returns.

    A parameter is used in the segment of its group or in later ones, so that a frozen prefix of groups is a
    prefix of segments that training leaves alone. A model that cannot be cut is a chain of one segment.
    """

    def __init__(self, segments: Sequence[Sequence[Run]], kind: str, why_not: str | None = None) -> None:
        self.segments = tuple(tuple(segment) for segment in segments)
        self.kind = kind
        self.why_not = why_not
        """Why the model could not be cut; None if it was."""
        self.head_input: tuple[int, ...] | None = None
        """Shape of a row that enters the last segment, if that is one tensor; known once the chain is verified."""
        self.given_up: frozenset[int] = frozenset()
        """Boundaries that say too little: the segment before one of them is empty (`autoft.model.boundaries`)."""

    @classmethod
    def opaque(cls, module: nn.Module, why_not: str) -> "Chain":
        """A chain of one segment."""
        return cls([[lambda x: call(module, x)]], "opaque", why_not)

    def __len__(self) -> int:
        return len(self.segments)

    def run(self, x: Any, start: int, stop: int) -> Any:
        """Run segments ``start`` to ``stop - 1``.

        Args:
            x: the module's input (see `autoft.model.inputs.call`) if ``start`` is 0, else what ``run(x, 0, start)``
                gave.
            start: 0 to ``len(chain)``.
            stop: ``start`` to ``len(chain)``.
        """
        for segment in self.segments[start:stop]:
            for step in segment:
                x = step(x)
        return x

    def prefix_length(self, trained: Iterable[int]) -> int:
        """How many leading segments stay as they were, given the indices of all groups trained so far.

        Empty ones at their end do not count: there is nothing that they would give.
        """
        length = 0 if self.why_not is not None else min(trained, default=len(self))
        while length and not self.segments[length - 1]:
            length -= 1
        return length

    def without(self, boundaries: Collection[int]) -> "Chain":
        """The chain with the steps of the segments before these boundaries moved into the following ones."""
        segments = list(self.segments)
        for boundary in sorted(boundaries):
            segments[boundary] = (*segments[boundary - 1], *segments[boundary])
            segments[boundary - 1] = ()
        found = Chain(segments, self.kind)
        found.given_up = frozenset(boundaries)
        found.head_input = None if len(self) - 1 in boundaries else self.head_input
        return found


def assemble(cut: Cut, module: nn.Module, groups: Sequence[LayerGroup], homes: Mapping[str, frozenset[int]]) -> Chain:
    """Put the pieces into one segment per group.

    A piece goes into the segment of the latest group it touches, and no piece before the one it follows.

    Raises:
        ModelError: the pieces leave out a parameter, or there are not as many segments as groups.
    """
    if cut.own:
        if len(cut.own) != len(groups):
            raise ModelError(f"segments() must return one callable per group ({len(groups)}), got {len(cut.own)}")
        return Chain([[] if step is unchanged else [step] for step in cut.own], cut.kind)
    if hooked := _hooked_around(module, cut.pieces):
        raise ModelError(f"it has hooks that no step of its own runs, on {hooked}")
    unclaimed = [name for name, _ in module.named_parameters() if not _claimed(name, cut.pieces)]
    if unclaimed:
        raise ModelError(f"its forward pass has a part that the cut does not know: {unclaimed[0]}")
    of = {name: index for index, group in enumerate(groups) for name in (*group.parameters, *group.buffers)}
    segments: list[list[Run]] = [[] for _ in groups]
    modules, current = dict(module.named_modules()), 0
    for piece in cut.pieces:
        if not _only_pools(piece, modules):  # pooled features are the smallest that can lie between two segments
            current = max(current, _latest(piece, of, homes))
        segments[current].append(piece.run)
    return Chain(segments, cut.kind)


def _hooked_around(module: nn.Module, pieces: Sequence[Piece]) -> str:
    """A module with hooks that lies in no piece: pieces are run without what is around them."""
    names = [name for piece in pieces for name in piece.names]
    return next((name for name, part in module.named_modules() if has_hooks(part) and not inside(name, names)), "")


def has_hooks(part: nn.Module) -> bool:
    """Whether something is called whenever the module is, forwards or backwards."""
    kinds = part._forward_hooks, part._forward_pre_hooks, part._backward_hooks, part._backward_pre_hooks
    return any(kinds)


def _only_pools(piece: Piece, modules: Mapping[str, nn.Module]) -> bool:
    return bool(piece.names) and all(isinstance(modules.get(name), _POOLS) for name in piece.names)


def _claimed(name: str, pieces: Iterable[Piece]) -> bool:
    return any(inside(name, piece.names) for piece in pieces)


def _latest(piece: Piece, of: Mapping[str, int], homes: Mapping[str, frozenset[int]]) -> int:
    tensors = [index for name, index in of.items() if inside(name, piece.names)]
    modules = [max(groups) for name, groups in homes.items() if name and inside(name, piece.names)]
    return max([*tensors, *modules], default=0)


def verify(chain: Chain, module: nn.Module, x: ModelInput, expected: Tensor, groups: Sequence[LayerGroup]) -> None:
    """Check a chain on an example, in eval mode: same bits as the module, and no parameter used before its group
    (what `assemble` puts together from pieces keeps to that).

    Raises:
        ModelError: one of the two does not hold.
    """
    with torch.no_grad():
        entering = chain.run(x, 0, len(chain) - 1)
        chain.head_input = tuple(entering.shape[1:]) if isinstance(entering, Tensor) else None
        found = chain.run(entering, len(chain) - 1, len(chain))
    if not isinstance(found, Tensor) or found.shape != expected.shape or not torch.equal(found, expected):
        raise ModelError("run segment by segment it gives other values than as a whole")
    if chain.kind in {"segments()", "traced"}:
        with torch.enable_grad():
            _check_order(chain, module, x, groups)


def _check_order(chain: Chain, module: nn.Module, x: ModelInput, groups: Sequence[LayerGroup]) -> None:
    names = {id(module.get_parameter(name)): (index, name) for index, g in enumerate(groups) for name in g.parameters}
    value: Any = x
    for index in range(len(chain) - 1):
        value = chain.run(value, index, index + 1)
        if not isinstance(value, Tensor) and value is not x:
            raise ModelError(f"between {groups[index].name} and {groups[index + 1].name} flows more than one tensor")
        for leaf in _leaves(value):
            later, name = names.get(id(leaf), (0, ""))
            if later > index:
                raise ModelError(f"{name} of group {groups[later].name} is used in the segment of {groups[index].name}")


def _leaves(value: Any) -> Iterable[Tensor]:
    """The tensors that ``value`` was computed from and that require a gradient."""
    tensors = [value] if isinstance(value, Tensor) else list(value.values())
    waiting = [tensor.grad_fn for tensor in tensors if tensor.grad_fn is not None]
    seen: set[Any] = set()
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        if isinstance(leaf := getattr(node, "variable", None), Tensor):
            yield leaf
        waiting.extend(following for following, _ in node.next_functions if following is not None)
