"""The cost model: whether activations at a boundary are worth keeping, or better computed from the pixels each time."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from time import perf_counter

import numpy as np

from autoft.data import DataHandle
from autoft.data.items import Stored

_ENTRY_S = 0.05
"""Seconds that making an entry costs however small it is: folders, locks, manifest."""
_WRITES = 3
"""Every byte is written, read once for its checksum, and found again."""
_PROBED_ITEMS = 64
_ASSUMED_BYTES_PER_S = 1e9
"""Where no shard of pixels is there to measure on."""


class Verdict(Enum):
    """What becomes of a boundary."""

    REUSE = "reuse"
    COMPUTE = "compute"
    TOO_LARGE = "too large"


@dataclass(frozen=True, slots=True)
class Boundary:
    """What the model needs to know of one boundary."""

    index: int
    row_bytes: int
    row_s: float
    """Seconds of computing a row from the decoded item."""
    passes: float
    """How often the rows of all items will be asked for."""
    variants: int = 1
    """2 where mirrored items are kept too."""
    built: bool = False
    """Whether it lies on the disk already."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What reading costs here."""

    bytes_per_s: float
    item_s: float
    """Seconds of reading (or decoding) one item."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The decision on one boundary, and why."""

    verdict: Verdict
    reason: str
    saved_s: float
    """Predicted seconds that reuse saves over all passes, building included; below 0 where it costs."""
    nbytes: int


def choose(
    boundaries: Sequence[Boundary], machine: Machine, *, items: int, max_bytes: int, always: bool = False
) -> Mapping[int, Choice]:
    """Decide per boundary: what saves most per byte comes first, until the budget is spent.

    Args:
        boundaries: to choose from.
        machine: what reading costs.
        items: rows per pass.
        max_bytes: budget of all that is kept.
        always: keep whatever fits, worth it or not.
    """
    found = {each.index: _worth(each, machine, items) for each in boundaries}
    order = sorted(found, key=lambda index: (-found[index].saved_s / max(found[index].nbytes, 1), index))
    left = max_bytes
    for index in order:
        choice = found[index]
        if choice.saved_s <= 0 and not always:
            continue
        if choice.nbytes > left:
            told = (
                f"{choice.nbytes:,} bytes do not fit into what is left of the budget, {left:,} of {max_bytes:,} bytes"
            )
            found[index] = Choice(Verdict.TOO_LARGE, told, choice.saved_s, choice.nbytes)
            continue
        found[index] = Choice(Verdict.REUSE, choice.reason, choice.saved_s, choice.nbytes)
        left -= choice.nbytes
    return found


def _worth(boundary: Boundary, machine: Machine, items: int) -> Choice:
    nbytes = boundary.row_bytes * boundary.variants * items
    compute_s = boundary.row_s + machine.item_s
    read_s = boundary.row_bytes / machine.bytes_per_s
    making_s = 0.0
    if not boundary.built:
        row_s = compute_s + _WRITES * read_s
        making_s = boundary.variants * (_ENTRY_S + items * row_s)
    saved_s = boundary.passes * items * (compute_s - read_s) - making_s
    told = (
        f"reading a row takes {_time(read_s)}, computing it {_time(compute_s)}: "
        f"{saved_s:.1f} s saved over {boundary.passes:.1f} passes, {_time(making_s)} of building included"
    )
    return Choice(Verdict.REUSE if saved_s > 0 else Verdict.COMPUTE, told, saved_s, nbytes)


def building_seconds(boundaries: Sequence[Boundary], machine: Machine, *, items: int) -> float:
    """Predicted seconds of building the activations at these boundaries, all in one pass."""
    if not boundaries:
        return 0.0
    variants = max(each.variants for each in boundaries)
    compute_s = machine.item_s + variants * max(each.row_s for each in boundaries)
    written = sum(each.row_bytes * each.variants for each in boundaries)
    entries = sum(each.variants for each in boundaries)
    return entries * _ENTRY_S + items * (compute_s + _WRITES * written / machine.bytes_per_s)


def measure(data: DataHandle) -> Machine:
    """Read a few items twice and take the faster time."""
    chosen = np.linspace(0, len(data) - 1, min(_PROBED_ITEMS, len(data))).astype(np.int64)
    best, size = math.inf, 0
    for _ in range(2):
        started = perf_counter()
        fields = data.read(chosen)
        best = min(best, perf_counter() - started)
        size = sum(field.nbytes for field in fields.values())
    speed = size / max(best, 1e-9) if isinstance(data.items, Stored) else _ASSUMED_BYTES_PER_S
    return Machine(max(speed, 1.0), best / len(chosen))


def _time(seconds: float) -> str:
    return (
        f"{seconds:.2f} s"
        if seconds >= 1
        else f"{seconds * 1e3:.3g} ms"
        if seconds >= 1e-3
        else f"{seconds * 1e6:.3g} us"
    )
