"""Safetensors files, written straight from the tensors' memory.

The package's own writer first puts the whole file together in memory, and its digest would be taken of a second pass:
for what is written after every evaluation that is most of the time.
"""

import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.complex64: "C64",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint64: "U64",
    torch.uint32: "U32",
    torch.uint16: "U16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_AT_ONCE_BYTES = 2**20
"""So much is still in the processor's cache when it is written after it was added to the digest."""
_PARTS_AT_ONCE = 1024
"""The least that POSIX lets a system take in one call, and what Linux takes."""


def digest_of(content: bytes | memoryview, before: int = 0) -> int:
    """CRC-32, as shards have it: it tells damage, not intent."""
    return zlib.crc32(content, before)


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> int:
    """Write tensors of the CPU, contiguous ones, by name, into a new file; an empty one may be there.

    Returns:
        the digest of the file's content.

    Raises:
        OSError: the disk refuses.
        KeyError: safetensors knows nothing of the kind.
    """
    ordered = dict(sorted(tensors.items(), key=lambda item: -item[1].element_size()))  # so that each lies aligned
    digest = 0
    # Not "wb": what was cut to nothing before, some file systems send to the disk as soon as it is closed.
    with path.open("ab", buffering=0) as file:
        for parts in _portions([_header(ordered), *map(_bytes_of, ordered.values())]):
            for part in parts:
                digest = digest_of(part, digest)
            _write_all(file.fileno(), parts)
    return digest


def _header(tensors: Mapping[str, Tensor]) -> memoryview:
    """Its own length, then kind, shape and place of each tensor."""
    described, end = {}, 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.nbytes
        described[name] = {"dtype": _NAMES[tensor.dtype], "shape": [*tensor.shape], "data_offsets": [start, end]}
    text = json.dumps(described, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return memoryview(len(text).to_bytes(8, "little") + text)


def _bytes_of(tensor: Tensor) -> memoryview:
    return tensor.detach().reshape(-1).view(torch.uint8).numpy().data


def _portions(parts: Sequence[memoryview]) -> Iterator[list[memoryview]]:
    """A few parts at a time."""
    portion: list[memoryview] = []
    size = 0
    for part in parts:
        portion.append(part)
        size += part.nbytes
        if size >= _AT_ONCE_BYTES or len(portion) == _PARTS_AT_ONCE:
            yield portion
            portion, size = [], 0
    yield portion


def _write_all(descriptor: int, parts: list[memoryview]) -> None:
    """A disk that is nearly full takes less than it was given."""
    left = [part for part in parts if part.nbytes]
    while left:
        taken = os.writev(descriptor, left)
        while left and taken >= left[0].nbytes:
            taken -= left.pop(0).nbytes
        if left:
            left[0] = left[0][taken:]
