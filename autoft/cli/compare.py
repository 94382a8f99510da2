"""``autoft compare``: models on the same labelled items."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoft.cli.options import AsJson, DataSource, Device

if TYPE_CHECKING:
    from rich.table import Table

    from autoft.tuner.compared import Compared


def compare(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL", help="Two or more: runs or their URLs, folders of autoft train --out, or model files."
        ),
    ],
    data: DataSource = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Only what is in train, val or test; default: all items, without --data those in test."
        ),
    ] = None,
    metric: Annotated[
        str | None, typer.Option(metavar="NAME", help="That orders them; default: the first run's, or the task's.")
    ] = None,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Measure models on the same labelled items, by default the test items of the first run, and pair their answers."""
    from rich.console import Console

    from autoft.cli.output import note, say
    from autoft.tuner.as_json import to_json
    from autoft.tuner.compared import compare as compare_models

    found = compare_models(models, data, split=split, metric=metric, device=device)
    for text in found.notes:
        note(text)
    if as_json:
        say(to_json(result_of(found)))
        return
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(_table(found))
    console.print(found.verdict)


def result_of(found: "Compared") -> dict[str, Any]:
    """What ``--json`` prints."""
    rows = [
        {
            "model": row.name,
            "metrics": dict(row.metrics),
            "interval": row.interval,
            "behind": row.behind
            and {
                "difference": row.behind.difference,
                "standard_error": row.behind.standard_error,
                "interval": [row.behind.interval.low, row.behind.interval.high],
                "real": row.behind.real,
            },
        }
        for row in found.rows
    ]
    return {"metric": found.metric, "scored_by": found.scored_by, "items": found.items, "models": rows}


def _table(found: "Compared") -> "Table":
    from rich.table import Table

    from autoft.cli.output import number

    table = Table(box=None, pad_edge=False)
    table.add_column("model", overflow="fold")
    behind = "behind" if found.scored_by == found.metric else f"behind in {found.scored_by}"
    for heading in (found.metric, "95%", behind, "95%"):
        table.add_column(heading, justify="right")
    for row in found.rows:
        less = row.behind
        own = f"{row.interval[0]:.3f} to {row.interval[1]:.3f}" if row.interval and found.metric == "accuracy" else "-"
        told = ("-", "-") if less is None else (number(less.difference), _ends(less.interval.low, less.interval.high))
        table.add_row(row.name, number(row.metrics[found.metric]), own, *told)
    return table


def _ends(low: float, high: float) -> str:
    return f"{low:.2g} to {high:.2g}"
