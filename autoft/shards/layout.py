"""What lies in the folder of one key: a manifest, a raw file per field, and a marker that a reader holds.

A field is ``count`` rows of one shape and type, row after row in C order, little-endian. The manifest is written last.
"""

import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from autoft.errors import StorageError

FORMAT = 1
MANIFEST = "manifest.json"
_CHUNK_BYTES = 1 << 20


class ShardsDamagedError(StorageError):
    """A shard is not what its manifest says; it is rebuilt, never trusted."""


class FieldLike(Protocol):
    """Anything with the shape and the type of one row, for example a `Field` or a `FieldSpec`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Without the row dimension."""
        ...

    @property
    def dtype(self) -> str:
        """As numpy names it."""
        ...


@dataclass(frozen=True, slots=True)
class Field:
    """Shape (without the row dimension) and type of one row."""

    shape: tuple[int, ...]
    dtype: str

    @classmethod
    def like(cls, other: FieldLike) -> Self:
        """The same, with the type's name made canonical."""
        return cls(tuple(int(side) for side in other.shape), np.dtype(other.dtype).name)

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a key's folder holds. Field ``i`` lies in the file ``i.bin``."""

    count: int
    fields: Mapping[str, Field]
    checksums: Mapping[str, int]
    """CRC-32 of each field's file."""

    def write(self, folder: Path) -> None:
        """Write ``manifest.json``; the folder is not public yet, so no rename is needed."""
        plain = {"format": FORMAT, "count": self.count, "fields": {}}
        plain["fields"] = {name: asdict(field) for name, field in self.fields.items()}
        plain["checksums"] = dict(self.checksums)
        (folder / MANIFEST).write_text(json.dumps(plain, indent=1), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read ``manifest.json``.

        Raises:
            ShardsDamagedError: missing, unreadable, or of another format.
        """
        try:
            plain = json.loads((folder / MANIFEST).read_bytes())
            if plain["format"] != FORMAT:
                raise ShardsDamagedError(f"{folder}: format {plain['format']}, this version reads {FORMAT}")
            fields = {name: Field(tuple(raw["shape"]), raw["dtype"]) for name, raw in plain["fields"].items()}
            return cls(int(plain["count"]), fields, {name: int(plain["checksums"][name]) for name in fields})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, ShardsDamagedError):
                raise
            raise ShardsDamagedError(f"{folder}: the manifest cannot be read ({error})") from None

    def holds(self, fields: Mapping[str, Field], count: int) -> bool:
        """Whether this is what somebody expects under the key."""
        return self.count == count and dict(self.fields) == dict(fields)

    def files(self, folder: Path) -> dict[str, Path]:
        """The file of each field."""
        return field_files(folder, self.fields)


def field_files(folder: Path, fields: Mapping[str, Any]) -> dict[str, Path]:
    """Field names may be anything, so files are numbered."""
    return {name: folder / f"{number}.bin" for number, name in enumerate(fields)}


def checksum(path: Path) -> int:
    """CRC-32 of a file's content, read in small pieces."""
    buffer = bytearray(_CHUNK_BYTES)
    view = memoryview(buffer)
    value = 0
    with path.open("rb", buffering=0) as file:
        while length := file.readinto(buffer):
            value = zlib.crc32(view[:length], value)
    return value
