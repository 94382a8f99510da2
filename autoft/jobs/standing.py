"""How far a search on a cluster is, and why it failed, as its job's log tells it."""

import re
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

from autoft.errors import ClusterError, UnknownNameError
from autoft.jobs.job import Job, JobState
from autoft.jobs.submitter import Submitter
from autoft.jobs.watch import last_error

_BEST = re.compile(r"^trial \d+ best so far: ([\w.@-]+) (\S+) \(", re.MULTILINE)
_ENDED = re.compile(r"^trial \d+ (?!started).*\[(\d+)/(\d+)\]\r?$", re.MULTILINE)


@dataclass(frozen=True)
class Standing:
    """What is known; None and empty texts where nothing is."""

    trials_ended: int | None = None
    trials_in_all: int | None = None
    metric: str = ""
    best: float | None = None
    failure: str = ""
    """The sentence that a failed job ends with."""

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def standing_of(submitter: Submitter, job: Job) -> Standing:
    """What the log of a search tells; nothing if it cannot be read any more."""
    try:
        log = submitter.log(job.id)
    except (ClusterError, UnknownNameError):
        log = ""
    return standing_in(log, last_error(job, log) if job.state is JobState.FAILED else "")


def standing_in(log: str, failure: str = "") -> Standing:
    """The last that a search's progress says of its trials."""
    best, ended = _last(_BEST, log), _last(_ENDED, log)
    return Standing(
        trials_ended=int(ended[1]) if ended else None,
        trials_in_all=int(ended[2]) if ended else None,
        metric=best[1] if best else "",
        best=_value(best[2]) if best else None,
        failure=failure,
    )


def _last(pattern: re.Pattern[str], log: str) -> re.Match[str] | None:
    return next(iter(deque(pattern.finditer(log), maxlen=1)), None)


def _value(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
