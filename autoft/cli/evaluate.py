"""``autoft evaluate``: what a fine-tuned model comes to on labelled data."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoft.cli.options import AsJson, Device, FittedModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from autoft.tuner.evaluated import Evaluated

_MOST_CLASSES = 20
"""Rows that are printed."""


def evaluate(
    model: FittedModel,
    data: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="Image folder, .csv, .parquet or .npz file, or a built-in name (digits)."
        ),
    ],
    split: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Only what is in train, val or test, as the data or the run say; default: all items."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write label and prediction of each item to a CSV file.")
    ] = None,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Measure a model on labelled data that it has not seen: all metrics, and each class."""
    from rich.console import Console

    from autoft.cli.output import few, note, say, warn
    from autoft.files import write_text
    from autoft.tuner.as_json import to_json
    from autoft.tuner.predictor import Predictor

    found = Predictor.load(model, device=device).evaluate(data, split=split)
    for text in found.notes:
        note(text)
    if found.lost:
        every = found.items + len(found.lost)
        warn(f"{len(found.lost)} of {every} items cannot be read ({few(found.lost)}): they are left out")
    if out:
        write_text(out, found.table.to_csv(index=False))
        note(f"{len(found.table)} rows in {out}")
    if as_json:
        say(to_json(result_of(found)))
        return
    console = Console(highlight=False, markup=False, soft_wrap=True)
    for part in _told(found):
        console.print(part)


def result_of(found: "Evaluated") -> dict[str, Any]:
    """What ``--json`` prints."""
    rows = None if found.by_class is None else found.by_class.astype(object).to_dict("records")
    return {
        "items": found.items,
        "metrics": dict(found.metrics),
        "interval": found.interval,
        "classes": rows,
        "lost": list(found.lost),
    }


def _told(found: "Evaluated") -> "Iterator[RenderableType]":
    from rich.table import Table
    from rich.text import Text

    from autoft.cli.output import number

    yield Text(f"{found.items} {'item' if found.items == 1 else 'items'}", style="bold")
    metrics = Table(box=None, pad_edge=False, show_header=False)
    for name, value in found.metrics.items():
        ends = found.interval if name == "accuracy" else None
        metrics.add_row(name, number(value), f"{number(ends[0])} to {number(ends[1])}, 95%" if ends else "")
    yield metrics
    if found.by_class is None:
        return
    table = Table(box=None, pad_edge=False)
    for column in found.by_class.columns:
        table.add_column(column.replace("_", " "), justify="left" if column in {"class", "taken_for"} else "right")
    worst = found.by_class.sort_values("recall", kind="stable", na_position="last").head(_MOST_CLASSES)
    for row in worst.itertuples(index=False):
        table.add_row(*("-" if cell is None or cell != cell else number(cell) for cell in row))  # noqa: PLR0124 - NaN
    yield table
    if len(worst) < len(found.by_class):
        yield Text(f"the {len(worst)} classes that are found least, of {len(found.by_class)}; --json has all")
