"""``autoft predict``: what a fine-tuned model says of new images."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoft.cli.options import AsJson, Device, FittedModel

if TYPE_CHECKING:
    from pandas import DataFrame


def predict(
    model: FittedModel,
    images: Annotated[list[str], typer.Argument(metavar="IMAGES...", help="Image files, or folders of them.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a CSV file; default: to standard output.")
    ] = None,
    device: Device = None,
    as_json: AsJson = False,
) -> None:
    """Predict new images: a CSV table of image, prediction and probabilities."""
    from autoft.cli.output import few, note, print_json, say, warn
    from autoft.files import write_text
    from autoft.tuner.predictor import Predictor

    table = Predictor.load(model, device=device).predict(images)
    lost = table["item"][table["prediction"].isna()].tolist()
    if lost:
        warn(f"{len(lost)} of {len(table)} images cannot be read ({few(lost)}): they have no prediction")
    if out:
        write_text(out, table.to_csv(index=False))
        note(f"{len(table)} predictions in {out}")
    if as_json:
        print_json({"predictions": _records(table)})
    elif not out:
        say(table.to_csv(index=False).rstrip("\n"))


def _records(table: "DataFrame") -> list[dict[str, object]]:
    """The rows as JSON knows them."""
    plain = table.astype(object).where(table.notna(), None)
    return [{str(name): value for name, value in row.items()} for row in plain.to_dict("records")]
