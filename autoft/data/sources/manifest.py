"""A manifest: a CSV or parquet table of image paths and labels."""

import re
from pathlib import Path, PurePath
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autoft.data.decode import Frame
from autoft.data.sources.files import ImageFiles, needed
from autoft.data.sources.listing import LABEL_SEPARATOR, SPLIT_NAMES, Listing
from autoft.errors import DataError, near

Table: TypeAlias = "dict[str, NDArray[Any]]"

_REQUIRED = ("path", "label")
_OPTIONAL = ("split", "group")
_SEPARATORS = ",;\t"
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_REMEDY = "give a CSV (UTF-8) or parquet file"


def list_manifest(path: Path, frame: Frame | None, *, kind: str) -> Listing:
    """List the rows of a table with the columns path and label, and optionally split and group.

    Paths are relative to the table's folder, or absolute. A file that is missing counts as corrupt. The cells of a CSV
    are separated by what separates its header: a comma, a semicolon or a tab.

    Raises:
        DataError: unreadable, a column is missing, or a cell breaks a rule (the row is named).
    """
    table, notes = _columns(_read(path), path)
    paths = [PurePath(text).as_posix() for text in _texts(table["path"])]
    _check_paths(paths, path)
    order = np.array(sorted(range(len(paths)), key=paths.__getitem__), dtype=np.int64)
    names = tuple(paths[row] for row in order)
    origin = ImageFiles(str(path.absolute().parent), names, needed(frame, str(path)))
    _check_any_exists(origin, path)
    given = _splits(table["split"], path) if "split" in table else None
    return Listing(
        name=path.stem,
        names=names,
        labels=_labels(table["label"], path, kind)[order],
        origin=origin,
        digests=origin.digests(),
        given=None if given is None else given[order],
        groups=_groups(table["group"], paths)[order] if "group" in table else None,
        rows=order + 1,
        notes=notes,
    )


def _read(path: Path) -> pd.DataFrame:
    """The table; cells of a CSV stay text, so that a label ``01`` stays what it is."""
    try:
        if path.suffix.lower() == ".parquet":
            return pd.read_parquet(path)
        frame = pd.read_csv(
            path, sep=_separator(path), dtype=str, keep_default_na=False, encoding="utf-8-sig", skipinitialspace=True
        )
    except (OSError, ValueError, ArithmeticError, KeyError) as error:  # pandas' and arrow's errors are ValueErrors
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: cannot be read as a table ({reason}); {_REMEDY}") from None
    if not isinstance(frame.index, pd.RangeIndex):
        raise DataError(f"{path}: cannot be read as a table (rows have more cells than the header); {_REMEDY}")
    return frame


def _separator(path: Path) -> str:
    """The first of `_SEPARATORS` in the header."""
    with path.open(encoding="utf-8-sig") as file:
        header = next((line for line in file if line.strip()), "")
    return next((separator for separator in _SEPARATORS if separator in header), ",")


def _columns(frame: pd.DataFrame, path: Path) -> tuple[Table, tuple[str, ...]]:
    columns: dict[str, Any] = {}
    for column in frame.columns:
        if columns.setdefault(name := str(column).strip().lower(), column) != column:
            raise DataError(f"{path}: has the column {name!r} twice; keep one of them")
    for name in _REQUIRED:
        if name not in columns:
            given = ", ".join(map(str, frame.columns)) or "none"
            raise DataError(
                f"{path}: has no column {name!r}{near(name, columns)}; it has {given}; "
                "the columns must be path and label, and optionally split and group"
            )
    if frame.empty:
        raise DataError(f"{path}: has no rows; give one row per image")
    table = {name: frame[columns[name]].to_numpy() for name in (*_REQUIRED, *_OPTIONAL) if name in columns}
    notes = [
        f"column {column!r} is not read{hint}"
        for column in columns
        if column not in table
        for hint in [near(column, [name for name in _OPTIONAL if name not in table])]
        if hint
    ]
    return table, tuple(notes)


def _check_paths(paths: list[str], path: Path) -> None:
    first: dict[str, int] = {}
    for row, name in enumerate(paths, start=1):
        if name in {"", "."}:
            raise DataError(f"{path}: row {row} has no path; fill it in or remove the row")
        if name in first:
            raise DataError(
                f"{path}: rows {first[name]} and {row} have the same path {name}; keep one row per image "
                "(several labels: data.task=multi_label and labels separated by ;)"
            )
        first[name] = row


def _check_any_exists(origin: ImageFiles, path: Path) -> None:
    root = Path(origin.root)
    if not any((root / name).exists() for name in origin.names):
        raise DataError(
            f"{path}: none of its {len(origin.names)} files exist, the first would be {root / origin.names[0]}; "
            f"{_remedy(origin.names[0])}"
        )


def _remedy(name: str) -> str:
    """What to do about a path at which there is nothing."""
    if _URL.match(name):
        return "URLs are not fetched: download the images, and give the paths of the files"
    if "\\" in name:
        return "write its paths with / instead of \\"
    return "paths must be absolute, or relative to the table's folder"


def _labels(cells: NDArray[Any], path: Path, kind: str) -> NDArray[Any]:
    """Labels as they are, numbers as numbers; an empty one is an error unless an image may have no label at all."""
    missing = _missing(cells)
    if missing.any() and kind != "multi_label":
        row = int(missing.argmax()) + 1
        raise DataError(
            f"{path}: {int(missing.sum())} of {len(cells)} rows have no label, the first is row {row}; "
            "fill them in or remove the rows"
        )
    if cells.dtype.kind in "iuf" or (cells.dtype.kind == "b" and kind == "regression"):
        return cells
    texts = _texts(_joined(cells, path, kind))
    numbers = _numbers(texts)
    return np.where(missing, "", np.array(texts)) if numbers is None else numbers


def _joined(cells: NDArray[Any], path: Path, kind: str) -> NDArray[Any]:
    """Lists of labels, which a parquet file may hold, as the texts that a CSV has."""
    result = cells.copy()
    for row, cell in enumerate(cells.tolist(), start=1):
        if isinstance(cell, list | np.ndarray):
            if kind != "multi_label":
                raise DataError(
                    f"{path}: row {row} has a list of labels, but data.task is {kind}; give one label per row, or set "
                    "data.task=multi_label"
                )
            result[row - 1] = LABEL_SEPARATOR.join(map(str, cell))
    return result


def _numbers(texts: list[str]) -> NDArray[np.float64] | None:
    """The cells of a CSV column of floating point numbers; integers stay text, for they may be ``01``; so does ``1_2``,
    which Python reads as a number.
    """
    if any("_" in text for text in texts):
        return None
    try:
        numbers = np.array([float(text) for text in texts])
    except ValueError:
        return None
    return None if all(text.lstrip("+-").isdecimal() for text in texts) else numbers


def _splits(cells: NDArray[Any], path: Path) -> NDArray[np.str_] | None:
    if _missing(cells).all():
        return None
    texts = _texts(cells)
    for row, text in enumerate(texts, start=1):
        if text.lower() not in SPLIT_NAMES:
            what = f"unknown split {text!r}{near(text.lower(), SPLIT_NAMES)}" if text else "no split"
            raise DataError(f"{path}: row {row} has {what}; it must be train, val or test in every row")
    return np.array([SPLIT_NAMES[text.lower()] for text in texts])


def _groups(cells: NDArray[Any], paths: list[str]) -> NDArray[np.str_]:
    """A row without a group is a group of its own."""
    missing = _missing(cells)
    texts = _texts(cells)
    return np.array(
        [f"path:{name}" if alone else f"group:{text}" for name, text, alone in zip(paths, texts, missing, strict=True)]
    )


def _missing(cells: NDArray[Any]) -> NDArray[np.bool_]:
    texts = _texts(cells)
    empty = np.array([text.lower() in {"", "nan"} for text in texts], dtype=bool)
    return np.asarray(empty | np.asarray(pd.isna(cells), dtype=bool))


def _texts(cells: NDArray[Any]) -> list[str]:
    return [str(cell).strip() for cell in cells.tolist()]
