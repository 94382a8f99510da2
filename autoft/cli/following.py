"""Following a job's log until the job ends."""

from contextlib import closing

import typer

from autoft.errors import DetachedError
from autoft.jobs.submission import Submission
from autoft.jobs.watch import raise_unless_successful


def follow(submission: Submission, *, log_to_stderr: bool = False) -> None:
    """Print the log as it is written, then end as the job did.

    Raises:
        JobFailedError: the job ended without success.
        DetachedError: Ctrl-C; the job goes on.
    """
    log = ""
    try:
        with closing(submission.follow()) as pieces:
            for text in pieces:
                typer.echo(text, nl=False, err=log_to_stderr)
                log = (log + text)[-10_000:]
        raise_unless_successful(submission.info(), log)
    except KeyboardInterrupt:
        raise DetachedError(
            f"{submission.id}: goes on without being followed; follow it again with autoft logs -f {submission.id}, "
            f"end it with autoft stop {submission.id}"
        ) from None
