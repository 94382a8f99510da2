"""How many items fit into memory at once, as the trials of a search have found out, by the depth they train to."""

import json
from pathlib import Path

import torch
from filelock import FileLock

from autoft.files import write_text

_ON_THE_CPU = ("can't allocate memory", "not enough memory")


class MicroBatches:
    """A file of the run that all workers share.

    Args:
        path: of the file; there is none until something did not fit.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def of(self, depth: int) -> int | None:
        """Most items at once in a stage whose gradients reach so many layer groups; None if nothing is known.

        What did not fit where fewer groups train does not fit here either.
        """
        known = self._read()
        found = [rows for other, rows in known.items() if other <= depth]
        return min(found, default=None)

    def lower(self, depth: int, rows: int) -> None:
        """Remember that no more than ``rows`` items are to be tried at this depth, and at any beyond it."""
        with FileLock(self._path.with_suffix(".lock")):
            known = self._read()
            known[depth] = min(rows, known.get(depth, rows))
            write_text(self._path, json.dumps({str(key): value for key, value in sorted(known.items())}))

    def halve(self, number: int, depth: int, rows: int) -> str | None:
        """Remember that what did not fit does not.

        Returns:
            what the user is told; None where a single item was too much.
        """
        if rows == 1:
            return None
        fits, groups = -(-rows // 2), "layer group" if depth == 1 else "layer groups"
        self.lower(depth, fits)
        return (
            f"trial {number} ran out of memory with {rows} items at once where it trains {depth} {groups}; "
            f"at this depth batches are now taken in parts of at most {fits}, their gradients added up"
        )

    def _read(self) -> dict[int, int]:
        if not self._path.exists():
            return {}
        return {int(depth): int(rows) for depth, rows in json.loads(self._path.read_text()).items()}


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on a GPU or on the host."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _ON_THE_CPU)
