"""``autoft logs``: what a job has written."""

from typing import Annotated

import typer

from autoft.cli.options import Address, JobId


def logs(
    job: JobId,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the job ends, and end with its exit code.")
    ] = False,
    address: Address = None,
) -> None:
    """Print the log of a job. Ctrl-C ends the following, not the job."""
    from autoft.cli.following import follow as follow_log
    from autoft.cli.output import say
    from autoft.jobs.submission import submission_of

    submission = submission_of(job, address)
    if follow:
        follow_log(submission)
    else:
        say(submission.log().rstrip("\n"))
