"""Reading a key's rows through read-only memory maps."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from autoft.errors import StorageError
from autoft.shards import marker
from autoft.shards.layout import Field, Manifest, ShardsDamagedError, checksum

Seal: TypeAlias = tuple[tuple[int, int, int, int], ...]
"""Device, inode, size and time of change of the files whose checksums have been verified."""


class Shards:
    """The rows of one key. Pickles as its path and opens its memory maps where it is used.

    While it is open, no process evicts it. Checksums are verified when it is first opened; a copy sent to another
    process of the same machine trusts files that are still the ones verified here.
    """

    def __init__(self, folder: Path, *, seal: Seal | None = None) -> None:
        self.folder = folder
        self._seal = seal
        self._lock = threading.Lock()
        self._manifest: Manifest | None = None
        self._marker: marker.Marker | None = None
        self._maps: dict[str, NDArray[Any]] = {}

    @classmethod
    def find(cls, folder: Path) -> Self | None:
        """Open the shards in ``folder``; None when there are none.

        Raises:
            ShardsDamagedError: they are not what their manifest says.
        """
        shards = cls(folder)
        return shards if shards._open() else None

    @property
    def fields(self) -> dict[str, NDArray[Any]]:
        """A read-only memory map (count, ...) per field."""
        self._ensure_open()
        return self._maps

    @property
    def layout(self) -> Mapping[str, Field]:
        """Shape and type per field."""
        return self._ensure_open().fields

    @property
    def count(self) -> int:
        """Number of rows."""
        return self._ensure_open().count

    @property
    def nbytes(self) -> int:
        """Bytes of all fields."""
        manifest = self._ensure_open()
        return sum(field.row_bytes for field in manifest.fields.values()) * manifest.count

    def read(self, indices: NDArray[np.integer[Any]], names: tuple[str, ...] | None = None) -> dict[str, NDArray[Any]]:
        """Copy rows into memory: an array (B, ...) per field, or per field of ``names``."""
        fields = self.fields
        return {name: np.take(fields[name], indices, axis=0) for name in names or tuple(fields)}

    def close(self) -> None:
        """Let go of the maps; the shards may then be evicted. Reading again opens them again."""
        with self._lock:
            self._maps = {}
            self._manifest = None
            if self._marker is not None:
                self._marker.release()
                self._marker = None

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": str(self.folder), "seal": self._seal}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(Path(state["folder"]), seal=state["seal"])  # type: ignore[misc]

    def _ensure_open(self) -> Manifest:
        if self._manifest is None and not self._open():
            raise StorageError(f"{self.folder}: these shards are gone; run the same command again to rebuild them")
        assert self._manifest is not None
        return self._manifest

    def _open(self) -> bool:
        with self._lock:
            if self._manifest is not None:
                return True
            held = marker.hold(self.folder)
            if held is None:
                if self.folder.exists():
                    raise ShardsDamagedError(f"{self.folder}: {marker.MARKER} is missing")
                return False
            try:
                manifest = Manifest.read(self.folder)
                self._verify(manifest)
                self._maps = _memory_maps(self.folder, manifest)
            except BaseException:
                held.release()
                raise
            self._marker, self._manifest = held, manifest
            return True

    def _verify(self, manifest: Manifest) -> None:
        files = manifest.files(self.folder)
        seal = seal_of(list(files.values()))
        for (name, path), (_, _, size, _) in zip(files.items(), seal, strict=True):
            expected = manifest.fields[name].row_bytes * manifest.count
            if size != expected:
                raise ShardsDamagedError(f"{path}: {size} bytes, must be {expected}")
        for name, path in files.items() if seal != self._seal else ():
            if checksum(path) != manifest.checksums[name]:
                raise ShardsDamagedError(f"{path}: the content does not match its checksum")
        self._seal = seal


def seal_of(paths: list[Path]) -> Seal:
    """What tells these very files from any others.

    Raises:
        ShardsDamagedError: one is missing.
    """
    try:
        stats = [path.stat() for path in paths]
    except OSError as error:
        raise ShardsDamagedError(f"{error.filename}: {error.strerror}") from None
    return tuple((stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in stats)


def _memory_maps(folder: Path, manifest: Manifest) -> dict[str, NDArray[Any]]:
    maps: dict[str, NDArray[Any]] = {}
    for name, path in manifest.files(folder).items():
        field = manifest.fields[name]
        shape = (manifest.count, *field.shape)
        empty = field.row_bytes * manifest.count == 0
        mapped = np.empty(shape, field.dtype) if empty else np.memmap(path, field.dtype, "r", shape=shape)
        maps[name] = mapped.view(np.ndarray)
    return maps
