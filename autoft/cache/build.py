"""Building activations: one pass over the items for all boundaries that are missing, by one process per entry."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

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
from autoft.model import MICRO_BATCH, LoadedModel, Manner, micro_batches, set_eval
from autoft.shards import Shards, ShardStore, Writer


class BuildStoppedError(Exception):
    """There was no time left to finish; nothing was kept."""


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
    seconds: float = 0.0
    """That building has taken; waiting for others is not counted."""
    _waits_since: float | None = None

    def obtain(self, store: ShardStore, entries: Sequence[Entry]) -> dict[str, Shards]:
        """Open the entries, in one pass those that nobody has built; the locks of all are held meanwhile.

        Raises:
            StorageError: they do not fit, or the disk refuses; nothing is left behind.
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
        set_eval(self.loaded)
        parts = np.split(np.arange(len(self.data)), range(MICRO_BATCH, len(self.data), MICRO_BATCH))
        of: dict[Variant, dict[Entry, Writer]] = {}
        for entry, writer in writers.items():
            of.setdefault(entry.variant, {})[entry] = writer

        def read(part: Array) -> list[tuple[Array, Variant, dict[str, Tensor]]]:
            fields = self.data.read(part)
            return [(part, variant, variant.of(fields, part)) for variant in of]

        for found in read_ahead(parts, read):
            for indices, variant, fields in found:
                if self.should_stop():
                    raise BuildStoppedError
                self._put(of[variant], indices, fields)
        self.seconds += perf_counter() - started

    def _put(self, writers: Mapping[Entry, Writer], indices: Array, fields: Mapping[str, Tensor]) -> None:
        moved = {name: field.to(self.device) for name, field in fields.items()}
        inputs = as_inputs(moved, self.data, self.loaded.card, channels_last=self.manner.channels_last)
        of = {entry.boundary: (entry, writer) for entry, writer in writers.items()}
        for _, part in micro_batches(inputs, len(indices)):
            for boundary, rows in walk(self.loaded, part, of, self.manner):
                entry, writer = of[boundary]
                kept = torch.cat([rows[: len(indices)]])
                writer.put(slice(int(indices[0]), int(indices[-1]) + 1), {FIELD: entry.form.pack(kept)})
