"""``autoft best``: the recipe of a run, and why it won."""

from typing import TYPE_CHECKING, Annotated

import typer

from autoft.cli.options import AsJson, RunFolder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from rich.table import Table

    from autoft.tuner.result import SearchResult

_SHOWN = 8


def best(
    run: RunFolder,
    as_json: AsJson = False,
    pareto: Annotated[bool, typer.Option("--pareto", help="Print the Pareto front of several objectives.")] = False,
    trial: Annotated[int | None, typer.Option(metavar="N", help="Print the recipe of this trial instead.")] = None,
) -> None:
    """Print the best recipe of a run as YAML, and why it won.

    In a pipe the reasons are YAML comments, so that ``autoft best runs/photos > recipe.yaml`` is a recipe.
    """
    from autoft.cli.output import print_json, say
    from autoft.recipe import yaml
    from autoft.tuner.result import SearchResult

    result = SearchResult.load(run)
    if pareto:
        front = result.pareto
        if as_json:
            print_json(front)
        else:
            _print(_front(front))
        return
    recipe = (result.best_recipe if trial is None else result.recipe(trial)).full()
    if as_json:
        print_json({"recipe": recipe, **({"summary": result.summary} if trial is None else {})})
        return
    why = _why(result) if trial is None else None  # what is wrong with a table is told before anything is printed
    say(yaml.dumps(recipe).rstrip())
    if why:
        say(why)


def _why(result: "SearchResult") -> str:
    """Why the recipe won; in a pipe as YAML comments."""
    import sys

    from rich.console import Console

    from autoft.cli.outcome import outcome

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
    with console.capture() as captured:
        console.print()
        for part in (*outcome(result.summary), "", leaders(result)):
            console.print(part)
    lines = captured.get().splitlines()
    return "\n".join(lines if sys.stdout.isatty() else (f"# {line}".rstrip() for line in lines))


def _print(table: "Table") -> None:
    from rich.console import Console

    Console(highlight=False, soft_wrap=True).print(table)


def _front(front: "Mapping[str, Any]") -> "Table":
    """The trials that no other betters in all objectives, the best by the first on top."""
    from rich.table import Table

    from autoft.cli.output import number

    table = Table(box=None, pad_edge=False)
    table.add_column("trial")
    for name, mode in front["objectives"].items():
        table.add_column(f"{name} ({mode})", justify="right")
    for point in front["front"]:
        table.add_row(str(point["trial"]), *(number(value) for value in point["values"].values()))
    return table


def leaders(result: "SearchResult") -> "Table":
    """The best trials, best first, and how each ended."""
    from rich.table import Table
    from rich.text import Text

    from autoft.cli.output import number

    frame = result.trials_dataframe()
    ranked = frame.dropna(subset=["value"]).sort_values(
        "value", ascending=result.summary["mode"] == "min", kind="stable"
    )
    parameters = [column for column in ranked.columns if column.startswith("params.")]
    table = Table(box=None, pad_edge=False)
    for heading in ("trial", result.summary["metric"], "epochs", "settings", "how it ended"):
        table.add_column(heading, overflow="fold")
    for row in ranked.head(_SHOWN).to_dict("records"):
        settings = " ".join(f"{name[7:]}={number(row[name])}" for name in parameters if row[name] == row[name])
        why = ": ".join(part for part in (row["reason"], row["reason_text"]) if isinstance(part, str))
        how = f"{row['state'].lower()}{f' ({why})' if why else ''}"
        cells = (str(row["trial"]), number(row["value"]), number(row["epochs"]), settings or "-", how)
        table.add_row(*(Text(cell) for cell in cells))
    return table
