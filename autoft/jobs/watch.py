"""Waiting for jobs: until they start, until they end, and what their end means."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from autoft.errors import ClusterError, JobFailedError
from autoft.jobs.job import Job, JobState
from autoft.jobs.order import TAKEN
from autoft.jobs.submitter import Submitter

_NOT_FOUND, _MAX_REASON = 127, 600


@dataclass(frozen=True)
class Pace:
    """How time goes by; a test has its own."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    every_s: float = 0.5


PACE = Pace()


def wait_for_start(submitter: Submitter, job: str, timeout_s: float, pace: Pace = PACE) -> Job:
    """The job as soon as its command runs, or has run.

    Raises:
        ClusterError: it cannot start, with the cluster's reason, or has not within the time.
    """
    until = pace.now() + timeout_s
    while (found := submitter.info(job)).state is JobState.PENDING:
        if pace.now() >= until:
            raise ClusterError(
                f"{job}: has not started within {timeout_s:g} s; the cluster says: {reason(found)} It goes on waiting: "
                f"look with autoft jobs, end it with autoft stop {job}, or give a longer --start-timeout"
            )
        pace.sleep(pace.every_s)
    if found.state is JobState.FAILED and found.exit_code is None:
        raise ClusterError(f"{job}: could not start; the cluster says: {reason(found)}")
    return found


def wait_until_taken(submitter: Submitter, job: str, timeout_s: float, pace: Pace = PACE) -> Job:
    """The job of a search as soon as it has taken its order, or has ended.

    Raises:
        ClusterError: it cannot start, or has not got so far within the time.
    """
    until = pace.now() + timeout_s
    wait_for_start(submitter, job, timeout_s, pace)
    while not (found := submitter.info(job)).state.ended and TAKEN not in submitter.log(job):
        if pace.now() >= until:
            raise ClusterError(
                f"{job}: has started, but has not taken its order within {timeout_s:g} s; it goes on: look with autoft "
                f"logs {job}, end it with autoft stop {job}, or give a longer --start-timeout"
            )
        pace.sleep(pace.every_s)
    return found


def wait_for_end(submitter: Submitter, job: str, timeout_s: float = float("inf"), pace: Pace = PACE) -> Job:
    """The job when it has ended.

    Raises:
        ClusterError: it has not within the time.
    """
    until = pace.now() + timeout_s
    while not (found := submitter.info(job)).state.ended:
        if pace.now() >= until:
            raise ClusterError(f"{job}: has not ended within {timeout_s:g} s; look with autoft logs {job}")
        pace.sleep(pace.every_s)
    return found


def raise_unless_successful(job: Job, log: str) -> None:
    """Turn the end of a job into an error, unless it is a success.

    Raises:
        JobFailedError: with the job's exit code, and the sentence that its log ends with.
    """
    match job.state:
        case JobState.STOPPED:
            text = f"{job.id}: was stopped; nothing is lost, submit under the same name to go on"
            raise JobFailedError(text, exit_code=130)
        case JobState.FAILED:
            code = job.exit_code if job.exit_code is not None else 1
            raise JobFailedError(f"{job.id}: failed with exit code {code}: {last_error(job, log)}", exit_code=code or 1)


def last_error(job: Job, log: str) -> str:
    """The error that a log ends with, as autoft tells it; else the cluster's reason."""
    if job.exit_code == _NOT_FOUND:
        return "the cluster finds no python; start Ray there with its environment on the PATH"
    _, mark, told = log.rpartition("\nerror: ")
    return _shortened(told) if mark else reason(job)


def reason(job: Job) -> str:
    """The cluster's word on a job in a sentence: of a traceback, its last line."""
    lines = [line.strip() for line in job.message.splitlines() if line.strip()]
    return _shortened(lines[-1]) if lines else "nothing."


def _shortened(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= _MAX_REASON else f"{words[:_MAX_REASON]} ..."
