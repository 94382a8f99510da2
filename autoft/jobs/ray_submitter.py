"""Jobs on a Ray cluster, by the job API of its dashboard."""

import asyncio
import logging
import os
import re
import threading
import time
from collections.abc import AsyncIterator, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import aiohttp
import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobSubmissionClient

from autoft.errors import ClusterError, UnknownNameError
from autoft.jobs.access import ADDRESS, Access
from autoft.jobs.job import Job, JobState
from autoft.jobs.submitter import STOP_WAIT_S

_TIMEOUT_S = 20.0
_UNAUTHORISED, _FORBIDDEN, _NOT_FOUND = 401, 403, 404
_STATUS = re.compile(r"Request failed with status code (\d+): (.*)", re.DOTALL)
_ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S)}
_TALKATIVE = ("ray.dashboard.modules.job.sdk", "ray.dashboard.modules.dashboard_sdk")
_RECONNECTIONS, _BETWEEN_S = 5, 2.0
_STILL_WRITTEN_S = 3.0


def connect(access: Access) -> "RaySubmitter":
    """A cluster that answers, and lets this token in.

    Raises:
        ClusterError: it cannot be reached, refuses, or is no Ray dashboard.
    """
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    with _translated(access.address):
        url = f"{access.address}/api/version"
        answer = requests.get(url, headers=access.headers, timeout=_TIMEOUT_S)
        _raise_for(answer.status_code, answer.text, access.address)
        version = str(answer.json()["ray_version"])
        is_open = not access.token or requests.get(url, timeout=_TIMEOUT_S).ok
        with _this_address_alone(access.address):
            client = JobSubmissionClient(access.address, headers=access.headers)
        return RaySubmitter(client, version, is_open=is_open)


class RaySubmitter:
    """A `Submitter` over Ray's own client."""

    def __init__(self, client: JobSubmissionClient, ray_version: str, *, is_open: bool) -> None:
        self._client, self._ray_version = client, ray_version
        self.is_open = is_open

    @property
    def address(self) -> str:
        """The dashboard's URL."""
        return str(self._client.get_address())

    def ray_version(self) -> str:
        """As the dashboard tells it."""
        return self._ray_version

    def submit(self, job: str, entrypoint: str, package: Path, metadata: Mapping[str, str]) -> None:
        """Upload the package, and start the job on the head node."""
        environment = {"working_dir": str(package), "env_vars": dict(_ENVIRONMENT)}
        with self._asking():
            self._client.submit_job(
                entrypoint=entrypoint, submission_id=job, runtime_env=environment, metadata=dict(metadata)
            )

    def info(self, job: str) -> Job:
        """What the dashboard knows of it."""
        with self._asking(job):
            return _job(self._client.get_job_info(job))

    def jobs(self) -> Sequence[Job]:
        """All that were submitted, not what other programs run there."""
        with self._asking():
            found = [_job(each) for each in self._client.list_jobs() if each.submission_id]
        return sorted(found, key=lambda job: job.started_at or 0.0)

    def log(self, job: str) -> str:
        """What it has written so far."""
        with self._asking(job):
            return str(self._client.get_job_logs(job))

    def follow(self, job: str) -> Generator[str, None, None]:
        """Its log by a WebSocket; a connection that breaks is made again, and nothing is told twice."""
        if self.info(job).state.ended:  # the WebSocket takes seconds to say that nothing more will come
            yield self.log(job)
            return
        told, broken = 0, 0
        while True:
            came = 0
            try:
                for text in self._tail(job):
                    came += len(text)
                    if came > told:
                        yield text[-(came - told) :]
                        told, broken = came, 0
            except ClusterError:
                broken += 1
                if broken > _RECONNECTIONS:
                    raise
            else:
                if self.info(job).state.ended:
                    return
            time.sleep(_BETWEEN_S)

    def stop(self, job: str) -> None:
        """Ask it to end."""
        with self._asking(job):
            self._client.stop_job(job)

    def forget(self, job: str) -> None:
        """Take it out of the list, not before Ray has done with it; its log stays until the cluster ends."""
        ended_at = self.info(job).ended_at
        if ended_at is not None:
            time.sleep(min(_STILL_WRITTEN_S, max(0.0, ended_at + _STILL_WRITTEN_S - time.time())))
        with self._asking(job):
            self._client.delete_job(job)

    def _tail(self, job: str) -> Iterator[str]:
        with self._asking(job), _event_loop() as loop:
            tail = self._client.tail_job_logs(job)
            while (text := asyncio.run_coroutine_threadsafe(_next(tail), loop).result()) is not None:
                yield text

    def _asking(self, job: str = "") -> Any:
        return _translated(self.address, job)


@contextmanager
def _event_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop in a thread of its own, since the caller's may be running one, as in a notebook."""
    opened: SimpleQueue[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = SimpleQueue()

    async def live() -> None:
        over = asyncio.Event()
        opened.put((asyncio.get_running_loop(), over))
        await over.wait()

    thread = threading.Thread(target=lambda: asyncio.run(live()), daemon=True)
    thread.start()
    loop, over = opened.get()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()


async def _next(tail: AsyncIterator[str]) -> str | None:
    return await anext(tail, None)


def _job(details: JobDetails) -> Job:
    return Job(
        id=str(details.submission_id),
        state=JobState(str(details.status)),
        message=details.message or "",
        started_at=details.start_time / 1000 if details.start_time else None,
        ended_at=details.end_time / 1000 if details.end_time else None,
        exit_code=details.driver_exit_code,
        metadata=dict(details.metadata or {}),
    )


@contextmanager
def _this_address_alone(address: str) -> Iterator[None]:
    """Ray's client prefers what the environment names, whatever it is given."""
    before = os.environ.get(ADDRESS)
    os.environ[ADDRESS] = address
    try:
        yield
    finally:
        if before is None:
            del os.environ[ADDRESS]
        else:
            os.environ[ADDRESS] = before


@contextmanager
def _translated(address: str, job: str = "") -> Iterator[None]:
    """Turn whatever Ray's client raises inside into one sentence.

    Raises:
        UnknownNameError: the cluster has no such job.
        ClusterError: anything else that it, or the way to it, refuses.
    """
    try:
        yield
    except (ClusterError, UnknownNameError):
        raise
    except AuthenticationError as error:
        raise ClusterError(_refused(address, missing="required" in str(error))) from error
    except aiohttp.WSServerHandshakeError as error:
        _raise_for(error.status, error.message, address, job)
        raise ClusterError(_unreachable(address, error)) from error
    except requests.JSONDecodeError as error:
        raise ClusterError(_no_dashboard(address)) from error
    except (ConnectionError, requests.RequestException, aiohttp.ClientError, TimeoutError) as error:
        raise ClusterError(_unreachable(address, error)) from error
    except KeyError as error:
        raise ClusterError(_no_dashboard(address)) from error
    except RuntimeError as error:
        if found := _STATUS.match(str(error)):
            _raise_for(int(found[1]), found[2], address, job)
        raise ClusterError(f"{address}: refuses: {_last_line(str(error))}") from error


def _raise_for(status: int, text: str, address: str, job: str = "") -> None:
    """Turn a status that is no success into an error."""
    match status:
        case 200:
            return
        case _ if status == _NOT_FOUND and job:
            raise UnknownNameError(f"{address}: has no job {job!r}; autoft jobs shows them")
        case _ if status in {_UNAUTHORISED, _FORBIDDEN}:
            raise ClusterError(_refused(address, missing=status == _UNAUTHORISED))
        case _ if status == _NOT_FOUND:
            raise ClusterError(_no_dashboard(address))
        case _ if "already exists" in text:
            raise ClusterError(f"{address}: has a job of this id already; submit again, which gives another one")
        case _ if "No available agent" in text:
            raise ClusterError(
                f"{address}: has no agent that starts jobs: another Ray on that machine has its port (52365), or had "
                "it less than 90 seconds ago; start the head with --dashboard-agent-listen-port and a free port"
            )
    raise ClusterError(f"{address}: refuses with HTTP status {status}: {_last_line(text)}")


def _refused(address: str, *, missing: bool) -> str:
    if missing:
        return (
            f"{address}: asks for a token, and there is none here; write the cluster's token to ~/.ray/auth_token "
            "(chmod 600), or give it as RAY_AUTH_TOKEN"
        )
    return (
        f"{address}: refuses the token from RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token; it must be that "
        "of the cluster, which ray get-auth-token shows there"
    )


def _unreachable(address: str, error: BaseException) -> str:
    return (
        f"{address}: cannot be reached ({type(error).__name__}); is the cluster up, and is the address that of its "
        "dashboard, usually port 8265?"
    )


def _no_dashboard(address: str) -> str:
    return f"{address}: answers, but not as a Ray dashboard does; give the dashboard's address, usually port 8265"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip(" .")]
    return lines[-1][:400] if lines else "no reason given"
