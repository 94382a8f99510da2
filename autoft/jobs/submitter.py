"""The seam between autoft and where jobs run."""

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from autoft.jobs.job import Job

STOP_WAIT_S = 120
"""A job that is stopped has so long to write its files, before it is killed."""


class Submitter(Protocol):
    """A cluster that runs jobs. An id that it does not know is an `UnknownNameError`, any refusal a `ClusterError`."""

    @property
    def address(self) -> str:
        """Where it is, as a person would write it."""
        ...

    @property
    def is_open(self) -> bool:
        """Whether it lets in who shows no token."""
        ...

    def ray_version(self) -> str:
        """The version of Ray there."""
        ...

    def submit(self, job: str, entrypoint: str, package: Path, metadata: Mapping[str, str]) -> None:
        """Start a job.

        Args:
            job: its id, which must be new.
            entrypoint: a command for a shell; never made of what users wrote.
            package: a zip file that is unpacked where the command runs.
            metadata: kept beside it.
        """
        ...

    def info(self, job: str) -> Job:
        """What is known of a job."""
        ...

    def jobs(self) -> Sequence[Job]:
        """All jobs, the oldest first."""
        ...

    def log(self, job: str) -> str:
        """What it has written so far."""
        ...

    def follow(self, job: str) -> Generator[str, None, None]:
        """Pieces of its log from the beginning, as they are written, until it has ended."""
        ...

    def stop(self, job: str) -> None:
        """Ask it to end; one that has ended stays as it is."""
        ...

    def forget(self, job: str) -> None:
        """Take a job that has ended out of the list."""
        ...
