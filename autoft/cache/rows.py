"""Where the rows of an entry lie while they are read: in memory, memory-mapped, or on the GPU."""

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autoft.data.metrics import Array
from autoft.shards import Shards

FIELD = "rows"
DEVICE_SHARE = 0.25
"""Of the free memory of a GPU: rows may take so much of it, all entries together."""
_CHUNK_ROWS = 256


class Rows(Protocol):
    """A row per item, as the shards keep it. Nobody evicts the shards while this lives."""

    memory_bytes: int
    """Of its own that it takes where rows are taken to."""

    @property
    def device(self) -> torch.device:
        """Where rows are taken to."""
        ...

    def empty(self, count: int) -> Tensor:
        """A batch (count, ...) to put rows into."""
        ...

    def put(self, out: Tensor, places: Array, items: Array) -> None:
        """Copy the rows of ``items`` (n,) to ``places`` (n,) of a batch."""
        ...

    def take(self, items: Array) -> Tensor:
        """A batch (n, ...) of the rows of ``items`` (n,)."""
        ...


class HostRows:
    """Rows on the CPU.

    Args:
        shards: of one field, `FIELD`.
        whole: read all of it into memory; else it is memory-mapped and costs the process no private memory.
        pinned: batches lie in page-locked memory, from which a GPU copies them while the CPU goes on.
    """

    device = torch.device("cpu")

    def __init__(self, shards: Shards, *, whole: bool, pinned: bool = False) -> None:
        self._shards = shards
        self._pinned = pinned
        self.memory_bytes = shards.nbytes if whole else 0
        self._rows: NDArray[Any] = np.array(shards.fields[FIELD]) if whole else shards.fields[FIELD]

    def empty(self, count: int) -> Tensor:
        """A batch on the CPU."""
        return torch.empty((count, *self._rows.shape[1:]), dtype=_type(self._rows), pin_memory=self._pinned)

    def put(self, out: Tensor, places: Array, items: Array) -> None:
        """Copy rows."""
        out.numpy()[places] = self._rows[items]

    def take(self, items: Array) -> Tensor:
        """Copy rows, in one go."""
        if not self._pinned:
            return torch.from_numpy(np.take(self._rows, items, axis=0))
        out = self.empty(len(items))
        np.take(self._rows, items, axis=0, out=out.numpy(), mode="clip")  # "raise" would copy twice
        return out


class DeviceRows:
    """All rows in one tensor on a device: no batch is copied there."""

    def __init__(self, shards: Shards, device: torch.device) -> None:
        self._shards = shards
        self.device, self.memory_bytes = device, shards.nbytes
        rows = shards.fields[FIELD]
        self._rows = torch.empty(rows.shape, dtype=_type(rows), device=device)
        for start in range(0, len(rows), _CHUNK_ROWS):
            part = torch.from_numpy(np.array(rows[start : start + _CHUNK_ROWS]))
            self._rows[start : start + len(part)] = part.to(device)

    def empty(self, count: int) -> Tensor:
        """A batch on the device."""
        return self._rows.new_empty((count, *self._rows.shape[1:]))

    def put(self, out: Tensor, places: Array, items: Array) -> None:
        """Copy rows."""
        out[torch.from_numpy(places).to(out.device)] = self.take(items).to(out.device)

    def take(self, items: Array) -> Tensor:
        """Gather rows."""
        return self._rows.index_select(0, torch.from_numpy(np.ascontiguousarray(items)).to(self.device))


def free_bytes(device: torch.device) -> int:
    """Free memory of a GPU; 0 for the CPU, whose memory maps need none."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0


def stays_on_device(nbytes: int, *, free: int, taken: int, share: float = DEVICE_SHARE) -> bool:
    """Whether rows are kept on the device: with those kept already they take at most a share of what is free.

    Args:
        nbytes: of the rows.
        free: bytes that are free on the device now.
        taken: bytes of the rows that are kept there already.
        share: of what was free before any rows were kept.
    """
    return taken + nbytes <= share * (free + taken)


def _type(rows: NDArray[Any]) -> torch.dtype:
    found = getattr(torch, rows.dtype.name)
    assert isinstance(found, torch.dtype)
    return found
