"""Looking after a store: what lies there, whether it is whole, and removing what nobody uses."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from autoft.files import translated
from autoft.shards import marker
from autoft.shards.layout import MANIFEST, Manifest, ShardsDamagedError
from autoft.shards.reader import Shards
from autoft.shards.store import ShardStore

_FILE = re.compile(r"\d+\.bin")
_BYTES_PER_S = 2e8
"""What a disk reads and a core sums up at least."""


@dataclass(frozen=True, slots=True)
class EntryInfo:
    """One key of a store."""

    key: str
    nbytes: int
    rows: int | None
    """None where the manifest cannot be read."""
    last_used: float
    """Seconds since the epoch."""
    in_use: bool
    """Whether a living process has it open."""


@dataclass(frozen=True, slots=True)
class Damage:
    """An entry that is not what its manifest says."""

    key: str
    what: str
    removed: bool
    """Else a process has it open; whoever opens it next builds it again."""


def entries(store: ShardStore) -> list[EntryInfo]:
    """Everything that is kept in a store, the least recently used first; nothing is changed by looking."""
    return sorted((_info(store, folder) for folder in _own(store)), key=lambda entry: (entry.last_used, entry.key))


def verify(store: ShardStore) -> list[Damage]:
    """Compare every entry with its checksums, and remove those that differ and that nobody uses: they are built again
    when they are needed.

    Raises:
        StorageError: the disk refuses.
    """
    damaged = ((folder.name, what) for folder in _own(store) if (what := _damage(folder)))
    return [Damage(key, what, store.remove(key)) for key, what in damaged]


def look(store: ShardStore, *, seconds: float) -> tuple[list[Damage], int]:
    """Compare entries with their checksums for so long, and change nothing.

    Returns:
        what is damaged, and how many entries there was no time for.

    Raises:
        StorageError: the disk refuses.
    """
    found: list[Damage] = []
    folders, end = list(_own(store)), time.monotonic() + seconds
    for place, folder in enumerate(folders):
        if store.bytes_of(folder.name) > _BYTES_PER_S * (end - time.monotonic()):
            return found, len(folders) - place
        if what := _damage(folder):
            found.append(Damage(folder.name, what, removed=False))
    return found, 0


def clear(store: ShardStore) -> tuple[list[EntryInfo], list[EntryInfo]]:
    """Remove every entry that nobody uses, and what dead processes left.

    Returns:
        what was removed, and what is in use and stays.

    Raises:
        StorageError: the disk refuses.
    """
    removed: list[EntryInfo] = []
    kept: list[EntryInfo] = []
    store.sweep()
    for entry in entries(store):
        (removed if store.remove(entry.key) else kept).append(entry)
    return removed, kept


def _damage(folder: Path) -> str | None:
    """What is wrong with an entry; looking is not using."""
    used = marker.last_used(folder)
    try:
        with translated(folder):
            if shards := Shards.find(folder):
                shards.close()
    except ShardsDamagedError as error:
        return str(error)
    finally:
        marker.set_last_used(folder, used)
    return None


def _own(store: ShardStore) -> Iterator[Path]:
    """The folders that are entries beyond doubt: nothing lies in them but what a builder writes."""
    for folder in sorted(store.folders()):
        names = [path.name for path in folder.iterdir()]
        if all(name in (marker.MARKER, MANIFEST) or _FILE.fullmatch(name) for name in names):
            yield folder


def _info(store: ShardStore, folder: Path) -> EntryInfo:
    try:
        rows = Manifest.read(folder).count
    except ShardsDamagedError:
        rows = None
    used = marker.last_used(folder)
    return EntryInfo(folder.name, store.bytes_of(folder.name), rows, used, marker.in_use(folder))
