"""The store: one folder per key, built once, within a byte budget, by whichever process comes first."""

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from autoft.errors import StorageError
from autoft.files import translated
from autoft.shards import marker
from autoft.shards.layout import Field, FieldLike, ShardsDamagedError
from autoft.shards.reader import Shards, seal_of
from autoft.shards.writer import Writer

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_BUILDING = ".building-"
_EVICTED = ".evicted-"
_ASKED_EVERY_S = 0.25


class ShardsTooLargeError(StorageError):
    """The rows do not fit into the store's byte budget."""


class ShardsBusyError(StorageError):
    """Another process is building them, and this one did not wait for it."""


def default_root() -> Path:
    """``$AUTOFT_CACHE_DIR``, else ``$XDG_CACHE_HOME/autoft``, else ``~/.cache/autoft``."""
    if own := os.environ.get("AUTOFT_CACHE_DIR"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "autoft"


def default_roots() -> dict[str, Path]:
    """The folders of the stores by what they keep: decoded items, and activations."""
    root = default_root()
    return {"items": root, "activations": root / "activations"}


def default_max_bytes(root: Path, *, share: float = 0.5) -> int:
    """A share of the disk that ``root`` lies on: of what is free and what the store already holds."""
    existing = next(folder for folder in (root, *root.absolute().parents) if folder.exists())
    with translated(existing):
        free = shutil.disk_usage(existing).free
    return int(share * (free + ShardStore(root, 0).used_bytes()))


class ShardStore:
    """Keys to `Shards`, on a local disk, shared by any number of processes.

    Laws: a key is built by one process while others wait; what is not complete is never seen under its key; what does
    not match its checksum is rebuilt; a folder that a living process holds open is never evicted. Data are not flushed
    to the disk before they are published: the checksum finds out after a power failure.
    """

    def __init__(self, root: Path, max_bytes: int) -> None:
        self.root = Path(root)
        self.max_bytes = max_bytes

    def get(self, key: str) -> Shards | None:
        """The shards of a key, or None when there are none that can be trusted."""
        folder = self._folder(key)
        try:
            with translated(folder):
                return Shards.find(folder)
        except ShardsDamagedError:
            return None

    def get_or_build(
        self,
        key: str,
        fields: Mapping[str, FieldLike],
        count: int,
        build: Callable[[Writer], None],
        *,
        may_wait: Callable[[], bool] = lambda: True,
    ) -> Shards:
        """The shards of a key, built by ``build(writer)`` when there are none that can be trusted.

        Args:
            key: names the content: whatever changes it must change the key. Letters, digits and ``._-``.
            fields: shape and type of a row, per field.
            count: number of rows.
            build: puts every row of every field; an exception leaves nothing behind.
            may_wait: asked several times a second while another process builds them: whether to wait on.

        Raises:
            ShardsBusyError: another process builds them, and ``may_wait`` said no.
            ShardsTooLargeError: they do not fit beside what is in use.
            StorageError: the disk refuses.
        """
        folder = self._folder(key)
        wanted = {name: Field.like(field) for name, field in fields.items()}
        if found := self._find(folder, wanted, count):
            return found
        with self._waited_for(key, may_wait):
            if found := self._find(folder, wanted, count):
                return found
            return self._build(folder, Writer(folder, wanted, count), build)

    @contextmanager
    def _waited_for(self, key: str, may_wait: Callable[[], bool]) -> Iterator[None]:
        lock = self._locked(key)
        while not lock.is_locked:
            try:
                lock.acquire(timeout=_ASKED_EVERY_S)
            except Timeout:
                if not may_wait():
                    raise ShardsBusyError(f"{self.root / key}: another process is building these shards") from None
        try:
            yield
        finally:
            lock.release()

    def used_bytes(self) -> int:
        """Bytes of all keys, those being built included."""
        return sum(_size(folder) for folder in self.folders(building=True))

    def bytes_of(self, key: str) -> int:
        """Bytes of a key's fields; 0 where there is none."""
        return _size(self._folder(key))

    def remove(self, key: str) -> bool:
        """Remove a key that nobody uses; says whether it is gone."""
        folder = self._folder(key)
        with translated(self.root), self._locked():
            return not folder.exists() or self._evict(folder)

    def sweep(self) -> None:
        """Delete what dead processes left half built or half deleted."""
        if self.root.is_dir():
            with translated(self.root), self._locked():
                self._sweep()

    def _find(self, folder: Path, fields: Mapping[str, Field], count: int) -> Shards | None:
        shards = self.get(folder.name)
        if shards is None or (shards.count == count and dict(shards.layout) == dict(fields)):
            return shards
        shards.close()
        return None

    def _build(self, folder: Path, plan: Writer, build: Callable[[Writer], None]) -> Shards:
        with translated(self.root), self._locked():
            self._sweep()
            self._discard(folder)
            self._make_room(sum(field.row_bytes for field in plan.fields.values()) * plan.count)
            building, held, writer = self._reserve(folder.name, plan)
        try:
            build(writer)
            with translated(self.root):
                files = writer.finish().files(folder)
                with self._locked():
                    building.rename(folder)
                    held.share()
            shards = Shards(folder, seal=seal_of(list(files.values())))
            shards.fields  # noqa: B018 - opened, so that nobody evicts it from here on
            return shards
        finally:
            writer.close()
            held.release()
            shutil.rmtree(building, ignore_errors=True)

    def _reserve(self, key: str, plan: Writer) -> tuple[Path, marker.Marker, Writer]:
        """A building folder at its full size, so that other builders count it and a full disk shows itself now."""
        building = Path(tempfile.mkdtemp(prefix=f"{_BUILDING}{key}-", dir=self.root))
        held = marker.create(building)
        writer = Writer(building, plan.fields, plan.count)
        try:
            writer.allocate()
        except BaseException:
            writer.close()
            held.release()
            shutil.rmtree(building, ignore_errors=True)
            raise
        return building, held, writer

    def _make_room(self, needed: int) -> None:
        """Evict the least recently used until ``needed`` bytes fit."""
        if needed > self.max_bytes:
            raise ShardsTooLargeError(
                f"{self.root}: {needed:,} bytes do not fit into the budget of {self.max_bytes:,}; raise the budget"
            )
        excess = self.used_bytes() + needed - self.max_bytes
        for folder in sorted(self.folders(), key=marker.last_used):
            if excess <= 0:
                return
            size = _size(folder)
            if self._evict(folder):
                excess -= size
        if excess > 0:
            raise ShardsTooLargeError(
                f"{self.root}: {needed:,} bytes do not fit beside what other processes use within the budget of "
                f"{self.max_bytes:,} bytes; raise the budget or wait for them"
            )

    def _evict(self, folder: Path) -> bool:
        held = marker.seize(folder)
        if held is None:
            return False
        self._discard(folder)
        held.release()
        return True

    def _discard(self, folder: Path) -> None:
        """Take a folder out of sight at once, then delete it; memory maps that are open on it stay valid."""
        if not folder.exists():
            return
        trash = Path(tempfile.mkdtemp(prefix=_EVICTED, dir=self.root))
        folder.rename(trash / folder.name)
        shutil.rmtree(trash, ignore_errors=True)

    def _sweep(self) -> None:
        for folder in [*self.root.glob(f"{_BUILDING}*"), *self.root.glob(f"{_EVICTED}*")]:
            if held := marker.seize(folder):
                shutil.rmtree(folder, ignore_errors=True)
                held.release()

    def folders(self, *, building: bool = False) -> list[Path]:
        """The folders of all keys, and of those that are being built."""
        if not self.root.is_dir():
            return []
        return [
            folder
            for folder in self.root.iterdir()
            if (folder / marker.MARKER).is_file()
            and (not folder.name.startswith(".") or (building and folder.name.startswith(_BUILDING)))
        ]

    def _folder(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError(f"a shard key must be letters, digits and ._- (at most 200), got {key!r}")
        return self.root / key

    def _locked(self, key: str | None = None) -> FileLock:
        """The lock of a key, or the store's own, which is held only for moments."""
        locks = self.root / ".locks"
        with translated(self.root):
            locks.mkdir(parents=True, exist_ok=True)
        return FileLock(locks / ("store" if key is None else f"key-{key}"))


def _size(folder: Path) -> int:
    total = 0
    for path in folder.glob("*.bin"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total
