"""``autoft plan``: what a search would cost, before anything is spent."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from autoft.cli.options import (
    AsJson,
    Assignments,
    Budget,
    ConfigFile,
    DataSource,
    ModelName,
    NumSamples,
    SpaceName,
    parse_assignments,
    parse_budget,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

    from autoft.tuner.preview import Preview


def plan(
    config: ConfigFile = None,
    model: ModelName = None,
    data: DataSource = None,
    space: SpaceName = None,
    num_samples: NumSamples = None,
    time_budget: Budget = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
) -> None:
    """Tell what a search would cost, what it would keep on disk and how many trials a budget affords."""
    from autoft.cli.output import note, print_json, reserved_stdout
    from autoft.tuner.config import resolve_config
    from autoft.tuner.preview import preview

    options = {
        "model.name": model,
        "data.source": data,
        "space": space,
        "search.num_samples": num_samples,
        "search.time_budget_s": parse_budget(time_budget),
    }
    resolved = resolve_config(config, list(parse_assignments(assignments).items()), options)
    with reserved_stdout():
        found = preview(resolved, notify=note)
    if as_json:
        print_json(found.plain())
    else:
        _print(found)


def _print(found: "Preview") -> None:
    from rich.console import Console

    console = Console(highlight=False, markup=False, soft_wrap=True)
    for part in _parts(found):
        console.print(part)


def _parts(found: "Preview") -> "Iterator[RenderableType]":
    from rich.table import Table

    from autoft.cli.output import duration
    from autoft.cli.progress import planned

    items = ", ".join(f"{found.data[split]} {split}" for split in ("train", "val", "test"))
    yield f"{found.model.name} on {found.data['name']} ({items}), {found.num_samples} trials"
    yield f"plan: {planned(found.outlook.forecast)}"
    if not found.depths:
        yield "the model does not run by itself, so nothing can be predicted; autoft search tells why"
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("recipe")
    table.add_column("predicted", justify="right")
    table.add_column("without reuse", justify="right")
    for name, seconds in found.baselines.items():
        table.add_row(f"baseline {name}", duration(seconds), "")
    for name, seconds in found.portfolio.items():
        table.add_row(f"portfolio {name}", duration(seconds), "")
    for depth, (seconds, without) in found.depths.items():
        table.add_row(f"unfreeze {depth}", duration(seconds), duration(without))
    yield table
    if found.wall_s is not None:
        yield f"the whole search takes about {duration(found.wall_s)}"
    if found.time_budget_s is not None:
        yield f"{duration(found.time_budget_s)} afford about {found.affords} trials"
