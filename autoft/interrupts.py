"""Interruptions (Ctrl-C, SIGTERM): held back while a step must not be torn, and never lost."""

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import TypeAlias

Handler: TypeAlias = Callable[[int, FrameType | None], object]

_HELD_BACK: dict[int, list[tuple[int, FrameType | None]]] = {}
"""What came, of each step that is not to be torn, by the identity of the list."""


@contextmanager
def unbroken() -> Iterator[None]:
    """Hold signals back inside; what came is handled when the step is through, whatever became of it.

    Python raises KeyboardInterrupt between any two instructions: in the middle of a transaction, where the connection
    that it leaves behind keeps the database locked, or in a weak reference's callback, where it is lost. Outside the
    main thread, which alone is interrupted, nothing is done.
    """
    came: list[tuple[int, FrameType | None]] = []
    handlers = _handlers()
    _install(dict.fromkeys(handlers, lambda *arrival: came.append(arrival)))
    _HELD_BACK[id(came)] = came
    try:
        yield
    finally:
        del _HELD_BACK[id(came)]
        _install(handlers)
        if came:
            number, frame = came[0]
            handlers[number](number, frame)


def held_back() -> bool:
    """Whether an interruption came that is being held back: what only waits should wait no longer."""
    return any(tuple(_HELD_BACK.values()))


@contextmanager
def remembered() -> Iterator[Callable[[], None]]:
    """Remember inside that a signal came; gives a function that raises KeyboardInterrupt if one did.

    What an interruption raises in a destructor or in a callback of C code is printed and dropped. Whoever asks now and
    then hears of it all the same.
    """
    came: list[int] = []
    handlers = _handlers()

    def noting(number: int, frame: FrameType | None) -> None:
        came.append(number)
        handlers[number](number, frame)

    def ask() -> None:
        if came:
            raise KeyboardInterrupt

    _install(dict.fromkeys(handlers, noting))
    try:
        yield ask
    finally:
        _install(handlers)


def _handlers() -> dict[int, Handler]:
    """Python's handlers of what interrupts; none outside the main thread, where none can be set."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    found = {int(number): signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    return {number: handler for number, handler in found.items() if callable(handler)}


def _install(handlers: Mapping[int, Handler]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)
