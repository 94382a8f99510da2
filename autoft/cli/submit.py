"""``autoft submit``: hand a search to a Ray cluster."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoft.cli.options import (
    Address,
    AsJson,
    Assignments,
    Budget,
    ConfigFile,
    ModelName,
    NumSamples,
    SpaceName,
    given,
    parse_assignments,
    parse_budget,
)

if TYPE_CHECKING:
    from autoft.jobs.submission import Submission


Data = Annotated[
    str | None,
    typer.Option(
        metavar="SOURCE", help="As the cluster sees it: an absolute path, a path in --working-dir, or digits."
    ),
]
Name = Annotated[str | None, typer.Option(metavar="NAME", help="Name of the run; default: model and data.")]
StoragePath = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER",
        help="Where the cluster keeps runs, a URL too; several nodes must share a folder. Default: ~/runs there.",
    ),
]
WorkingDir = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Ship this folder: 100 MB at most when packed, no hidden files."),
]
StartTimeout = Annotated[
    str, typer.Option(metavar="TIME", help="How long the job may take to start and to compare versions.")
]
OtherVersions = Annotated[bool, typer.Option("--other-versions", help="Go on where versions differ on both sides.")]
Wait = Annotated[
    bool, typer.Option("--wait", help="Follow the log; end with the job's exit code. Ctrl-C leaves the job running.")
]


def submit(
    config: ConfigFile = None,
    address: Address = None,
    model: ModelName = None,
    data: Data = None,
    space: SpaceName = None,
    num_samples: NumSamples = None,
    time_budget: Budget = None,
    name: Name = None,
    storage_path: StoragePath = None,
    working_dir: WorkingDir = None,
    start_timeout: StartTimeout = "5m",
    other_versions: OtherVersions = False,
    wait: Wait = False,
    assignments: Assignments = None,
    as_json: AsJson = False,
) -> None:
    """Hand a search to a Ray cluster; it is checked here first. A run of the same name goes on where it ended."""
    options = given(
        config=config,
        address=address,
        model=model,
        data=data,
        space=space,
        num_samples=num_samples,
        time_budget_s=parse_budget(time_budget),
        name=name,
        storage_path=storage_path,
        working_dir=working_dir,
        start_timeout_s=parse_budget(start_timeout, option="--start-timeout"),
        overrides=parse_assignments(assignments) or None,
    )
    from autoft.cli.following import follow
    from autoft.cli.output import note, print_json
    from autoft.jobs.handover import submit as hand_over

    submission = hand_over(**options, other_versions=other_versions, notify=note)
    if not as_json:
        _tell(submission, f" --address {address}" if address else "")
    try:
        if wait:
            follow(submission, log_to_stderr=as_json)
    finally:
        if as_json:
            print_json({**submission.info().plain(), "address": submission.submitter.address})


def _tell(submission: "Submission", address: str) -> None:
    """The id, and the next commands."""
    from autoft.cli.output import say

    job = submission.id
    say(f"job     {job}")
    say(f"follow  autoft logs -f {job}{address}")
    say(f"stop    autoft stop {job}{address}")
    say(f"fetch   autoft fetch {job}{address}")
