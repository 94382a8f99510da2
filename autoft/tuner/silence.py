"""Workers that hang: they say nothing more, although the time of their trial is up.

A worker that is told when to stop looks at the clock before every step; what may still come is an evaluation and a
checkpoint. One that blocks for ever (a data set that waits for a server, a deadlock, a stopped process) never looks.
"""

import time
from collections.abc import Callable

_GRACE_S = 60.0
_GRACE_SHARE = 0.1
"""Of the time for which a worker had been silent when its time was up: who trains for long evaluates for long."""


class Silence:
    """For how long each worker has said nothing.

    Args:
        now: the clock, in seconds since the epoch.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._heard_at: dict[str, float] = {}
        self._longest_s = 0.0

    def broken(self, trial: str) -> None:
        """The worker of a trial said something."""
        now = self._now()
        self._longest_s = max(self._longest_s, now - self._heard_at.get(trial, now))
        self._heard_at[trial] = now

    def too_long_s(self, trial: str, until: float | None) -> float | None:
        """Seconds since a trial's worker was heard of, once that is far longer than it can take; else None.

        Args:
            trial: which runs; what is asked for the first time has just been heard of.
            until: when it was to stop, in seconds since the epoch; None: whenever it is done.
        """
        now = self._now()
        heard_at = self._heard_at.setdefault(trial, now)
        if until is None:
            return None
        patience_s = _GRACE_S + self._longest_s + _GRACE_SHARE * max(0.0, until - heard_at)
        return now - heard_at if now > max(until, heard_at) + patience_s else None
