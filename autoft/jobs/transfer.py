"""A run's files as lines of a job's log: Ray lets a job's log be read from outside, and no file.

Each line begins with a mark, since Ray writes to the log too: a header (JSON: name, size, SHA-256) for each file, its
content in base64, and a last line. Nothing of a log is ever run or unpacked, and names outside of `FILES` are refused.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from io import BufferedRandom
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from autoft.errors import ClusterError, RunError
from autoft.files import translated

FILES = (
    "search.yaml",
    "split.json",
    "best_recipe.yaml",
    "best_model.safetensors",
    "trials.csv",
    "history.csv",
    "summary.json",
)
"""What is fetched; in this order, so that what comes last tells of what came before."""
_HEADER, _DATA, _END = "autoft-file ", "autoft-data ", "autoft-end"
_CHUNK_BYTES = 192 * 1024
"""Ray passes on a line as one message, and 4 MiB at most."""


def sent(folder: Path, have: Mapping[str, str]) -> Iterator[str]:
    """The lines of a run's files.

    Args:
        folder: the run.
        have: digests of what is there already, by file name.

    Raises:
        RunError: no search began here.
        StorageError: a file cannot be read.
    """
    present = [name for name in FILES if (folder / name).is_file()]
    if "search.yaml" not in present:
        raise RunError(
            f"{folder}: is not a run: it has no search.yaml; the search did not begin, autoft logs tells why"
        )
    for name in present:
        with translated(folder / name), (folder / name).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            header = {"name": name, "bytes": file.tell(), "sha256": digest, "same": have.get(name) == digest}
            yield _HEADER + json.dumps(header)
            file.seek(0)
            while not header["same"] and (chunk := file.read(_CHUNK_BYTES)):
                yield _DATA + base64.b64encode(chunk).decode("ascii")
    yield _END


@dataclass(frozen=True)
class Received:
    """What came."""

    files: tuple[str, ...]
    """New or changed ones."""
    same: tuple[str, ...] = ()
    """Those that were there already."""
    nbytes: int = 0
    """Of the new ones."""

    @property
    def names(self) -> tuple[str, ...]:
        """All files of the run that are here now, in the order of `FILES`."""
        return tuple(name for name in FILES if name in {*self.files, *self.same})


def received(pieces: Iterable[str], folder: Path) -> Received | None:
    """Write the files that a log holds; all of them, or none if anything is wrong.

    Args:
        pieces: of the log.
        folder: made if it is not there.

    Returns:
        What came; None if the log ended before the last line.

    Raises:
        ClusterError: a name that is not asked for, or a content that is not what its header says.
        StorageError: the disk refuses.
    """
    with translated(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".fetch-", dir=folder) as scratch, ExitStack() as stack:
            taking = _Taking(Path(scratch), stack)
            if not any(taking.line(line) for line in _lines(pieces)):
                return None
            taking.close()
            for name in taking.files:
                (Path(scratch) / name).replace(folder / name)
            return Received(tuple(taking.files), tuple(taking.same), taking.nbytes)


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of the files of `FILES` that are in a folder."""
    found = {}
    for name in FILES:
        if (folder / name).is_file():
            with translated(folder / name), (folder / name).open("rb") as file:
                found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


@dataclass
class _Taking:
    """Files on their way in: one is open at a time."""

    scratch: Path
    stack: ExitStack
    files: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    nbytes: int = 0
    _open: BufferedRandom | None = None
    _due: dict[str, Any] = field(default_factory=dict)

    def line(self, line: str) -> bool:
        """Take a line; whether it was the last one."""
        if line.startswith(_HEADER):
            self.close()
            self._begin(_parsed(line.removeprefix(_HEADER)))
        elif line.startswith(_DATA):
            self._write(line.removeprefix(_DATA))
        return line == _END

    def close(self) -> None:
        """Compare what came with what the header said."""
        if self._open is None:
            return
        self._open.seek(0)
        digest, size = hashlib.file_digest(self._open, "sha256").hexdigest(), self._open.tell()
        self._open.close()
        self._open = None
        if (digest, size) != (self._due["sha256"], self._due["bytes"]):
            raise ClusterError(
                f"{self._due['name']}: came damaged: {size} bytes with SHA-256 {digest[:12]}, must be "
                f"{self._due['bytes']} with {self._due['sha256'][:12]}; fetch again"
            )

    def _begin(self, header: dict[str, Any]) -> None:
        name = header["name"]
        if name not in FILES or name in {*self.files, *self.same}:
            raise ClusterError(f"the job sent a file {name!r}, which was not asked for; nothing was kept")
        if header["same"]:
            self.same.append(name)
            return
        self.files.append(name)
        self._due = header
        self._open = self.stack.enter_context((self.scratch / name).open("w+b"))

    def _write(self, text: str) -> None:
        if self._open is None:
            raise ClusterError("the job sent data without a file; nothing was kept, fetch again")
        try:
            chunk = base64.b64decode(text, validate=True)
        except binascii.Error:
            raise ClusterError(f"{self._due['name']}: came damaged; fetch again") from None
        self.nbytes += len(chunk)
        if self._open.tell() + len(chunk) > self._due["bytes"]:
            raise ClusterError(f"{self._due['name']}: is longer than its {self._due['bytes']} bytes; nothing was kept")
        self._open.write(chunk)


def _parsed(text: str) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except ValueError:
        header = None
    wanted = {"name": str, "bytes": int, "sha256": str, "same": bool}
    if not isinstance(header, dict) or any(type(header.get(key)) is not kind for key, kind in wanted.items()):
        raise ClusterError("the job sent a file's header that is none; nothing was kept, fetch again")
    return header


def _lines(pieces: Iterable[str]) -> Iterator[str]:
    """Whole lines of a text that comes in pieces; what follows the last line break is no line yet."""
    rest = ""
    for piece in pieces:
        *whole, rest = (rest + piece).split("\n")
        yield from (line.rstrip("\r") for line in whole)
