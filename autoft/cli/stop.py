"""``autoft stop``: end a job."""

from autoft.cli.options import Address, AsJson, JobId


def stop(job: JobId, address: Address = None, as_json: AsJson = False) -> None:
    """Stop a search on a cluster and wait until its files are written; submitting it again goes on."""
    from autoft.cli.output import print_json, say
    from autoft.jobs.submission import submission_of

    submission = submission_of(job, address)
    ended = submission.stop()
    if as_json:
        print_json(ended.plain())
    else:
        say(f"{ended.id}: {ended.state.value.lower()}")
