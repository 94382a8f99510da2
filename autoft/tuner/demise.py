"""What the sudden end of a process tells about memory.

While a worker trains, a note in its trial's folder says what it needs memory for; only a process that is killed leaves
it behind. A process was ended for lack of memory if Ray says so (its memory monitor ended it), or if the kernel has
ended a process of that machine since the note was written: it tells nobody which one, but counts them.
"""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from autoft.files import patiently, write_text
from autoft.tuner.micro_batches import MicroBatches

_NOTE = "in_training.json"
_COUNTS = Path("/proc/vmstat")


@dataclass(frozen=True, slots=True)
class Note:
    """What a process was doing."""

    depth: int
    """Layer groups that it trained."""
    rows: int
    """Items that it took at once."""
    host: str
    pid: int
    kernel_kills: int
    """When it began."""

    @property
    def outlived_a_kill(self) -> bool:
        """Whether the kernel has ended a process of this machine since the note was written."""
        return self.host == socket.gethostname() and kernel_kills() > self.kernel_kills


def kernel_kills() -> int:
    """How many processes the kernel of this machine has ended for lack of memory; 0 where it does not tell."""
    with suppress(OSError, ValueError):
        for line in _COUNTS.read_text(encoding="ascii").splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return 0


@contextmanager
def noted(folder: Path, demand: tuple[int, int]) -> Iterator[None]:
    """Within the block the trial's folder says that this process trains it.

    Args:
        folder: of the trial.
        demand: layer groups that it trains, and items that it takes at once.

    Raises:
        StorageError: the disk refuses.
    """
    note = Note(*demand, socket.gethostname(), os.getpid(), kernel_kills())
    text = json.dumps(asdict(note))
    patiently(partial(write_text, folder / _NOTE, text, durable=False))
    try:
        yield
    finally:
        with suppress(OSError):
            (folder / _NOTE).unlink(missing_ok=True)


def mourn(folder: Path, number: int, micro_batches: MicroBatches, *, said: bool = False) -> str | None:
    """Have a trial need less memory, if the process that trained it was ended for the lack of it.

    Args:
        folder: of the trial.
        number: of the trial.
        micro_batches: what is known to fit.
        said: whether Ray says that it was.

    Returns:
        what the user is told; None where nothing follows: no process was killed in training, it was killed for
        another reason, or a single item was too much.
    """
    note = _left_behind(folder)
    if note is None or not (said or note.outlived_a_kill):
        return None
    return micro_batches.halve(number, note.depth, note.rows)


def forget(trials: Path) -> None:
    """Drop what an earlier start of the search left behind: its end was not that of a worker."""
    for path in trials.glob(f"*/{_NOTE}"):
        path.unlink(missing_ok=True)


def _left_behind(folder: Path) -> Note | None:
    """The note, which is taken away."""
    path = folder / _NOTE
    try:
        note = Note(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    path.unlink(missing_ok=True)
    return note
