"""Cutting a model into segments, and checking the cut."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from torch import Tensor, nn

from autoft.errors import AutoftError
from autoft.model.boundaries import only_sound
from autoft.model.chain import Chain, Cut, assemble, has_hooks, verify
from autoft.model.cutters import cut_known
from autoft.model.groups import LayerGroup
from autoft.model.inputs import ModelInput
from autoft.model.traced import cut_traced

_REFUSALS = (AutoftError, RuntimeError, TypeError, ValueError, AttributeError, LookupError, AssertionError)
"""What a forward pass that is run in pieces may raise."""


def cut_model(
    module: nn.Module,
    groups: Sequence[LayerGroup],
    homes: Mapping[str, frozenset[int]],
    x: ModelInput | None,
    expected: Tensor | None,
    *,
    known: bool = False,
) -> Chain:
    """Cut a model in eval mode; the first way that passes the checks wins, else it stays in one piece.

    Args:
        module: the model.
        groups: one segment is made for each.
        homes: the groups of every module.
        x: an example to check the cut on.
        expected: what the model makes of it.
        known: whether it is one of timm's as it is, whose boundaries need no check where a cutter knows them.
    """
    if x is None or expected is None:
        return Chain.opaque(module, "without an example input a cut cannot be checked")
    if has_hooks(module):
        return Chain.opaque(module, "it has hooks of its own, which run with the model as a whole")
    reasons = []
    for kind, way in _ways(module, groups, homes):
        try:
            if (cut := way()) is not None:
                chain = assemble(cut, module, groups, homes)
                verify(chain, module, x, expected, groups)
                return chain if known and chain.kind == "cutter" else only_sound(chain, x)
        except _REFUSALS as error:
            reasons.append(f"{kind}: {' '.join(str(error).split()) or type(error).__name__}")
    return Chain.opaque(module, "; ".join(reasons) or "nothing is known of how it runs")


def recut(chain: Chain, module: nn.Module, groups: Sequence[LayerGroup], homes: Mapping[str, frozenset[int]]) -> Chain:
    """Cut a copy of a model, which may have other drop rates, in the way that was found and checked before."""
    if chain.why_not is not None:
        return Chain.opaque(module, chain.why_not)
    try:
        cut = cut_traced(module, groups, homes) if chain.kind == "traced" else cut_known(module)
    except _REFUSALS as error:
        return Chain.opaque(module, f"{chain.kind}: {' '.join(str(error).split())}")
    if cut is None:
        return Chain.opaque(module, "it cannot be cut again")
    again = assemble(cut, module, groups, homes).without(chain.given_up)
    again.head_input = chain.head_input
    return again


def _ways(
    module: nn.Module, groups: Sequence[LayerGroup], homes: Mapping[str, frozenset[int]]
) -> Iterator[tuple[str, Callable[[], Cut | None]]]:
    yield "as written", lambda: cut_known(module)
    yield "traced", lambda: cut_traced(module, groups, homes)
