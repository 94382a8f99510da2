"""A job on a cluster, and what one does with it."""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from autoft.errors import ClusterError
from autoft.jobs.access import Access, access_to
from autoft.jobs.fetch import fetch
from autoft.jobs.job import Job, check_id
from autoft.jobs.standing import Standing, standing_of
from autoft.jobs.submitter import STOP_WAIT_S, Submitter
from autoft.jobs.transfer import Received
from autoft.jobs.watch import PACE, Pace, raise_unless_successful, wait_for_end

_ENDING_S = STOP_WAIT_S + 30.0


@dataclass(frozen=True)
class Submission:
    """A search on a cluster.

    Example:
        >>> job = autoft.submit(model="resnet18", data="/data/photos", address="http://head:8265")  # doctest: +SKIP
        >>> job.wait()  # doctest: +SKIP
        >>> job.fetch("runs/photos")  # doctest: +SKIP
    """

    id: str
    submitter: Submitter
    pace: Pace = PACE

    def info(self) -> Job:
        """Where the job is."""
        return self.submitter.info(self.id)

    def standing(self) -> Standing:
        """How many trials have ended, the best value so far, and why it failed, as far as its log tells."""
        return standing_of(self.submitter, self.info())

    def log(self) -> str:
        """What it has written so far."""
        return self.submitter.log(self.id)

    def follow(self) -> Generator[str, None, None]:
        """Pieces of its log from the beginning, as they are written, until it has ended."""
        return self.submitter.follow(self.id)

    def wait(self) -> Job:
        """Wait until the job has ended.

        Raises:
            JobFailedError: without success.
        """
        job = wait_for_end(self.submitter, self.id, pace=self.pace)
        raise_unless_successful(job, self.log())
        return job

    def stop(self) -> Job:
        """End the search, and wait until its files are written; submitting it again goes on.

        Raises:
            ClusterError: it has not ended within the time that it has.
        """
        self.submitter.stop(self.id)
        return wait_for_end(self.submitter, self.id, _ENDING_S, self.pace)

    def fetch(self, to: str | Path | None = None) -> tuple[Path, Received]:
        """Bring recipe, model and tables here, as far as they are written.

        Args:
            to: a folder; default: ``runs/NAME``. What is there already is not sent again.

        Raises:
            RunError: the folder is that of a search on this machine.
            ClusterError: the run cannot be sent, or comes damaged; then nothing was changed.
        """
        return fetch(self.submitter, self.info(), Path(to) if to else None, self.pace)


def connected(access: Access) -> Submitter:
    """A cluster of Ray, which answers.

    Raises:
        ClusterError: it cannot be reached, or refuses, or Ray's job client is not installed.
    """
    try:
        from autoft.jobs.ray_submitter import connect  # noqa: PLC0415 - loads ray
    except ModuleNotFoundError as error:
        raise ClusterError(f"jobs need {error.name}, which is not installed: pip install 'autoft[cluster]'") from error
    return connect(access)


def submission_of(job: str, address: str | None = None, submitter: Submitter | None = None) -> Submission:
    """A job that was submitted before.

    Raises:
        ConfigError: no id, or no way to the cluster.
        ClusterError: the cluster cannot be reached, or refuses.
    """
    return Submission(check_id(job), submitter or connected(access_to(address)))


def searches(submitter: Submitter) -> list[Job]:
    """The searches among a cluster's jobs, the newest first."""
    found = [job for job in submitter.jobs() if job.verb == "search"]
    return sorted(found, key=lambda job: job.started_at or 0.0, reverse=True)
