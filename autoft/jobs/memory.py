"""The cluster that lives in memory: the twin for tests."""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from autoft.errors import ClusterError, UnknownNameError
from autoft.jobs.job import Job, JobState

Play: TypeAlias = Callable[[str, Path], Generator[str, None, None]]
"""From entrypoint and package to the pieces of the log; SystemExit tells the exit code."""


@dataclass
class _Run:
    job: Job
    writing: Generator[str, None, None]
    log: str = ""


class MemorySubmitter:
    """A `Submitter` whose jobs go on while somebody reads their logs."""

    address = "memory"
    is_open = False

    def __init__(self, play: Play, ray_version: str) -> None:
        self._play, self._ray_version = play, ray_version
        self._runs: dict[str, _Run] = {}

    def ray_version(self) -> str:
        """As it was given."""
        return self._ray_version

    def submit(self, job: str, entrypoint: str, package: Path, metadata: Mapping[str, str]) -> None:
        """Begin a generator."""
        if job in self._runs:
            raise ClusterError(f"{self.address}: has a job {job} already; submit under another id")
        running = Job(job, JobState.RUNNING, started_at=float(len(self._runs)), metadata=dict(metadata))
        self._runs[job] = _Run(running, self._play(entrypoint, package))

    def info(self, job: str) -> Job:
        """Where it is."""
        return self._run(job).job

    def jobs(self) -> Sequence[Job]:
        """All of them."""
        return [run.job for run in self._runs.values()]

    def log(self, job: str) -> str:
        """What was written until now; whoever looks again sees more."""
        run = self._run(job)
        self._advance(run)
        return run.log

    def follow(self, job: str) -> Generator[str, None, None]:
        """Let the job go on, piece by piece."""
        run, told = self._run(job), 0
        while True:
            if told == len(run.log):
                self._advance(run)
            if told == len(run.log):
                return
            yield run.log[told:]
            told = len(run.log)

    def stop(self, job: str) -> None:
        """End its generator."""
        run = self._run(job)
        if not run.job.state.ended:
            run.writing.close()
            run.job = replace(run.job, state=JobState.STOPPED)

    def forget(self, job: str) -> None:
        """Drop it."""
        if not self._run(job).job.state.ended:
            raise ClusterError(f"{self.address}: job {job} has not ended; stop it first")
        del self._runs[job]

    def _run(self, job: str) -> _Run:
        if job not in self._runs:
            raise UnknownNameError(f"{self.address}: has no job {job!r}; autoft jobs shows them")
        return self._runs[job]

    def _advance(self, run: _Run) -> None:
        if run.job.state.ended:
            return
        try:
            run.log += next(run.writing)
        except StopIteration:
            run.job = replace(run.job, state=JobState.SUCCEEDED, exit_code=0)
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
            run.job = replace(run.job, state=JobState.FAILED, exit_code=code, message=f"exit code {code}")
