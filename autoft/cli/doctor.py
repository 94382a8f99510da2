"""``autoft doctor``: is this machine, or a cluster, fit for a search?"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoft.cli.options import AsJson

if TYPE_CHECKING:
    from autoft.doctor import Finding, Report


def doctor(
    address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Ask every node of a Ray cluster: auto or HOST:PORT on a node of it, from elsewhere ray://HOST:PORT "
            "or http://HOST:PORT, as autoft submit has it; default: this machine alone.",
        ),
    ] = None,
    storage_path: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Where runs are kept; default: runs. By http always ~/runs.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Look for what would stop, slow down or expose a search, and say what to do. Exit code 1 if there is an error."""
    import platform

    from autoft.cli.output import print_json, say
    from autoft.doctor import Finding, Level, Report, agreement, examine, facts_here
    from autoft.doctor.cluster import reports_of
    from autoft.errors import ConfigError
    from autoft.remote import bare, is_url

    by_http = address is not None and address.startswith("http")
    if by_http and storage_path is not None:
        raise ConfigError(
            f"--storage-path {storage_path}: has no effect by http, where a job looks at ~/runs; leave it out, or ask "
            "with --address ray://HOST:PORT"
        )
    if storage_path is not None and is_url(storage_path):
        raise ConfigError(
            f"--storage-path {bare(storage_path)}: the doctor looks at folders, and a search tries a URL at once; "
            "give a folder, or leave it out"
        )
    runs = Path(storage_path or "runs")
    together: Sequence[Finding] = ()
    if address is None:
        facts = facts_here(runs)
        reports = [Report(platform.node() or "here", examine(facts), facts.versions)]
    else:
        reports = _by_job(address) if by_http else reports_of(address, runs)
        together = agreement(reports)
    found = [*together, *(finding for report in reports for finding in report.findings)]
    counts = {level: sum(each.level is level for each in found) for level in Level}
    if as_json:
        cluster = Report("cluster", tuple(together)).plain()["findings"]
        print_json({"counts": counts, "cluster": cluster, "nodes": [report.plain() for report in reports]})
    else:
        for name, findings in (("cluster", together), *((report.node, report.findings) for report in reports)):
            for line in _lines(name, findings):
                say(line)
        say(f"{counts[Level.ERROR]} errors, {counts[Level.WARNING]} warnings")
    if counts[Level.ERROR]:
        raise typer.Exit(1)


def _by_job(address: str) -> "list[Report]":
    """What a job on a cluster was told by its nodes."""
    from autoft.doctor import reports_in
    from autoft.jobs.access import access_to
    from autoft.jobs.question import answer
    from autoft.jobs.submission import connected

    return reports_in(answer(connected(access_to(address))))


def _lines(name: str, findings: Sequence["Finding"]) -> list[str]:
    """One line per finding, and one for its remedy."""
    lines = [name] if findings else []
    for one in findings:
        lines.append(f"  {one.level:8} {one.subject}: {one.text}")
        if one.remedy:
            lines.append(f"           do: {one.remedy}")
    return lines
