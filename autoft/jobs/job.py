"""What is known of a job."""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from autoft.errors import ConfigError

VERB, RUN, STORAGE_PATH = "autoft.verb", "autoft.run", "autoft.storage_path"
"""Keys of a job's metadata."""
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")


class JobState(StrEnum):
    """Where a job is; names as Ray has them."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    STOPPED = "STOPPED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"

    @property
    def ended(self) -> bool:
        """Whether it stays as it is."""
        return self not in {JobState.PENDING, JobState.RUNNING}


@dataclass(frozen=True)
class Job:
    """A job as its cluster tells it."""

    id: str
    state: JobState
    message: str = ""
    """The cluster's word on the state."""
    started_at: float | None = None
    """Seconds since the epoch."""
    ended_at: float | None = None
    exit_code: int | None = None
    """Of the job's process; None if there was none, or as long as there is one."""
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def verb(self) -> str:
        """What it does, if autoft submitted it: search or send."""
        return self.metadata.get(VERB, "")

    @property
    def run(self) -> str:
        """The name of its run."""
        return self.metadata.get(RUN, "")

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "id": self.id,
            "run": self.run,
            "state": self.state.value,
            "message": self.message,
            "started_at": self.started_at,
            "ended_at": self.ended_at,
            "exit_code": self.exit_code,
        }


def check_id(job: str) -> str:
    """The name of a job, which becomes part of an address.

    Raises:
        ConfigError: it cannot be one.
    """
    if not _NAME.fullmatch(job):
        raise ConfigError(
            f"job: must be an id of letters, digits, '.', '_' and '-', got {job!r}; autoft jobs shows them"
        )
    return job


def new_id(run: str) -> str:
    """An id that no job has."""
    return f"{run}-{secrets.token_hex(3)}"
