"""The marker of a key's folder: an advisory lock (flock) that says whether somebody uses or builds it.

Readers and builders hold it for as long as they live; the kernel drops it when a process dies, however it dies.
"""

import contextlib
import fcntl
import os
import weakref
from pathlib import Path

MARKER = "in-use"


class Marker:
    """A held lock on the folder's marker file; its time of change says when the folder was last used.

    It is let go with the object, or when the interpreter ends.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._close = weakref.finalize(self, os.close, descriptor)
        with contextlib.suppress(OSError):
            os.utime(descriptor)

    def share(self) -> None:
        """Turn an exclusive lock into one that other readers can hold too."""
        if self._close.alive:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def release(self) -> None:
        """Let go; more than once does no harm."""
        self._close()


def create(folder: Path) -> Marker:
    """Make the marker of a folder that is being built, held exclusively."""
    descriptor = os.open(folder / MARKER, os.O_RDONLY | os.O_CREAT, 0o644)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return Marker(descriptor)


def hold(folder: Path) -> Marker | None:
    """Hold the folder as a reader; None when it is not there (any more)."""
    try:
        descriptor = os.open(folder / MARKER, os.O_RDONLY)
    except FileNotFoundError:
        return None
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    if _same_file(descriptor, folder / MARKER):
        return Marker(descriptor)
    os.close(descriptor)
    return None


def seize(folder: Path) -> Marker | None:
    """Hold the folder alone, without waiting; None when somebody uses it."""
    try:
        descriptor = os.open(folder / MARKER, os.O_RDONLY | os.O_CREAT, 0o644)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return Marker(descriptor)


def last_used(folder: Path) -> float:
    """Seconds since the epoch."""
    try:
        return (folder / MARKER).stat().st_mtime
    except OSError:
        return 0.0


def set_last_used(folder: Path, when: float) -> None:
    """Say when the folder was last used, in seconds since the epoch."""
    with contextlib.suppress(OSError):
        os.utime(folder / MARKER, (when, when))


def in_use(folder: Path) -> bool:
    """Whether somebody holds the folder; asking is not using."""
    try:
        descriptor = os.open(folder / MARKER, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _same_file(descriptor: int, path: Path) -> bool:
    """Whether the folder was evicted while we waited for its marker."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False
