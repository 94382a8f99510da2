"""Waiting for a database server that is away for a while."""

import time
from collections.abc import Callable
from typing import TypeVar

from autoft.interrupts import held_back
from autoft.study.storage import ServerAwayError

Answer = TypeVar("Answer")


class Patience:
    """Repeats what a server that is away did not answer, until it is back or the time is over.

    Once the time is over there is no more of it until the server has answered again: a search whose database is gone
    ends soon, and can be resumed.

    Args:
        most_s: how long to wait in all.
        sleep: waits so many seconds.
        now: the time in seconds.
    """

    def __init__(
        self,
        most_s: float = 30.0,
        *,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most_s, self._sleep, self._now = most_s, sleep, now
        self._lost = False

    def __call__(self, ask: Callable[[], Answer]) -> Answer:
        """What ``ask`` gives. It is called again after it raised: what it does, it must do once however often.

        Raises:
            ServerAwayError: the server did not come back in time, or nobody wants to wait for it any more.
        """
        end, pause_s = self._now() + self._most_s, 0.25
        while True:
            try:
                answer = ask()
            except ServerAwayError as error:
                if self._lost or self._now() >= end or held_back():
                    self._lost = True
                    raise ServerAwayError(f"{error}, then go on with autoft resume: nothing is lost") from None
                self._sleep(min(pause_s, max(0.0, end - self._now())))
                pause_s = min(2 * pause_s, 4.0)
            else:
                self._lost = False
                return answer
