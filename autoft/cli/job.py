"""``autoft job``: what a submitted job runs on the cluster; nothing for people."""

from pathlib import Path


def job() -> None:
    """Run the order in the working folder."""
    from autoft.cli.output import note, say
    from autoft.jobs.order import TAKEN, check_versions, read_order, versions

    folder, home = Path.cwd(), Path.home()
    order = read_order(folder)
    check_versions(order.versions, versions())
    if order.verb == "send":
        from autoft.jobs.sending import send

        send(order, home, say)
        return
    note(f"{TAKEN}{order.place(home)}, as the cluster sees it")
    from autoft.jobs.searching import search_options

    options = search_options(order, folder, home)
    from autoft.cli.outcome import watched
    from autoft.tuner.search import search

    watched(lambda observer, started_at: search(**options, observer=observer, started_at=started_at), False, False)
