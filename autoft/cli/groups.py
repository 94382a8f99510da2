"""``autoft groups``: what can be unfrozen in a model, and what it costs."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from autoft.cli.options import AsJson

if TYPE_CHECKING:
    from rich.table import Table

    from autoft.record import ModelCard


def groups(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A timm model, for example resnet18.")],
    image_size: Annotated[
        int | None,
        typer.Option(metavar="PIXELS", min=8, max=4096, help="Side of the images; default: the model's own."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show a model's layer groups from input to head: parameters, and share of the computing."""
    from rich.console import Console

    from autoft.cli.output import print_json

    card = _card(model, image_size)
    if as_json:
        print_json({**asdict(card), "depth": card.depth})
        return
    console = Console(highlight=False, markup=False, soft_wrap=True)
    pixels = image_size or card.image_size
    console.print(f"{card.name} ({card.family}): {card.depth} groups and the head, at {pixels} px")
    console.print(table_of(card))
    console.print("unfreeze: the number that trains this group, all above it, and the head")


def _card(model: str, image_size: int | None) -> "ModelCard":
    from autoft.model import build_card
    from autoft.recipe import ModelConfig

    return build_card(ModelConfig.parse({"name": model, "weights": "random"}, where="model"), image_size=image_size)


def table_of(card: "ModelCard") -> "Table":
    """One row per layer group, the head last."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("layer group")
    for heading in ("unfreeze", "layers", "parameters", "share of compute"):
        table.add_column(heading, justify="right")
    for position, group in enumerate(card.groups):
        table.add_row(
            group.name,
            str(card.depth - position),
            str(group.num_layers),
            f"{group.num_parameters:,}",
            f"{group.cost_share:.1%}",
        )
    parameters = sum(group.num_parameters for group in card.groups)
    table.add_row("total", "", str(sum(group.num_layers for group in card.groups)), f"{parameters:,}", "", style="bold")
    return table
