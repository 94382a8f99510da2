"""``autoft resume``: go on with a run that was interrupted, or give it more budget."""

from autoft.cli.options import (
    AsJson,
    Assignments,
    Budget,
    Cluster,
    DataSource,
    NumSamples,
    Quiet,
    RunFolder,
    given,
    parse_assignments,
    parse_budget,
)


def resume(
    run: RunFolder,
    num_samples: NumSamples = None,
    time_budget: Budget = None,
    data: DataSource = None,
    assignments: Assignments = None,
    address: Cluster = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Go on with a run: no finished trial is lost or repeated; the budget may be another one."""
    options = given(
        num_samples=num_samples,
        time_budget_s=parse_budget(time_budget),
        data=data,
        overrides=parse_assignments(assignments) or None,
        address=address,
    )
    from autoft.cli.outcome import watched
    from autoft.tuner.search import resume as run_resume

    watched(
        lambda observer, started_at: run_resume(run, **options, observer=observer, started_at=started_at),
        as_json,
        quiet,
    )
