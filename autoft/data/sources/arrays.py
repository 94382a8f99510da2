"""Arrays in a .npz file: images or tensors, and their labels."""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from autoft.data.decode import Frame, fit, from_array
from autoft.data.items import Row
from autoft.data.sources.files import image_fields, needed
from autoft.data.sources.listing import TEST, TRAIN, VAL, Listing, array_digest, digest
from autoft.errors import AutoftError, DataError, near
from autoft.record import FieldSpec
from autoft.shards import Field, Shards, ShardsTooLargeError, ShardStore, Writer

INPUT_NAMES = ("x", "images", "data")
LABEL_NAMES = ("y", "labels", "targets")
GROUP_NAMES = ("groups", "group")
_SPLITS = {f"_{split}": split for split in (TRAIN, VAL, TEST)}
_CHUNK_BYTES = 1 << 22


@dataclass
class MappedRows:
    """An array of a file that is mapped where it is used; pickles as its path."""

    path: str
    offset: int
    shape: tuple[int, ...]
    dtype: str
    _map: NDArray[Any] | None = field(default=None, repr=False, compare=False)

    def __getitem__(self, index: int) -> NDArray[Any]:
        if self._map is None:
            mapped = np.memmap(self.path, np.dtype(self.dtype), "r", self.offset, self.shape)
            self._map = mapped.view(np.ndarray)
        return np.asarray(self._map[index])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_map": None}


@dataclass(frozen=True)
class ShardRows:
    """An array that was unpacked into shards."""

    shards: Shards
    shape: tuple[int, ...]
    dtype: str

    def __getitem__(self, index: int) -> NDArray[Any]:
        return np.asarray(self.shards.fields["rows"][index])


@dataclass(frozen=True)
class ArrayImages:
    """uint8 images (H, W), (H, W, 1) or (H, W, 3) of arrays one behind the other."""

    arrays: tuple[Any, ...]
    places: NDArray[np.int64]
    """Array and row of each item (n, 2)."""
    frame: Frame
    image: bool = True
    parallel: bool = True

    @property
    def fields(self) -> Mapping[str, FieldSpec]:
        """One image, resized."""
        return image_fields(self.frame)

    def raw(self, index: int) -> NDArray[Any]:
        """One image as it is."""
        array, row = self.places[index].tolist()
        return np.asarray(self.arrays[array][row])

    def read(self, index: int) -> Row:
        """One image, resized."""
        return {"input": fit(from_array(self.raw(index)), self.frame)}


@dataclass(frozen=True)
class ArrayTensors:
    """Tensors of arrays one behind the other; float64 and float16 become float32."""

    arrays: tuple[Any, ...]
    places: NDArray[np.int64]
    fields: Mapping[str, FieldSpec]
    image: bool = False
    parallel: bool = False

    def raw(self, index: int) -> NDArray[Any]:
        """One tensor as it is."""
        array, row = self.places[index].tolist()
        return np.asarray(self.arrays[array][row])

    def read(self, index: int) -> Row:
        """One tensor.

        Raises:
            ValueError: a value is not finite.
        """
        values = self.raw(index).astype(self.fields["input"].dtype)
        return {"input": check_finite(values)}


def list_arrays(path: Path, frame: Frame | None, store: ShardStore) -> Listing:
    """List the items of a .npz file.

    Inputs are called x, images or data; labels y, labels or targets; optionally groups. With _train, _val and _test
    behind the names, the splits are given. uint8 arrays are images (N, H, W), (N, H, W, 1) or (N, H, W, 3), others are
    tensors.

    Raises:
        DataError: unreadable, a name is missing, or a shape that is neither.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            parts, notes = _parts(members, path)
            blocks = [
                Block(
                    part.split,
                    _rows(path, archive, members[part.inputs], store),
                    _small(archive, members[part.labels], path),
                    _small(archive, members[part.groups], path) if part.groups else None,
                )
                for part in parts
            ]
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, KeyError) as error:
        if isinstance(error, AutoftError):
            raise
        raise DataError(
            f"{path}: cannot be read as a .npz file ({error}); write arrays of numbers with numpy.savez"
        ) from None
    return replace(arrays_listing(path.stem, blocks, frame, where=str(path)), notes=notes)


@dataclass(frozen=True)
class Block:
    """Inputs, labels and groups that belong together, one row per item."""

    split: str
    """Empty when splits are not given."""
    rows: Any
    """Has ``shape``, ``dtype`` and rows by number."""
    labels: NDArray[Any]
    groups: NDArray[Any] | None = None


def arrays_listing(name: str, blocks: Sequence[Block], frame: Frame | None, *, where: str) -> Listing:
    """A listing of arrays in memory, in shards or mapped; items are called by their number.

    Raises:
        DataError: lengths or shapes that do not fit each other.
    """
    blocks = sorted(blocks, key=lambda block: block.split)
    for block in blocks:
        for column in (block.labels, block.groups):
            if column is not None and (not block.rows.shape or len(column) != block.rows.shape[0]):
                raise DataError(
                    f"{where}: inputs have shape {tuple(block.rows.shape)}, labels or groups have {len(column)} rows; "
                    "there must be one row per item"
                )
    _check_alike({block.labels.shape[1:] for block in blocks}, "labels", where)
    counts = [int(block.rows.shape[0]) for block in blocks]
    width = max(6, len(str(max(counts))))
    ends = [f"{block.split}/" if block.split else "" for block in blocks]
    names = tuple(f"{end}{row:0{width}}" for end, count in zip(ends, counts, strict=True) for row in range(count))
    if not names:
        raise DataError(f"{where}: has no items; give one row per item")
    numbers = np.repeat(np.arange(len(blocks)), counts)
    places = np.stack([numbers, np.concatenate([np.arange(count) for count in counts])], axis=1)
    origin = _origin(tuple(block.rows for block in blocks), places, frame, where)
    groups = [_flat(block.groups, where) for block in blocks if block.groups is not None]
    splits = np.array([block.split for block in blocks])[numbers]
    return Listing(
        name=name,
        names=names,
        labels=np.concatenate([block.labels for block in blocks]),
        origin=origin,
        digests=tuple(array_digest(origin.raw(index)) for index in range(len(names))),
        given=splits if blocks[0].split else None,
        groups=np.concatenate(groups).astype(str) if groups else None,
    )


def _check_alike(shapes: set[tuple[int, ...]], what: str, where: str) -> None:
    if len(shapes) > 1:
        raise DataError(f"{where}: {what} differ in shape ({', '.join(map(str, sorted(shapes)))}); they must be equal")


def _flat(groups: NDArray[Any], where: str) -> NDArray[Any]:
    """Groups (n,) or (n, 1) as (n,)."""
    if groups.size != len(groups):
        raise DataError(f"{where}: groups have shape {groups.shape}; there must be one per item")
    return groups.reshape(-1)


def check_finite(values: NDArray[Any]) -> NDArray[Any]:
    """The values themselves.

    Raises:
        ValueError: one of them is not finite.
    """
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError("a value is not finite")
    return values


def tensor_dtype(dtype: np.dtype[Any]) -> str:
    """The type a model is fed with: floating point ones become float32."""
    return "float32" if dtype.kind == "f" else dtype.name


def _origin(
    inputs: tuple[Any, ...], places: NDArray[np.int64], frame: Frame | None, where: str
) -> ArrayImages | ArrayTensors:
    shapes = {tuple(rows.shape[1:]) for rows in inputs}
    dtypes = {np.dtype(rows.dtype) for rows in inputs}
    if len(dtypes) > 1:
        raise DataError(f"{where}: inputs are of several types ({', '.join(sorted(map(str, dtypes)))}); use one")
    dtype = dtypes.pop()
    if dtype == np.uint8:
        for shape in shapes:
            if len(shape) != 2 and not (len(shape) == 3 and shape[2] in {1, 3}):
                raise DataError(
                    f"{where}: uint8 inputs are images and must be (N, H, W), (N, H, W, 1) or (N, H, W, 3), got "
                    f"(N, {', '.join(map(str, shape))}); transpose them, or give other inputs as float32"
                )
        return ArrayImages(inputs, places, needed(frame, where))
    if dtype.kind not in "fiub":
        raise DataError(f"{where}: inputs are of type {dtype}; they must be numbers")
    _check_alike(shapes, "inputs", where)
    return ArrayTensors(inputs, places, {"input": FieldSpec(shapes.pop(), tensor_dtype(dtype))})


@dataclass(frozen=True)
class _Part:
    """The names of members that belong together."""

    split: str
    inputs: str
    labels: str
    groups: str


def _parts(members: Mapping[str, Any], path: Path) -> tuple[list[_Part], tuple[str, ...]]:
    """Which members are inputs, labels and groups, of which split."""
    split = any(name + ending in members for name in INPUT_NAMES for ending in _SPLITS)
    parts = []
    for ending, given in _SPLITS.items() if split else [("", "")]:
        inputs = _one(members, INPUT_NAMES, ending, path)
        if not inputs and split:
            continue
        labels = _one(members, LABEL_NAMES, ending, path)
        for found, names in ((inputs, INPUT_NAMES), (labels, LABEL_NAMES)):
            if not found:
                raise DataError(
                    f"{path}: has no array {names[0] + ending!r}{near(names[0] + ending, members)}; it has "
                    f"{', '.join(sorted(members)) or 'none'}; inputs are called {', '.join(INPUT_NAMES)}, labels "
                    f"{', '.join(LABEL_NAMES)}, each with _train, _val, _test behind it where splits are given"
                )
        parts.append(_Part(given, inputs, labels, _one(members, GROUP_NAMES, ending, path)))
    used = {name for part in parts for name in (part.inputs, part.labels, part.groups)}
    spare = sorted(set(members) - used)
    notes = (f"arrays that are not read: {', '.join(spare)}",) if spare else ()
    if len({bool(part.groups) for part in parts}) > 1:
        raise DataError(f"{path}: groups are given for some splits only; give them for all or for none")
    return parts, notes


def _one(members: Mapping[str, Any], names: tuple[str, ...], ending: str, path: Path) -> str:
    found = [name + ending for name in names if name + ending in members]
    if len(found) > 1:
        raise DataError(f"{path}: has both {found[0]} and {found[1]}; keep one of them")
    return found[0] if found else ""


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(file)
    return shape, fortran, dtype


def _small(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> NDArray[Any]:
    """Labels or groups, read as a whole."""
    with archive.open(info) as file:
        array = npy.read_array(file, allow_pickle=False)
    if array.ndim < 1:
        raise DataError(f"{path}: {info.filename} is a single value; it must have one row per item")
    # What is no UTF-8 stays told apart: two classes must not become one.
    return np.char.decode(array, "utf-8", "backslashreplace") if array.dtype.kind == "S" else np.asarray(array)


def _rows(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo, store: ShardStore) -> MappedRows | ShardRows:
    """Inputs, never read as a whole: mapped where the member is not compressed, else unpacked into shards."""
    with archive.open(info) as file:
        shape, fortran, dtype = _header(file)
        header = file.tell()
    if dtype.hasobject:
        raise DataError(f"{path}: {info.filename} holds Python objects, which are not read; save it as numbers")
    if fortran and len(shape) > 1:
        raise DataError(f"{path}: {info.filename} is in Fortran order; save numpy.ascontiguousarray of it")
    if info.compress_type == zipfile.ZIP_STORED:
        return MappedRows(str(path.absolute()), _data_offset(path, info) + header, shape, dtype.str)
    return _unpacked(path, archive, info, store, shape=shape, dtype=dtype)


def _data_offset(path: Path, info: zipfile.ZipInfo) -> int:
    """Where a member's bytes begin: its local header is 30 bytes, then a name and an extra field."""
    with path.open("rb") as file:
        file.seek(info.header_offset + 26)
        lengths = file.read(4)
    return info.header_offset + 30 + int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")


def _unpacked(
    path: Path,
    archive: zipfile.ZipFile,
    info: zipfile.ZipInfo,
    store: ShardStore,
    *,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
) -> ShardRows:
    stat = path.stat()
    row = Field(shape[1:], dtype.name)
    key = digest(*(repr(part).encode() for part in (str(path.absolute()), stat.st_size, stat.st_mtime_ns, info.CRC)))

    def build(writer: Writer) -> None:
        with archive.open(info) as file:
            _header(file)
            step = max(1, _CHUNK_BYTES // max(1, row.row_bytes))
            for start in range(0, shape[0], step):
                stop = min(start + step, shape[0])
                data = file.read((stop - start) * row.row_bytes)
                rows = np.frombuffer(data, dtype).reshape(stop - start, *shape[1:])
                writer.put(slice(start, stop), {"rows": rows.astype(row.dtype, copy=False)})

    try:
        shards = store.get_or_build(f"npz-{key.hex()}", {"rows": row}, shape[0], build)
    except ShardsTooLargeError as error:
        raise DataError(
            f"{path}: {info.filename} is compressed and does not fit into the cache when unpacked ({error}); "
            "save it with numpy.savez, without compression, to have it read from where it is"
        ) from None
    return ShardRows(shards, shape, row.dtype)
