"""The sending of a run's files that a job does on the cluster."""

import os
import signal
import stat
import time
from collections.abc import Callable
from pathlib import Path

from autoft.jobs.order import Order
from autoft.jobs.transfer import sent

_KEPT_S, _LOOK_S = 600.0, 0.1
"""So long a log with a run's files is kept for who reads it, and no longer."""


def send(order: Order, home: Path, write: Callable[[str], None], log: int = 1) -> None:
    """Write the run's files as lines, and take the log's content away when whoever fetches has stopped the job.

    Args:
        order: from the laptop.
        home: where relative storage paths begin.
        write: takes a line.
        log: the descriptor that the lines go to; a file is emptied, since it is as large as the run's files.

    Raises:
        RunError: no search began there; then the log stays.
    """
    stopped: list[int] = []
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda number, _frame: stopped.append(number)) for number in numbers]
    try:
        for line in sent(Path(order.place(home)), order.have):
            if stopped:
                break
            write(line)
        until = time.monotonic() + _KEPT_S
        while not stopped and time.monotonic() < until:
            time.sleep(_LOOK_S)
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
    if stat.S_ISREG(os.fstat(log).st_mode):
        os.ftruncate(log, 0)
