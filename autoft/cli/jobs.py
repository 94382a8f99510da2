"""``autoft jobs``: the searches on a cluster."""

from datetime import datetime

from autoft.cli.options import Address, AsJson


def jobs(address: Address = None, as_json: AsJson = False) -> None:
    """Show the searches on a cluster, the newest first."""
    from rich.console import Console
    from rich.table import Table

    from autoft.cli.output import duration, print_json, say
    from autoft.jobs.access import access_to
    from autoft.jobs.submission import connected, searches

    found = searches(connected(access_to(address)))
    if as_json:
        print_json({"jobs": [job.plain() for job in found]})
        return
    if not found:
        say("no searches")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("id", "run", "state", "started", "took"):
        table.add_column(heading)
    for job in found:
        started = datetime.fromtimestamp(job.started_at).astimezone() if job.started_at else None
        took = duration(job.ended_at - job.started_at) if job.started_at and job.ended_at else "-"
        when = started.isoformat(" ", "minutes") if started else "-"
        table.add_row(job.id, job.run, job.state.value.lower(), when, took)
    Console(highlight=False, markup=False, soft_wrap=True).print(table)
