"""Memory-mapped shards: decoded pixels and activations in one format, with manifest, checksum, lock and budget."""

from autoft.shards.layout import Field, FieldLike, ShardsDamagedError
from autoft.shards.reader import Shards
from autoft.shards.store import (
    ShardsBusyError,
    ShardsTooLargeError,
    ShardStore,
    default_max_bytes,
    default_root,
    default_roots,
)
from autoft.shards.upkeep import Damage, EntryInfo, clear, entries, look, verify
from autoft.shards.writer import Writer

__all__ = [
    "Damage",
    "EntryInfo",
    "Field",
    "FieldLike",
    "ShardStore",
    "Shards",
    "ShardsBusyError",
    "ShardsDamagedError",
    "ShardsTooLargeError",
    "Writer",
    "clear",
    "default_max_bytes",
    "default_root",
    "default_roots",
    "entries",
    "look",
    "verify",
]
