"""``autoft search``: find the best recipe."""

from typing import Annotated

import typer

from autoft.cli.options import (
    AsJson,
    Assignments,
    Budget,
    Cluster,
    ConfigFile,
    DataSource,
    ModelName,
    NumSamples,
    Quiet,
    SpaceName,
    given,
    parse_assignments,
    parse_budget,
)


def search(
    config: ConfigFile = None,
    model: ModelName = None,
    data: DataSource = None,
    space: SpaceName = None,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What decides: accuracy, balanced_accuracy, macro_f1, average_precision, roc_auc, log_loss, mae, mse, "
            "r2 or loss, or a scorer of scikit-learn as matthews_corrcoef; default: accuracy, with several labels "
            "average_precision, of numbers mae.",
        ),
    ] = None,
    num_samples: NumSamples = None,
    time_budget: Budget = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the run; default: model and data.")] = None,
    storage_path: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="Where runs are kept, or its URL, as in s3://bucket/runs; default: runs."),
    ] = None,
    assignments: Assignments = None,
    address: Cluster = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Find the best fine-tuning recipe. A run of the same name goes on where it ended."""
    options = given(
        config=config,
        model=model,
        data=data,
        space=space,
        metric=metric,
        num_samples=num_samples,
        time_budget_s=parse_budget(time_budget),
        name=name,
        storage_path=storage_path,
        overrides=parse_assignments(assignments) or None,
        address=address,
    )
    from autoft.cli.outcome import watched
    from autoft.tuner.search import search as run_search

    watched(
        lambda observer, started_at: run_search(**options, observer=observer, started_at=started_at), as_json, quiet
    )
