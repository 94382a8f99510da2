"""Memory-mapped shards: decoded pixels and activations in one format, with manifest, checksum, lock and budget."""

from autoft.shards.layout import Field, FieldLike, ShardsDamagedError
from autoft.shards.reader import Shards
from autoft.shards.store import ShardsBusyError, ShardsTooLargeError, ShardStore, default_max_bytes, default_root
from autoft.shards.writer import Writer

__all__ = [
    "Field",
    "FieldLike",
    "ShardStore",
    "Shards",
    "ShardsBusyError",
    "ShardsDamagedError",
    "ShardsTooLargeError",
    "Writer",
    "default_max_bytes",
    "default_root",
]
