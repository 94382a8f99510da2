"""What a mirror holds of a run: the names of its files with size and digest, and who wrote it last."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from typing import Any

from autoft.errors import StorageError

FOLDER = "resume"
"""Below the run's URL: all that a resume needs."""
MANIFEST = f"{FOLDER}/manifest.json"
_FORMAT = 1
_HEX = re.compile(r"[0-9a-f]{8,64}")


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the run."""

    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of a run as they were at one moment; written last, so that what it names is there."""

    writer: str
    """Which working folder they came from."""
    generation: int = 0
    """How often the run was written, by whomever."""
    files: Mapping[str, Entry] = field(default_factory=dict)
    """By path in the run folder."""

    def text(self) -> bytes:
        """As JSON."""
        return (json.dumps({"format": _FORMAT, **asdict(self)}, indent=1) + "\n").encode()

    @classmethod
    def parse(cls, text: bytes, where: str) -> "Manifest":
        """Read what `text` gave, from a place that anyone may write to.

        Raises:
            StorageError: it was damaged, or written by another version.
        """
        try:
            plain = json.loads(text)
            if plain["format"] != _FORMAT:
                raise StorageError(f"{where}: was written by another version of autoft; go on with that one")
            files = {_safe(name): _entry(each) for name, each in plain["files"].items()}
            return cls(_hex(plain["writer"]), int(plain["generation"]), files)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise StorageError(f"{where}: is damaged: {error}; restore it, or choose another --name") from None


def place_of(name: str, entry: Entry) -> str:
    """Where a file of the run lies below its URL.

    What a person looks for has its own name there, and is replaced. The rest lies under its digest: it is never
    changed, so whatever a manifest names was whole when that was written.
    """
    return name if is_result(name) else f"{FOLDER}/objects/{entry.digest}"


def is_result(name: str) -> bool:
    """Whether a file is for people, and can be made again from the rest."""
    return "/" not in name and not is_needed(name)


def is_needed(name: str) -> bool:
    """Whether nothing goes on without the file."""
    return name in {"search.yaml", "split.json", "study.db"}


def _safe(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in name or "\0" in name:
        raise ValueError(f"names {name!r}, which is no file in a run's folder")
    if path.parts[0].startswith("."):
        raise ValueError(f"names {name!r}, which no run has")
    return str(path)


def _entry(plain: Mapping[str, Any]) -> Entry:
    return Entry(int(plain["size"]), _hex(plain["digest"]))


def _hex(text: Any) -> str:
    if not isinstance(text, str) or not _HEX.fullmatch(text):
        raise ValueError(f"{text!r} is no digest")
    return text
