"""Which kind of source something is."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from autoft.data.decode import Frame
from autoft.data.sources.arrays import list_arrays
from autoft.data.sources.builtin import BUILTINS
from autoft.data.sources.datasets import list_datasets
from autoft.data.sources.folder import list_folder
from autoft.data.sources.listing import Listing
from autoft.data.sources.manifest import list_manifest
from autoft.errors import DataError, UnknownNameError, near
from autoft.shards import ShardStore

Source: TypeAlias = str | Path | Sequence[Any]
"""A path, the name of a built-in data set, or a pair or triple of torch Datasets."""

_TABLES = {".csv", ".tsv", ".parquet"}
_KINDS = "an image folder, a CSV or parquet manifest, a .npz file"


def list_items(source: Source, frame: Frame | None, *, kind: str, store: ShardStore) -> Listing:
    """List what a source holds.

    Raises:
        UnknownNameError: neither a path nor a built-in data set.
        DataError: it cannot be used as it is.
    """
    if isinstance(source, str) and source in BUILTINS:
        return BUILTINS[source](frame)
    if source == "":
        raise DataError(f"data: no source was given, got an empty name; give {_KINDS} or {', '.join(BUILTINS)}")
    if isinstance(source, str | Path):
        return _list_path(Path(source).expanduser(), frame, kind=kind, store=store)
    if not isinstance(source, Sequence) or len(source) not in {2, 3}:
        raise DataError(
            f"data must be {_KINDS}, a built-in name ({', '.join(BUILTINS)}) or a pair (train, val) or triple "
            f"(train, val, test) of torch Datasets, got {_what(source)}"
        )
    return list_datasets(source, frame)


def _list_path(path: Path, frame: Frame | None, *, kind: str, store: ShardStore) -> Listing:
    if path.is_dir():
        return list_folder(path, frame, kind=kind)
    if not path.exists():
        raise _missing(path)
    suffix = path.suffix.lower()
    if suffix in _TABLES:
        return list_manifest(path, frame, kind=kind)
    if suffix == ".npz":
        return list_arrays(path, frame, store)
    raise DataError(f"{path}: a file {suffix or 'without an extension'} is not read; give {_KINDS}")


def _missing(path: Path) -> DataError | UnknownNameError:
    parent = path.absolute().parent
    siblings = [child.name for child in parent.iterdir()] if parent.is_dir() else []
    hint = near(path.name, [*BUILTINS, *siblings])
    if path.name == str(path) and not path.suffix:
        return UnknownNameError(
            f"data {str(path)!r} is neither a path nor a built-in data set ({', '.join(BUILTINS)}){hint}; give {_KINDS}"
        )
    return DataError(f"{path}: does not exist{hint}; give {_KINDS}")


def _what(source: object) -> str:
    return f"{len(source)} of them" if isinstance(source, Sequence) else type(source).__name__
