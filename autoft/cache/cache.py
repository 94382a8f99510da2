"""The cache as a trial sees it: it names the boundaries of its stages and gets activations, or none."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from autoft.cache import rows as placing
from autoft.cache.activations import Activations
from autoft.cache.build import Builder, BuildStoppedError, Entry, UnevenRowsError
from autoft.cache.cost import Boundary, Choice, Machine, Verdict, choose, measure
from autoft.cache.key import entry_key, group_digests, surroundings
from autoft.cache.probe import Probe, probe
from autoft.cache.rows import DeviceRows, HostRows, Rows
from autoft.data import DataHandle
from autoft.data.inputs import as_inputs
from autoft.data.variants import PLAIN, Variant
from autoft.errors import StorageError
from autoft.model import MICRO_BATCH, LoadedModel, Manner
from autoft.shards import Shards, ShardsBusyError, ShardStore, default_max_bytes, default_roots

_IN_MEMORY_BYTES = 64 * 2**20
"""Of the smallest activations: they are read into memory whole, all others are memory-mapped."""

_LEAST_WAIT_S = 2.0
"""For another process: less is not worth a pass over the items."""


@dataclass(frozen=True)
class Reuse:
    """How activations are kept and shared; the same for all workers of a search."""

    root: Path
    max_bytes: int
    always: bool = False
    """Keep whatever fits, without asking the cost model."""
    passes: Mapping[int, float] = field(default_factory=dict)
    """Per boundary, how often the rows of all items will be asked for in the whole search."""
    chosen: frozenset[int] | None = None
    """The boundaries that the search's plan keeps; None: each is decided where it is asked for."""


def reuse_of(*, max_bytes: int | None = None, always: bool = False, passes: Mapping[int, float] | None = None) -> Reuse:
    """Activations in a folder of their own beside the decoded items; default budget: half of the free space there."""
    root = default_roots()["activations"]
    return Reuse(root, max_bytes or default_max_bytes(root), always, passes or {})


@dataclass(frozen=True, slots=True)
class Need:
    """What a stage will ask for."""

    boundary: int
    """0 where it has no frozen prefix."""
    passes: float
    """How often the rows of all items."""
    variants: tuple[Variant, ...] = (PLAIN,)
    """The images that items enter as; what is evaluated enters as it is."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the cache has for a trial."""

    activations: Mapping[int, Activations] = field(default_factory=dict)
    """By boundary."""
    seconds: float = 0.0
    """That building them took this process."""


@dataclass(frozen=True)
class _Known:
    """What has been found out about one model in its surroundings."""

    asked: frozenset[int] = frozenset()
    """Boundaries that were looked at."""
    probes: Mapping[int, Probe] = field(default_factory=dict)
    """Of those at which there is something to keep."""
    digests: tuple[str, ...] = ()
    """Of groups, as far as one was asked for."""


class ActivationCache:
    """Activations of one data set, for any number of trials in this process.

    Args:
        reuse: where and how much.
        data: the items.
        notify: told in a sentence when something that would pay could not be kept.
        hands: threads that build activations on a CPU.
    """

    def __init__(self, reuse: Reuse, data: DataHandle, notify: Callable[[str], None], *, hands: int = 1) -> None:
        self._reuse, self._data, self._notify, self._hands = reuse, data, notify, hands
        self._store = ShardStore(reuse.root, reuse.max_bytes)
        self._machine: Machine | None = None
        self._known: dict[tuple[object, ...], _Known] = {}
        self._rows: dict[str, Rows] = {}
        self._views: set[str] = set()
        """Keys of those of views, which other seeds do not share."""

    def prepare(
        self,
        loaded: LoadedModel,
        needs: Sequence[Need],
        *,
        manner: Manner | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Prepared:
        """Open what the stages need and what pays, building in one pass what is missing.

        With it goes what the whole search is expected to ask for. The model must be in its base state; it is in eval
        mode afterwards.

        Where another process is building an entry, and building is cheaper than computing the rows in this trial, it is
        waited for, at most as long as that computing would take: whatever the other does, no more than the time of the
        trial from pixels is lost. Then the trial goes on without what is missing. ``should_stop`` ends waiting and
        building within a second.
        """
        manner = manner or Manner()
        asked = {need.boundary for need in needs if need.boundary > 0}
        if not asked or not self._data.content or loaded.chain.why_not is not None:
            return Prepared()
        known = self._find_out(loaded, asked | set(self._reuse.passes), manner)
        for boundary in sorted(asked - set(known.probes)):
            self._refuse(loaded, boundary, "they are not a function of the item alone, or not one tensor of floats")
        variants = tuple(dict.fromkeys(variant for need in needs for variant in need.variants))
        entries = self._entries(loaded, known, manner, variants)
        for key in self._views - {entry.key for entry in entries}:
            self._let_go(key)
        choices = self._choose(known, entries, needs)
        self._tell_what_is_too_large(loaded, choices, asked)
        wanted = {index for index, choice in choices.items() if choice.verdict is Verdict.REUSE}
        if not wanted & asked:
            return Prepared()
        device = next(loaded.module.parameters()).device
        patience_s = self._patience(known, needs, wanted, len(variants))
        hands = self._hands if device.type == "cpu" else 1
        builder = Builder(loaded, self._data, device, manner, should_stop, patience_s, hands)
        self._open([entry for entry in entries if entry.boundary in wanted], asked, builder)
        return Prepared(self._activations(loaded, known, entries, asked), builder.seconds)

    def find(self, loaded: LoadedModel, boundary: int, manner: Manner) -> Activations | None:
        """What lies there of all items at a boundary; nothing is built or waited for.

        Up to there the model must be in its base state; it is in eval mode afterwards.
        """
        if boundary == 0 or not self._data.content or loaded.chain.why_not is not None:
            return None
        known = self._find_out(loaded, {boundary}, manner)
        entries = self._entries(loaded, known, manner, (PLAIN,))
        for entry in entries:
            if entry.key not in self._rows and (shards := self._store.get(entry.key)):
                self._keep(entry, shards, next(loaded.module.parameters()).device)
        return self._activations(loaded, known, entries, {boundary}).get(boundary)

    def _find_out(self, loaded: LoadedModel, boundaries: Iterable[int], manner: Manner) -> _Known:
        """What is not known yet is looked at now: no more than that need be in its base state."""
        device = next(loaded.module.parameters()).device
        asked = frozenset(index for index in boundaries if 0 < index < len(loaded.chain))
        key = (loaded.digest, str(device), torch.get_num_threads(), manner)
        known = self._known.get(key, _Known())
        if missing := sorted(asked - known.asked):
            few = np.arange(min(MICRO_BATCH, len(self._data)))
            moved = {name: rows.to(device) for name, rows in self._data.read(few).items()}
            inputs = as_inputs(moved, self._data, loaded.card, channels_last=manner.channels_last)
            probes = {**known.probes, **probe(loaded, inputs, missing, manner)}
            digests = max(known.digests, group_digests(loaded, missing[-1]), key=len)
            known = self._known[key] = _Known(known.asked | asked, probes, digests)
        return replace(known, probes={index: known.probes[index] for index in sorted(asked & known.probes.keys())})

    def _entries(self, loaded: LoadedModel, known: _Known, manner: Manner, variants: Sequence[Variant]) -> list[Entry]:
        around = surroundings(loaded.card, next(loaded.module.parameters()).device, manner)
        return [
            Entry(
                entry_key(known.digests[:boundary], found, self._data, around, variant),
                boundary,
                variant,
                found.form,
            )
            for boundary, found in known.probes.items()
            for variant in variants
        ]

    def _choose(self, known: _Known, entries: Sequence[Entry], needs: Sequence[Need]) -> Mapping[int, Choice]:
        if self._machine is None:
            self._machine = measure(self._data)
        boundaries = []
        for index, found in known.probes.items():
            own = [entry for entry in entries if entry.boundary == index]
            now = sum(need.passes for need in needs if need.boundary == index)
            boundaries.append(
                Boundary(
                    index,
                    row_bytes=found.form.field.row_bytes,
                    row_s=found.row_s,
                    passes=max(now, self._reuse.passes.get(index, 0.0)),
                    variants=len(own),
                    built=all(self._lies_there(entry) for entry in own),
                )
            )
        choices = choose(
            boundaries,
            self._machine,
            items=len(self._data),
            max_bytes=self._reuse.max_bytes,
            always=self._reuse.always,
        )
        if self._reuse.chosen is None or self._reuse.always:
            return choices
        return {each.index: self._as_planned(each, choices[each.index]) for each in boundaries}

    def _as_planned(self, boundary: Boundary, choice: Choice) -> Choice:
        """The plan's decision: every worker's own measurement may give another one. What lies there is read."""
        assert self._reuse.chosen is not None
        if choice.verdict is Verdict.TOO_LARGE:
            return choice
        kept = boundary.index in self._reuse.chosen or (boundary.built and choice.verdict is Verdict.REUSE)
        return replace(choice, verdict=Verdict.REUSE if kept else Verdict.COMPUTE)

    def _open(self, entries: Sequence[Entry], asked: set[int], builder: Builder) -> None:
        """Open what is asked for, and build what is missing; what the disk or the budget refuses is left out, the
        largest boundary first.
        """
        waiting = [entry for entry in entries if entry.key not in self._rows]
        waiting = [entry for entry in waiting if entry.boundary in asked or not self._lies_there(entry)]
        while any(entry.boundary in asked for entry in waiting):
            try:
                opened = builder.obtain(self._store, waiting)
            except BuildStoppedError:
                return
            except ShardsBusyError:
                self._take_what_is_there(waiting, asked, builder)
                return
            except (StorageError, UnevenRowsError) as error:
                largest = max(waiting, key=lambda entry: entry.nbytes(len(self._data))).boundary
                refused = error.boundary if isinstance(error, UnevenRowsError) else largest
                waiting = [entry for entry in waiting if entry.boundary != refused]
                self._refuse(builder.loaded, refused, str(error))
            else:
                for entry in waiting:
                    if entry.boundary in asked:
                        self._keep(entry, opened[entry.key], builder.device)
                    else:
                        opened[entry.key].close()
                return

    def _take_what_is_there(self, waiting: Sequence[Entry], asked: set[int], builder: Builder) -> None:
        busy: set[int] = set()
        for entry in waiting:
            if entry.boundary in asked:
                if shards := self._store.get(entry.key):
                    self._keep(entry, shards, builder.device)
                else:
                    busy.add(entry.boundary)
        for boundary in sorted(busy):
            name = builder.loaded.groups[boundary - 1].name
            self._notify(f"reuse: activations after {name} are being built by another process; a trial went on without")

    def _patience(self, known: _Known, needs: Sequence[Need], wanted: set[int], variants: int) -> float:
        """Seconds to wait for another process."""
        assert self._machine is not None
        items, item_s = len(self._data), self._machine.item_s
        row_s = {index: found.row_s + item_s for index, found in known.probes.items()}
        building_s = variants * items * max(row_s[index] for index in wanted)
        pixels_s = sum(need.passes * items * row_s[need.boundary] for need in needs if need.boundary in wanted)
        return max(_LEAST_WAIT_S, pixels_s if building_s <= pixels_s else 0.0)

    def _keep(self, entry: Entry, shards: Shards, device: torch.device) -> None:
        self._rows[entry.key] = self._rows_of(shards, device)
        if entry.variant.kind in ("light", "strong"):
            self._views.add(entry.key)

    def _let_go(self, key: str) -> None:
        """Others may evict it once the trial that reads it has ended."""
        self._views.discard(key)
        self._rows.pop(key, None)

    def _rows_of(self, shards: Shards, device: torch.device) -> Rows:
        taken = sum(rows.memory_bytes for rows in self._rows.values() if isinstance(rows, DeviceRows))
        if placing.stays_on_device(shards.nbytes, free=placing.free_bytes(device), taken=taken):
            return DeviceRows(shards, device)
        in_memory = sum(rows.memory_bytes for rows in self._rows.values() if isinstance(rows, HostRows))
        whole = in_memory + shards.nbytes <= _IN_MEMORY_BYTES
        return HostRows(shards, whole=whole, pinned=device.type == "cuda")

    def _lies_there(self, entry: Entry) -> bool:
        return entry.key in self._rows or (self._store.root / entry.key).exists()

    def _activations(
        self, loaded: LoadedModel, known: _Known, entries: Sequence[Entry], asked: set[int]
    ) -> dict[int, Activations]:
        found: dict[int, Activations] = {}
        device = next(loaded.module.parameters()).device
        for boundary in sorted(asked & set(known.probes)):
            own = [entry for entry in entries if entry.boundary == boundary]
            rows = {entry.variant: self._rows[entry.key] for entry in own if entry.key in self._rows}
            if len(rows) == len(own):
                at = known.probes[boundary]
                name = loaded.groups[boundary - 1].name
                found[boundary] = Activations(boundary, name, at.form, at.row_s, rows, device)
        return found

    def _tell_what_is_too_large(self, loaded: LoadedModel, choices: Mapping[int, Choice], asked: set[int]) -> None:
        for index, choice in choices.items():
            if index in asked and choice.verdict is Verdict.TOO_LARGE:
                self._refuse(loaded, index, f"{choice.reason}; raise reuse.max_bytes to keep them")

    def _refuse(self, loaded: LoadedModel, boundary: int, why: str) -> None:
        self._notify(
            f"reuse: activations after {loaded.groups[boundary - 1].name} are not kept but computed each time: {why}"
        )
