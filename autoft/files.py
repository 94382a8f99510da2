"""Atomic writes: a reader sees the old file or the new one, never half of one."""

import errno
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from autoft.errors import StorageError

_REMEDIES = {
    errno.ENOSPC: "free some space, then run the same command again",
    errno.EDQUOT: "free some space, then run the same command again",
    errno.EROFS: "choose a folder that can be written to",
    errno.EACCES: "choose a folder that can be written to",
    errno.EPERM: "choose a folder that can be written to",
}
_NETWORK = re.compile(
    r"nfs\d?|cifs|smb.*|9p|afs|ceph|lustre|gpfs|beegfs|glusterfs|ocfs2|gfs2|fuse\.(?!fuse-overlayfs|snapfuse).+"
)
_PASSING = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EREMOTEIO, errno.EHOSTDOWN, errno.ENETDOWN}
"""What a file system says that is away for a moment: a network's, most of all."""


def storage_error(error: OSError, path: str | Path | None = None) -> StorageError:
    """The sentence for an operating system's refusal: path, reason, remedy."""
    where = path if path is not None else (error.filename or "the disk")
    remedy = _REMEDIES.get(error.errno or 0, "check the path")
    return StorageError(f"{where}: {error.strerror or error}; {remedy}")


def network_mount(path: Path) -> str | None:
    """The kind of network file system that a path lies on (``nfs4``, ``cifs``, ...); None for a local one."""
    where, lies_on, kind = path.resolve(), "", ""
    for mount in psutil.disk_partitions(all=True):
        if where.is_relative_to(mount.mountpoint) and len(mount.mountpoint) >= len(lies_on):
            lies_on, kind = mount.mountpoint, mount.fstype
    return kind if _NETWORK.fullmatch(kind) else None


@contextmanager
def translated(path: str | Path) -> Iterator[None]:
    """Turn an OSError inside into a `StorageError` about ``path``."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise storage_error(error, path) from error


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends well.

    Args:
        path: of the file.
        durable: whether it must outlast a power failure; what can be made again need not.

    Raises:
        StorageError: the disk refuses.
    """
    with translated(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o644)
            if durable:
                with temporary.open("rb") as written:
                    os.fsync(written.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Write UTF-8 text atomically, as `replacing` does.

    Raises:
        StorageError: the disk refuses.
    """
    with replacing(path, durable=durable) as temporary:
        temporary.write_text(text, encoding="utf-8")


def patiently(write: Callable[[], None], *, patience_s: float = 90.0, pause_s: float = 1.0) -> None:
    """Write; where the storage is away for a moment, wait and write again. A full disk is not waited for.

    Raises:
        StorageError: the disk refuses, and has done so all the time.
    """
    end = time.monotonic() + patience_s
    while True:
        try:
            return write()
        except StorageError as error:
            passing = isinstance(error.__cause__, OSError) and error.__cause__.errno in _PASSING
            if not passing or time.monotonic() >= end:
                raise
        time.sleep(pause_s)
