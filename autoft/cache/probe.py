"""Probing a prefix: what its activations look like, what a row costs, and whether a row depends on its sample alone."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from autoft.model import MICRO_BATCH, LoadedModel, Manner, halved, micro_batches, model_input, set_eval, tensor_digest
from autoft.shards import Field

_LAST = {4: (0, 2, 3, 1), 5: (0, 2, 3, 4, 1)}
_FIRST = {4: (0, 3, 1, 2), 5: (0, 4, 1, 2, 3)}
_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}
_COMPANIONS = 4
"""Items that a micro-batch is filled with to see whether a row depends on the others."""
_AS_BITS = {torch.bfloat16: torch.int16}
"""Types that numpy does not have, and what their bits are kept as."""


@dataclass(frozen=True, slots=True)
class Form:
    """Shape, type and memory layout of activations at a boundary: rows read back have all three, stride for stride."""

    shape: tuple[int, ...]
    """Of one row."""
    dtype: torch.dtype
    channels_last: bool
    half: bool = False
    """Kept as float16, which the tail gets in ``dtype`` again."""

    @classmethod
    def of(cls, rows: Tensor, *, half: bool = False) -> "Form | None":
        """The form of a batch; None if it cannot be kept."""
        plain = torch.empty(rows.shape, device="meta").stride()
        if not _can_be_kept(rows) or not (rows.stride() == plain or _is_channels_last(rows)):
            return None
        return cls(tuple(rows.shape[1:]), rows.dtype, rows.stride() != plain, half and rows.dtype.itemsize > 2)

    @property
    def field(self) -> Field:
        """As the shards keep a row."""
        shape = (*self.shape[1:], self.shape[0]) if self.channels_last else self.shape
        return Field(shape, str(_AS_BITS.get(self.kept, self.kept)).removeprefix("torch."))

    @property
    def kept(self) -> torch.dtype:
        """Type in the shards."""
        return torch.float16 if self.half else self.dtype

    def pack(self, rows: Tensor) -> NDArray[Any]:
        """A batch as the shards keep it."""
        plain = halved(rows.detach()) if self.half else rows.detach()
        plain = plain.permute(_LAST[rows.dim()]) if self.channels_last else plain
        return plain.contiguous().cpu().view(_AS_BITS.get(self.kept, self.kept)).numpy()

    def unpack(self, kept: Tensor) -> Tensor:
        """The inverse of `pack`, on any device; where nothing was rounded the tensor shares the memory."""
        rows = kept.view(self.kept).to(self.dtype)
        return rows.permute(_FIRST[rows.dim()]) if self.channels_last else rows


@dataclass(frozen=True, slots=True)
class Probe:
    """What one micro-batch told of a boundary."""

    form: Form
    digest: str
    """Of the activations' bits: it differs wherever code, weights or machine make a difference."""
    row_s: float
    """Seconds of computing per row, from the input to here."""


def probe(
    loaded: LoadedModel, inputs: Mapping[str, Tensor], boundaries: Iterable[int], manner: Manner
) -> dict[int, Probe]:
    """Run the prefixes on a micro-batch, and once more with other companions and places for each row.

    Left out are boundaries at which anything but one tensor arrives, and those where a row depends on more than its
    sample: noise, statistics of the batch, earlier batches. The model is in eval mode afterwards.

    Args:
        loaded: the model; its weights up to the largest boundary are the base's.
        inputs: of a few items, on the model's device.
        boundaries: each at least 1.
        manner: how the model is run; it and the inputs are in its layout.
    """
    set_eval(loaded)
    size = min(MICRO_BATCH, len(next(iter(inputs.values()))))
    _, first = next(micro_batches({name: field[:size] for name, field in inputs.items()}, size))
    # Few of them, in many places: what hangs on the largest of a batch, say, is then another, unless it is among them.
    order = torch.arange(1, MICRO_BATCH + 1) % _COMPANIONS * (MICRO_BATCH // _COMPANIONS)
    other = {name: field[order.to(field.device)] for name, field in first.items()}
    expected = {boundary: (rows, row_s) for boundary, rows, row_s in _timed(loaded, first, boundaries, manner)}
    probes: dict[int, Probe] = {}
    for boundary, rows, row_s in _timed(loaded, other, boundaries, manner):
        before, before_s = expected[boundary]
        form = Form.of(before, half=manner.half)
        if form and _same(rows, before[order.to(before.device)]):
            probes[boundary] = Probe(form, tensor_digest(before), min(row_s, before_s))
    return probes


def walk(
    loaded: LoadedModel, part: Mapping[str, Tensor], boundaries: Iterable[int], manner: Manner
) -> Iterator[tuple[int, Any]]:
    """The activations of one micro-batch at each boundary in turn, from one pass.

    What comes after may change them in place: use them before going on.
    """
    device = next(iter(part.values())).device
    value: Any = model_input(part)
    at = 0
    with torch.no_grad(), manner.precision(device):
        for boundary in sorted(set(boundaries)):
            value, at = loaded.chain.run(value, at, boundary), boundary
            yield boundary, value


def _timed(
    loaded: LoadedModel, part: Mapping[str, Tensor], boundaries: Iterable[int], manner: Manner
) -> Iterator[tuple[int, Tensor, float]]:
    started, spent = perf_counter(), 0.0
    for boundary, value in walk(loaded, part, boundaries, manner):
        if not isinstance(value, Tensor) or len(value) != MICRO_BATCH:
            return
        rows = torch.cat([value])  # as `in_micro_batches` gives it, memory layout included
        if rows.device.type == "cuda":
            torch.cuda.synchronize(rows.device)
        spent += perf_counter() - started
        yield boundary, rows, spent / MICRO_BATCH
        started = perf_counter()


def _can_be_kept(rows: Tensor) -> bool:
    known = rows.dtype in _AS_BITS or (rows.dtype.is_floating_point and rows.dtype.itemsize > 1)
    return known and rows.layout is torch.strided


def _is_channels_last(rows: Tensor) -> bool:
    # By strides: where height and width are 1 both layouts are contiguous, but kernels tell them apart.
    if rows.dim() not in _FORMATS:
        return False
    return rows.stride() == torch.empty(rows.shape, device="meta", memory_format=_FORMATS[rows.dim()]).stride()


def _same(rows: Tensor, others: Tensor) -> bool:
    return rows.shape == others.shape and tensor_digest(rows) == tensor_digest(others)
