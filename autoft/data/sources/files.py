"""Image files as items."""

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoft.data.decode import Frame, decode
from autoft.data.items import Row, for_each
from autoft.data.sources.listing import digest
from autoft.errors import DataError
from autoft.files import storage_error
from autoft.record import FieldSpec

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"})
"""Whatever their case."""

_OUR_FAULT = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}
"""Errors that say nothing about the file."""


@dataclass(frozen=True)
class ImageFiles:
    """Images read from files below a folder."""

    root: str
    names: Sequence[str]
    """Paths relative to the folder, or absolute ones."""
    frame: Frame
    image: bool = True
    parallel: bool = True

    @property
    def fields(self) -> Mapping[str, FieldSpec]:
        """One decoded image."""
        return image_fields(self.frame)

    def read(self, index: int) -> Row:
        """Decode a file."""
        return {"input": decode(self._bytes(index), self.frame)}

    def digests(self) -> tuple[bytes, ...]:
        """Of the content of every file; one that cannot be read has a digest of its own."""

        def of_file(index: int) -> bytes:
            try:
                return digest(self._bytes(index))
            except OSError as error:
                if error.errno in _OUR_FAULT:
                    raise storage_error(error) from error
                return digest(b"unreadable", b"")

        return tuple(for_each(of_file, len(self.names)))

    def _bytes(self, index: int) -> bytes:
        return (Path(self.root) / self.names[index]).read_bytes()


def image_fields(frame: Frame) -> Mapping[str, FieldSpec]:
    """The fields of decoded images."""
    return {"input": FieldSpec((frame.size, frame.size, 3), "uint8")}


def needed(frame: Frame | None, where: str) -> Frame:
    """The frame that images are brought to.

    Raises:
        DataError: no image size was given.
    """
    if frame is None:
        raise DataError(f"{where}: images need a size; set data.image_size")
    return frame


def is_image(name: str) -> bool:
    """Whether a file's extension says that it is an image."""
    return Path(name).suffix.lower() in IMAGE_SUFFIXES
