"""What a worker finds on another node than the driver's: the run folder, the data, and caches of the node's own."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from autoft.cache import Reuse
from autoft.data import DataHandle, open_data
from autoft.errors import AutoftError, StorageError
from autoft.recipe import DataConfig
from autoft.shards import ShardStore, default_max_bytes, default_root, default_roots
from autoft.tuner.given import Data
from autoft.tuner.worker import WorkerContext


@dataclass(frozen=True)
class Supply:
    """Where a search's data come from, so that every node can make them ready for its own workers."""

    source: Data
    config: DataConfig
    seed: int
    """Of the splits."""
    roots: Mapping[str, Path]
    """The driver's caches."""
    max_bytes: int | None = None
    """For decoded items; None: half of what is free on the node."""

    @classmethod
    def of(cls, source: Data, config: DataConfig, *, seed: int, max_bytes: int | None) -> "Supply":
        """As this process finds them; a path is made absolute, since other processes stand elsewhere."""
        if isinstance(source, str | Path) and Path(source).expanduser().exists():
            source = str(Path(source).expanduser().resolve())
        roots = {name: root.resolve() for name, root in default_roots().items()}
        return cls(source, config, seed, roots, max_bytes)

    def at_home(self, context: WorkerContext) -> WorkerContext:
        """The context as this node's workers need it: what is cached is this node's, what is kept is the run folder's.

        Raises:
            StorageError: the node does not see the run folder, or can neither read nor make the data.
        """
        if not context.trials.parent.is_dir():
            raise StorageError(
                f"{context.trials.parent}: the run folder is not to be seen on node {socket.gethostname()}; give a "
                "--storage-path on storage that all nodes share"
            )
        return replace(context, data=self._data(context.data), reuse=self._reuse(context.reuse))

    def _reuse(self, reuse: Reuse | None) -> Reuse | None:
        root = default_roots()["activations"]
        if reuse is None or root.resolve() == self.roots["activations"]:
            return reuse
        return replace(reuse, root=root, max_bytes=min(reuse.max_bytes, default_max_bytes(root)))

    def _data(self, data: DataHandle) -> DataHandle:
        """From the node's own cache; made anew there if need be; from the driver's where that is shared."""
        root = default_root()
        same = root.resolve() == self.roots["items"]
        if same and _readable(data):
            return data
        store = ShardStore(root, self.max_bytes or default_max_bytes(root))
        if found := data.kept_in(store):
            return found
        try:
            return self._made(data, store)
        except (AutoftError, OSError) as error:
            if _readable(data):
                return data
            raise StorageError(
                f"the data of the search cannot be read on node {socket.gethostname()}: {error}; put them, or "
                "AUTOFT_CACHE_DIR, on storage that all nodes share"
            ) from error

    def _made(self, data: DataHandle, store: ShardStore) -> DataHandle:
        made = open_data(self.source, self.config, seed=self.seed, store=store)
        if (made.fingerprint, made.content) != (data.fingerprint, data.content):
            raise StorageError(f"{self.source}: there are other data on this node than where the search was started")
        return replace(data, items=made.items)


def _readable(data: DataHandle) -> bool:
    try:
        data.read(np.arange(1))
    except (AutoftError, OSError):
        return False
    return True
