"""A run folder as it is at one moment, while others write to it: its files held by links, its databases copied."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TypeAlias

Copies: TypeAlias = Mapping[str, Callable[[Path, Path], None]]
"""By name, how to copy a file that is written to all the time; takes it and the path of the copy."""
Sign: TypeAlias = tuple[int, int, int]
"""What changes when another file takes a name: number on its disk, time, size."""

_LEFT_OUT = {"worker_pid"}
_TRIES = 10


@dataclass(frozen=True, slots=True)
class Staged:
    """A file that stays as it is, whatever becomes of the one it was made of."""

    path: Path
    sign: Sign


def signs(folder: Path, copied: Copies) -> dict[str, Sign]:
    """The files of a run that are to be mirrored; those that are copied with what belongs to them."""
    found = {}
    for name in _names(folder, copied):
        if sign := _sign(folder / name):
            found[name] = sign
    for name in (f"{own}{more}" for own in copied for more in ("", "-wal")):
        if sign := _sign(folder / name):
            found[name] = sign
    return found


def staged(folder: Path, copied: Copies, stage: Path) -> dict[str, Staged]:
    """The files of a run at one moment, by their path in it.

    Files are only ever replaced as a whole, so a link holds them. A database is copied between two looks at them; if
    they differ, it is done again, so that what the database tells and what the files hold belong together. Where they
    never stand still, everything of both looks is taken: a reader prefers the newest.

    Args:
        folder: the run.
        copied: how to copy what is written to all the time.
        stage: an empty folder on the same disk.
    """
    found: dict[str, Staged] = {}
    for turn in range(_TRIES):
        before = _linked(folder, copied, stage / f"{turn}")
        copies = _copied(folder, copied, stage / f"{turn}-copies")
        after = {name: sign for name in _names(folder, copied) if (sign := _sign(folder / name))}
        if after == {name: each.sign for name, each in before.items()}:
            return before | copies
        found = before | _linked(folder, copied, stage / f"{turn}-after") | copies
    return found


def digest_of(file: Path) -> str:
    """The digest of a file's content."""
    seen = blake2b(digest_size=16)
    with file.open("rb") as source:
        while chunk := source.read(2**22):
            seen.update(chunk)
    return seen.hexdigest()


def _linked(folder: Path, copied: Copies, stage: Path) -> dict[str, Staged]:
    found = {}
    stage.mkdir(parents=True)
    for number, name in enumerate(_names(folder, copied)):
        link = stage / f"{number}"
        try:
            _hold(folder / name, link)
        except FileNotFoundError:  # gone meanwhile
            continue
        if sign := _sign(link):
            found[name] = Staged(link, sign)
    return found


def _hold(file: Path, link: Path) -> None:
    try:
        os.link(file, link)
    except FileNotFoundError:
        raise
    except OSError:  # a file system without links
        shutil.copy2(file, link)


def _copied(folder: Path, copied: Copies, stage: Path) -> dict[str, Staged]:
    found = {}
    stage.mkdir(parents=True)
    for name, copy in copied.items():
        if (folder / name).exists():
            copy(folder / name, stage / name)
            if sign := _sign(stage / name):
                found[name] = Staged(stage / name, sign)
    return found


def _names(folder: Path, copied: Copies) -> Iterator[str]:
    """Files by their path in the folder; not what is hidden, locked or half written."""
    for where, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for file in sorted(files):
            if file.startswith(".") or file.endswith(".lock") or file in _LEFT_OUT:
                continue
            name = (Path(where) / file).relative_to(folder).as_posix()
            if not any(name == own or name.startswith(f"{own}-") for own in copied):
                yield name


def _sign(file: Path) -> Sign | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return (found.st_ino, found.st_mtime_ns, found.st_size)
