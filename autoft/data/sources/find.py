"""Which kind of source something is."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from autoft.data.decode import Frame
from autoft.data.named import ARRAYS, KINDS, check_named
from autoft.data.sources.arrays import list_arrays
from autoft.data.sources.builtin import BUILTINS
from autoft.data.sources.datasets import list_datasets
from autoft.data.sources.folder import list_folder
from autoft.data.sources.listing import Listing
from autoft.data.sources.manifest import list_manifest
from autoft.errors import DataError
from autoft.shards import ShardStore

Source: TypeAlias = str | Path | Sequence[Any]
"""A path, the name of a built-in data set, or a pair or triple of torch Datasets."""


def list_items(source: Source, frame: Frame | None, *, kind: str, store: ShardStore) -> Listing:
    """List what a source holds.

    Raises:
        UnknownNameError: neither a path nor a built-in data set.
        DataError: it cannot be used as it is.
    """
    if isinstance(source, str | Path):
        check_named(source)
        return _list_named(source, frame, kind=kind, store=store)
    if not isinstance(source, Sequence) or len(source) not in {2, 3}:
        raise DataError(
            f"data must be {KINDS}, a built-in name ({', '.join(BUILTINS)}) or a pair (train, val) or triple "
            f"(train, val, test) of torch Datasets, got {_what(source)}"
        )
    return list_datasets(source, frame)


def _list_named(source: str | Path, frame: Frame | None, *, kind: str, store: ShardStore) -> Listing:
    if source in BUILTINS:
        return BUILTINS[str(source)](frame)
    path = Path(source).expanduser()
    if path.is_dir():
        return list_folder(path, frame, kind=kind)
    if path.suffix.lower() == ARRAYS:
        return list_arrays(path, frame, store)
    return list_manifest(path, frame, kind=kind)


def _what(source: object) -> str:
    return f"{len(source)} of them" if isinstance(source, Sequence) else type(source).__name__
