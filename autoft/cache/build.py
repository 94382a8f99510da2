"""Building activations: one pass over the items for all boundaries that are missing, by one process per entry."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from time import perf_counter
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from autoft.cache.probe import Form, walk
from autoft.cache.rows import FIELD
from autoft.data import DataHandle
from autoft.data.feed import read_ahead
from autoft.data.inputs import as_inputs
from autoft.data.metrics import Array
from autoft.data.variants import Variant
from autoft.model import MICRO_BATCH, LoadedModel, Manner, make_ready, micro_batches, set_eval
from autoft.shards import Shards, ShardStore, Writer

_Rows: TypeAlias = tuple[Writer, slice, dict[str, Array]]
"""Of some items: what goes where in whose file."""


class BuildStoppedError(Exception):
    """There was no time left to finish; nothing was kept."""


class UnevenRowsError(Exception):
    """Rows of a boundary are not all of one shape and type; nothing was kept."""

    def __init__(self, boundary: int) -> None:
        super().__init__("not all items give rows of one shape and type there")
        self.boundary = boundary


@dataclass(frozen=True, slots=True)
class Entry:
    """What one key holds."""

    key: str
    boundary: int
    variant: Variant
    form: Form

    def nbytes(self, items: int) -> int:
        """Bytes of all rows."""
        return self.form.field.row_bytes * items


@dataclass
class Builder:
    """Makes entries of one model and one data set."""

    loaded: LoadedModel
    data: DataHandle
    device: torch.device
    manner: Manner
    should_stop: Callable[[], bool]
    patience_s: float
    """That another process is waited for which builds an entry."""
    hands: int = 1
    """Threads that compute, each with a copy of the model: on a CPU, of whose cores nobody else has need meanwhile."""
    seconds: float = 0.0
    """That building has taken; waiting for others is not counted."""
    _waits_since: float | None = None

    def obtain(self, store: ShardStore, entries: Sequence[Entry]) -> dict[str, Shards]:
        """Open the entries, in one pass those that nobody has built; the locks of all are held meanwhile.

        Raises:
            StorageError: they do not fit, or the disk refuses; nothing is left behind.
            UnevenRowsError: an entry cannot be made; nothing is left behind.
            ShardsBusyError: another process builds one of them, and takes longer than is worth waiting for.
            BuildStoppedError: ``should_stop`` said so, while building or waiting.
        """
        # Everybody takes the locks in the same order, so nobody waits in a circle.
        return self._next(store, sorted(entries, key=lambda entry: entry.key), {}, {})

    def _next(
        self, store: ShardStore, waiting: Sequence[Entry], found: dict[str, Shards], writers: dict[Entry, Writer]
    ) -> dict[str, Shards]:
        if not waiting:
            if writers:
                self._fill(writers)
            return found
        first, *others = waiting
        inner: dict[str, Shards] | None = None

        def build(writer: Writer) -> None:
            nonlocal inner
            inner = self._next(store, others, found, {**writers, first: writer})

        shards = store.get_or_build(
            first.key, {FIELD: first.form.field}, len(self.data), build, may_wait=self._may_wait
        )
        if inner is None:
            inner = self._next(store, others, found, writers)
        return {**inner, first.key: shards}

    def _may_wait(self) -> bool:
        if self.should_stop():
            raise BuildStoppedError
        self._waits_since = self._waits_since or perf_counter()
        return perf_counter() - self._waits_since < self.patience_s

    def _fill(self, writers: Mapping[Entry, Writer]) -> None:
        started = perf_counter()
        parts = np.split(np.arange(len(self.data)), range(MICRO_BATCH, len(self.data), MICRO_BATCH))
        of: dict[Variant, dict[int, tuple[Entry, Writer]]] = {}
        for entry, writer in writers.items():
            of.setdefault(entry.variant, {})[entry.boundary] = entry, writer
        models = self._models(min(self.hands, len(parts)))

        def read(part: Array) -> tuple[Array, dict[Variant, dict[str, Tensor]]]:
            fields = self.data.read(part)
            return part, {variant: variant.of(fields, part) for variant in of}

        def compute(entering: tuple[Array, dict[Variant, dict[str, Tensor]]]) -> list[_Rows]:
            part, looks = entering
            loaded = models.get()
            try:
                return [
                    each for variant, fields in looks.items() for each in self._rows(loaded, of[variant], part, fields)
                ]
            finally:
                models.put(loaded)

        for found in read_ahead(read_ahead(parts, read), compute, hands=self.hands):
            for writer, place, rows in found:
                if self.should_stop():
                    raise BuildStoppedError
                writer.put(place, rows)
        self.seconds += perf_counter() - started

    def _models(self, count: int) -> SimpleQueue[LoadedModel]:
        """The model, and copies of it: what a module keeps between its layers is not for two threads."""
        found: SimpleQueue[LoadedModel] = SimpleQueue()
        for number in range(count):
            loaded = self.loaded.reset() if number else self.loaded
            make_ready(loaded.module, self.device, channels_last=self.manner.channels_last)
            set_eval(loaded)
            found.put(loaded)
        return found

    def _rows(
        self,
        loaded: LoadedModel,
        wanted: Mapping[int, tuple[Entry, Writer]],
        indices: Array,
        fields: Mapping[str, Tensor],
    ) -> Iterator[_Rows]:
        moved = {name: field.to(self.device) for name, field in fields.items()}
        inputs = as_inputs(moved, self.data, loaded.card, channels_last=self.manner.channels_last)
        for _, part in micro_batches(inputs, len(indices)):
            for boundary, rows in walk(loaded, part, wanted, self.manner):
                entry, writer = wanted[boundary]
                kept = torch.cat([rows[: len(indices)]])
                if (tuple(kept.shape[1:]), kept.dtype) != (entry.form.shape, entry.form.dtype):
                    raise UnevenRowsError(boundary)
                yield writer, slice(int(indices[0]), int(indices[-1]) + 1), {FIELD: entry.form.pack(kept)}
