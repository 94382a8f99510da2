"""What may be given by name as a source, told before anything is read or imported."""

from pathlib import Path

from autoft.errors import DataError, UnknownNameError, near

BUILT_IN = ("digits",)
"""Data sets that come with an installed package."""
TABLES = frozenset({".csv", ".tsv", ".parquet"})
ARRAYS = ".npz"
_ARCHIVES = frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar"})
KINDS = "an image folder, a CSV or parquet manifest, a .npz file"


def check_named(source: str | Path) -> None:
    """Refuse a path or name where there is nothing that can be read.

    Raises:
        UnknownNameError: neither a path nor a built-in data set.
        DataError: there is nothing, or a file of a kind that is not read.
    """
    if source in BUILT_IN:
        return
    if source == "":
        raise DataError(f"data: no source was given, got an empty name; give {KINDS} or {', '.join(BUILT_IN)}")
    path = Path(source).expanduser()
    if path.is_dir():
        return
    if not path.exists():
        raise _missing(path)
    suffix = path.suffix.lower()
    if suffix in _ARCHIVES:
        raise DataError(f"{path}: an archive ({suffix}) is not read; unpack it, and give the folder")
    if suffix not in {*TABLES, ARRAYS}:
        raise DataError(f"{path}: a file {suffix or 'without an extension'} is not read; give {KINDS}")


def _missing(path: Path) -> DataError | UnknownNameError:
    parent = path.absolute().parent
    siblings = [child.name for child in parent.iterdir()] if parent.is_dir() else []
    hint = near(path.name, [*BUILT_IN, *siblings])
    if path.name == str(path) and not path.suffix:
        return UnknownNameError(
            f"data {str(path)!r} is neither a path nor a built-in data set ({', '.join(BUILT_IN)}){hint}; give {KINDS}"
        )
    return DataError(f"{path}: does not exist{hint}; give {KINDS}")
