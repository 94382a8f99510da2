"""Cutting a model by tracing its forward pass with torch.fx, with parts of one group as leaves."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import fx, nn

from autoft.errors import ModelError
from autoft.model.chain import Cut, unchanged
from autoft.model.groups import LayerGroup


class _Tracer(fx.Tracer):
    """Goes into a module only as far as it spans several groups."""

    def __init__(self, reach: Mapping[str, frozenset[int]]) -> None:
        super().__init__()
        self._reach = reach

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether the module is one step."""
        return len(self._reach[module_qualified_name]) < 2 or not any(True for _ in m.children())


def cut_traced(module: nn.Module, groups: Sequence[LayerGroup], homes: Mapping[str, frozenset[int]]) -> Cut | None:
    """Segments of one tensor each, found by tracing; a boundary that more than one value crosses is given up.

    Raises:
        ModelError: a segment by tracing would not follow the mode of the module, or no boundary is left.
        RuntimeError, TypeError, ...: what torch.fx cannot trace.
    """
    reach = _reach(module, groups, homes)
    graph = _Tracer(reach).trace(module)
    _check_modes(module, reach, graph)
    nodes = [node for node in graph.nodes if node.op not in {"placeholder", "output"}]
    inputs = [node for node in graph.nodes if node.op == "placeholder"]
    result = next(node for node in graph.nodes if node.op == "output").args[0]
    if len(inputs) != 1 or not isinstance(result, fx.Node):
        raise ModelError("forward() must take one value and return one tensor")
    ends, values = _boundaries(nodes, inputs[0], result, _ends(nodes, _touched(groups, reach), len(groups)))
    if not any(ends[:-1]):
        raise ModelError("between any two groups flows more than one tensor")
    starts, entries = [0, *ends[:-1]], [inputs[0], *values[:-1]]
    parts = zip(starts, ends, entries, values, strict=True)
    return Cut("traced", own=tuple(_part(module, nodes[start:end], entry, value) for start, end, entry, value in parts))


def _reach(
    module: nn.Module, groups: Sequence[LayerGroup], homes: Mapping[str, frozenset[int]]
) -> dict[str, frozenset[int]]:
    """The groups of all that is inside a module; its own where there is nothing to train inside."""
    group_of = {id(module.get_parameter(name)): index for index, g in enumerate(groups) for name in g.parameters}
    return {
        name: frozenset(group_of[id(parameter)] for parameter in part.parameters()) or homes[name]
        for name, part in module.named_modules(remove_duplicate=False)
    }


def _check_modes(module: nn.Module, reach: Mapping[str, frozenset[int]], graph: fx.Graph) -> None:
    """Traced in train mode, the code must be the same, or something follows the mode outside of a leaf."""
    containers = [part for name, part in module.named_modules() if not name or len(reach[name]) > 1]
    before = [part.training for part in containers]
    try:
        for part in containers:
            part.training = True
        training = _Tracer(reach).trace(module)
    finally:
        for part, mode in zip(containers, before, strict=True):
            part.training = mode
    if str(training) != str(graph):
        raise ModelError("its forward() does other things in train mode, outside of any part that could be a step")


def _touched(groups: Sequence[LayerGroup], reach: Mapping[str, frozenset[int]]) -> Callable[[fx.Node], int]:
    tensors = {name: index for index, group in enumerate(groups) for name in (*group.parameters, *group.buffers)}

    def touched(node: fx.Node) -> int:
        if node.op == "call_module":
            return max(reach[str(node.target)])
        return tensors.get(str(node.target), 0) if node.op == "get_attr" else 0

    return touched


def _ends(nodes: Sequence[fx.Node], touched: Callable[[fx.Node], int], count: int) -> list[int]:
    """For each group, how many steps have been done when the last one that touches it or an earlier group is done."""
    ends = [0] * count
    latest = 0
    for position, node in enumerate(nodes, start=1):
        latest = max(latest, touched(node))
        ends[latest] = position
    for index in range(1, count):
        ends[index] = max(ends[index], ends[index - 1])
    return [*ends[:-1], len(nodes)]


def _boundaries(
    nodes: Sequence[fx.Node], start: fx.Node, result: fx.Node, ends: Sequence[int]
) -> tuple[list[int], list[fx.Node]]:
    """Ends of the segments, and the one value that leaves each; where more would, the boundary before is repeated."""
    kept, values = [0], [start]
    for end in ends[:-1]:
        done = {start, *nodes[:end]}
        used = {source for node in nodes[end:] for source in node.all_input_nodes}
        crossing = [node for node in done if node in used or node is result]
        kept.append(end if len(crossing) == 1 else kept[-1])
        values.append(crossing[0] if len(crossing) == 1 else values[-1])
    return [*kept[1:], ends[-1]], [*values[1:], result]


def _part(module: nn.Module, nodes: Sequence[fx.Node], entry: fx.Node, end: fx.Node) -> Callable[[Any], Any]:
    """Runs these steps on the module's own parts."""
    if not nodes:
        return unchanged
    graph = fx.Graph()
    copied = {entry: graph.placeholder("x")}
    for node in nodes:
        copied[node] = graph.node_copy(node, copied.__getitem__)
    graph.output(copied[end])
    interpreter = fx.Interpreter(module, graph=graph)

    def run(x: Any) -> Any:
        return interpreter.run(x, enable_io_processing=False)

    return run
