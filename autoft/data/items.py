"""Items: where decoded images and tensors come from, and how they are kept: in shards, or read again each time."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from autoft.data.decode import UNREADABLE, quietly
from autoft.errors import AutoftError, DataError
from autoft.record import FieldSpec
from autoft.shards import Shards, ShardsTooLargeError, ShardStore, Writer

READABLE = "readable"
"""The extra field of shards that says which items could be read."""

_BLOCK = 1024
_MOST_WORKERS = 8
R = TypeVar("R")

Row = Mapping[str, NDArray[Any]]


class Readable(Protocol):
    """Items that are read one by one."""

    def read(self, index: int) -> Row:
        """One item, decoded.

        Raises:
            one of `UNREADABLE`: it cannot be read.
        """
        ...


class Origin(Readable, Protocol):
    """Where items come from. Picklable; reading the same item twice gives the same bits."""

    @property
    def fields(self) -> Mapping[str, FieldSpec]:
        """Shape and type of one item."""
        ...

    @property
    def image(self) -> bool:
        """Whether items are decoded uint8 images (H, W, 3)."""
        ...

    @property
    def parallel(self) -> bool:
        """Whether several threads may read at once."""
        ...


class Items(Protocol):
    """Decoded items by row number."""

    def read(self, indices: NDArray[np.integer[Any]]) -> dict[str, NDArray[Any]]:
        """An array (B, ...) per field."""
        ...

    def only(self, chosen: NDArray[np.int64]) -> "Items":
        """These items, numbered anew."""
        ...

    def kept_in(self, store: ShardStore) -> "Items | None":
        """The same items as another store keeps them; None where it does not."""
        ...


@dataclass(frozen=True)
class Stored:
    """Items in memory-mapped shards."""

    shards: Shards
    names: tuple[str, ...]
    """The fields that are the input."""
    rows: NDArray[np.int64]
    """The shard's row of each item."""

    def read(self, indices: NDArray[np.integer[Any]]) -> dict[str, NDArray[Any]]:
        """Copy rows out of the memory maps."""
        return self.shards.read(self.rows[indices], self.names)

    def only(self, chosen: NDArray[np.int64]) -> "Stored":
        """These items, numbered anew."""
        return replace(self, rows=self.rows[chosen])

    def kept_in(self, store: ShardStore) -> "Stored | None":
        """The same items as another store keeps them; None where it does not."""
        shards = store.get(self.shards.folder.name)
        return None if shards is None else replace(self, shards=shards)


@dataclass
class OnTheFly:
    """Items that are decoded again each time they are read, by threads of this process where the origin allows it."""

    origin: Origin
    names: Sequence[str]
    """What items are called in errors."""
    rows: NDArray[np.int64]
    """The origin's number of each item."""
    _pool: tuple[int, ThreadPoolExecutor] | None = field(default=None, repr=False, compare=False)

    def read(self, indices: NDArray[np.integer[Any]]) -> dict[str, NDArray[Any]]:
        """Decode items.

        Raises:
            DataError: an item that could be read when the data were opened no longer can.
        """
        with quietly():
            chosen = self.rows[indices].tolist()
            found = list(self._threads().map(self._read, chosen)) if self.origin.parallel else map(self._read, chosen)
            rows = list(found)
        if not rows:
            return {name: np.empty((0, *spec.shape), spec.dtype) for name, spec in self.origin.fields.items()}
        return {name: np.stack([row[name] for row in rows]) for name in self.origin.fields}

    def only(self, chosen: NDArray[np.int64]) -> "OnTheFly":
        """These items, numbered anew."""
        return OnTheFly(self.origin, self.names, self.rows[chosen])

    def kept_in(self, store: ShardStore) -> "OnTheFly":  # noqa: ARG002
        """No store keeps them."""
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pool": None}

    def _read(self, index: int) -> Row:
        try:
            return self.origin.read(index)
        except AutoftError:
            raise
        except UNREADABLE as error:
            raise DataError(
                f"{self.names[index]}: could be read before, but no longer ({error}); restore the file"
            ) from error

    def _threads(self) -> ThreadPoolExecutor:
        """A pool of this process; one that was inherited through a fork has no threads."""
        if self._pool is None or self._pool[0] != os.getpid():
            self._pool = (os.getpid(), ThreadPoolExecutor(workers(), thread_name_prefix="autoft-decode"))
        return self._pool[1]


def workers() -> int:
    """Threads to read and decode with."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    return min(_MOST_WORKERS, available)


def for_each(work: Callable[[int], R], count: int, *, parallel: bool = True) -> Iterator[R]:
    """``work(0), work(1), ...`` in order, by threads when ``parallel``, never more than a block ahead."""
    if not parallel:
        yield from map(work, range(count))
        return
    with _pool() as pool:
        for start in range(0, count, _BLOCK):
            yield from pool.map(work, range(start, min(start + _BLOCK, count)))


def keep(
    origin: Origin, names: Sequence[str], key: str, store: ShardStore, *, notify: Callable[[str], None]
) -> tuple[Items, NDArray[np.bool_]]:
    """Read every item into shards; when those do not fit into the budget, only find out which can be read.

    Args:
        origin: where the items come from.
        names: what items are called.
        key: names content and decoding.
        store: where shards are kept.
        notify: told in a sentence what takes long.

    Returns:
        the items, and which of them can be read (n,). The others are zeros, or cannot be read.
    """
    count = len(names)
    rows = np.arange(count, dtype=np.int64)
    readable = {READABLE: FieldSpec((), "bool")}
    try:
        shards = store.get_or_build(key, {**origin.fields, **readable}, count, _Builder(origin, notify, whole=True))
        return Stored(shards, tuple(origin.fields), rows), np.array(shards.fields[READABLE])
    except ShardsTooLargeError:
        notify(f"{count:,} items do not fit into the cache's byte budget: they are decoded again each time")
    try:
        check = store.get_or_build(f"check-{key}", readable, count, _Builder(origin, notify, whole=False))
        usable = np.array(check.fields[READABLE])
    except ShardsTooLargeError:
        with quietly():
            usable = np.fromiter(
                (row is not None for row in for_each(reader(origin), count, parallel=origin.parallel)), bool, count
            )
    return OnTheFly(origin, names, rows), usable


@dataclass(frozen=True)
class _Builder:
    """Puts every item into shards; one that cannot be read becomes zeros."""

    origin: Origin
    notify: Callable[[str], None]
    whole: bool
    """Or only whether each can be read."""

    def __call__(self, writer: Writer) -> None:
        self.notify(f"{writer.count:,} items: {'decoding' if self.whole else 'checking'} each once")
        zeros = {name: np.zeros(spec.shape, spec.dtype) for name, spec in self.origin.fields.items()}
        read = reader(self.origin)

        def put(index: int) -> None:
            row = read(index)
            flag = {READABLE: np.array(row is not None)}
            writer.put(index, {**(row or zeros), **flag} if self.whole else flag)

        with quietly():
            for _ in for_each(put, writer.count, parallel=self.origin.parallel):
                pass


def reader(origin: Readable) -> Callable[[int], Row | None]:
    """Reads an item, or None when it cannot be read."""

    def read(index: int) -> Row | None:
        try:
            return origin.read(index)
        except AutoftError:
            raise
        except UNREADABLE:
            return None

    return read


@contextmanager
def _pool() -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(workers(), thread_name_prefix="autoft-read")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
