"""Writing rows while a key is built."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoft.files import translated
from autoft.shards.layout import Field, Manifest, checksum, field_files


class Writer:
    """Puts rows into the files of a key that is being built, in any order, from any thread.

    Rows go through `os.pwrite`, not a memory map: a full disk is then an error and not a SIGBUS, and nothing stays in
    private memory.
    """

    def __init__(self, folder: Path, fields: Mapping[str, Field], count: int) -> None:
        self.fields = dict(fields)
        self.count = count
        self._folder = folder
        self._descriptors: dict[str, int] = {}
        self._written = {name: np.zeros(count, dtype=bool) for name in fields}

    def allocate(self) -> None:
        """Create the files at their full size, so that a full disk shows itself at once."""
        for name, path in field_files(self._folder, self.fields).items():
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
            self._descriptors[name] = descriptor
            size = self.fields[name].row_bytes * self.count
            if size and hasattr(os, "posix_fallocate"):
                os.posix_fallocate(descriptor, 0, size)
            else:
                os.ftruncate(descriptor, size)

    def put(self, index: int | slice | NDArray[np.integer[Any]], values: Mapping[str, NDArray[Any]]) -> None:
        """Write rows.

        Args:
            index: one row, a slice of rows, or row numbers (B,).
            values: per field one row, or rows (B, ...); fields left out are put by another call.

        Raises:
            StorageError: the disk refuses.
            ValueError: a value that is not of its field's shape and type.
        """
        rows = self._rows(index)
        for name, value in values.items():
            field = self.fields[name]
            array = np.asarray(value)[None] if isinstance(index, int | np.integer) else np.asarray(value)
            if array.shape != (len(rows), *field.shape) or array.dtype.name != field.dtype:
                raise ValueError(
                    f"field {name!r} takes rows of {field.dtype} {field.shape}, got {array.dtype} {array.shape}"
                )
            with translated(self._folder.parent):
                self._write(name, rows, np.ascontiguousarray(array))
            self._written[name][rows] = True

    def finish(self) -> Manifest:
        """Close the files and write the manifest.

        Raises:
            ValueError: a row was never put.
        """
        for name, written in self._written.items():
            if not written.all():
                raise ValueError(f"row {int(written.argmin())} of field {name!r} was never put")
        self.close()
        files = field_files(self._folder, self.fields)
        manifest = Manifest(self.count, self.fields, {name: checksum(path) for name, path in files.items()})
        manifest.write(self._folder)
        return manifest

    def close(self) -> None:
        """Close the files."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])

    def _rows(self, index: int | slice | NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        if isinstance(index, slice):
            return np.arange(*index.indices(self.count), dtype=np.int64)
        rows = np.atleast_1d(np.asarray(index, dtype=np.int64))
        if len(rows) and not (rows.min() >= 0 and rows.max() < self.count):
            raise ValueError(f"rows must be 0 to {self.count - 1}, got {rows.min()} to {rows.max()}")
        return rows

    def _write(self, name: str, rows: NDArray[np.int64], array: NDArray[Any]) -> None:
        """Consecutive rows go in one piece."""
        row_bytes = self.fields[name].row_bytes
        if not len(rows) or not row_bytes:
            return
        starts = np.flatnonzero(np.diff(rows, prepend=rows[0] - 2) != 1)
        data = memoryview(array.reshape(-1).view(np.uint8).data)
        for start, stop in zip(starts, [*starts[1:], len(rows)], strict=True):
            _write_all(
                self._descriptors[name],
                data[int(start) * row_bytes : int(stop) * row_bytes],
                int(rows[start]) * row_bytes,
            )


def _write_all(descriptor: int, data: memoryview, offset: int) -> None:
    while data:
        length = os.pwrite(descriptor, data, offset)
        data = data[length:]
        offset += length
