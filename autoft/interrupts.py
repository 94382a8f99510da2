"""Interruptions (Ctrl-C, SIGTERM) that wait until a step that must not be torn is through."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def unbroken() -> Iterator[None]:
    """Hold signals back inside; what came is handled when the step is through, whatever became of it.

    Python raises KeyboardInterrupt between any two instructions: in the middle of a transaction, where the connection
    that it leaves behind keeps the database locked, or in a weak reference's callback, where it is lost. Outside the
    main thread, which alone is interrupted, nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[tuple[int, FrameType | None]] = []
    handlers = {int(number): signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    mine = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in mine:
        signal.signal(number, lambda *arrival: came.append(arrival))
    try:
        yield
    finally:
        for number, handler in mine.items():
            signal.signal(number, handler)
        if came:
            number, frame = came[0]
            mine[number](number, frame)
