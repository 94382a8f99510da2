"""Looking after a store: what lies there, whether it is whole, and removing what nobody uses."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from autoft.files import translated
from autoft.shards import marker
from autoft.shards.layout import MANIFEST, Manifest, ShardsDamagedError
from autoft.shards.reader import Shards
from autoft.shards.store import ShardStore

_FILE = re.compile(r"\d+\.bin")


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
    found = []
    for folder in _own(store):
        used = marker.last_used(folder)
        try:
            with translated(folder):
                if shards := Shards.find(folder):
                    shards.close()
            marker.set_last_used(folder, used)  # looking is not using
        except ShardsDamagedError as error:
            found.append(Damage(folder.name, str(error), store.remove(folder.name)))
    return found


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
