"""``autoft jobs``: the searches on a cluster."""

from datetime import datetime

from autoft.cli.options import Address, AsJson


def jobs(address: Address = None, as_json: AsJson = False) -> None:
    """Show the searches on a cluster, the newest first: trials, best value so far, and why one failed."""
    from rich.console import Console
    from rich.table import Table

    from autoft.cli.output import duration, number, print_json, say
    from autoft.jobs.access import access_to
    from autoft.jobs.standing import standing_of
    from autoft.jobs.submission import connected, searches

    cluster = connected(access_to(address))
    found = [(job, standing_of(cluster, job)) for job in searches(cluster)]
    if as_json:
        print_json({"jobs": [{**job.plain(), **standing.plain()} for job, standing in found]})
        return
    if not found:
        say("no searches")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("id", "run", "state", "started", "took", "trials", "best", ""):
        table.add_column(heading)
    for job, standing in found:
        started = datetime.fromtimestamp(job.started_at).astimezone() if job.started_at else None
        took = duration(job.ended_at - job.started_at) if job.started_at and job.ended_at else "-"
        when = started.isoformat(" ", "minutes") if started else "-"
        trials = "-" if standing.trials_ended is None else f"{standing.trials_ended}/{standing.trials_in_all}"
        best = "-" if standing.best is None else f"{standing.metric} {number(standing.best)}"
        table.add_row(job.id, job.run, job.state.value.lower(), when, took, trials, best, standing.failure)
    Console(highlight=False, markup=False, soft_wrap=True).print(table)
