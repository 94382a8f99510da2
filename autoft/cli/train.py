"""``autoft train``: replay a recipe."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autoft.cli.options import AsJson, Assignments, Quiet, parse_assignments

if TYPE_CHECKING:
    from autoft.recipe import Recipe
    from autoft.record import Decision, Evaluation
    from autoft.tuner.replay import Fitted

RECIPE_FILE, METRICS_FILE = "recipe.yaml", "metrics.json"


def train(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A recipe, for example runs/photos/best_recipe.yaml, or its URL.")
    ],
    data: Annotated[
        str,
        typer.Option(metavar="SOURCE", help="Image folder, .csv, .parquet or .npz file, or a built-in name (digits)."),
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where to write recipe, model and metrics; default: nowhere.")
    ] = None,
    reuse: Annotated[
        bool,
        typer.Option("--reuse/--no-reuse", help="Keep what frozen layers make of the data; changes no CPU result."),
    ] = True,
    metric: Annotated[
        str | None, typer.Option(metavar="NAME", help="What the best epoch is chosen by; default: the recipe's metric.")
    ] = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Fine-tune by a recipe. On the CPU a search's best recipe gives its validation value again, exactly."""
    from autoft.cli.output import note, reserved_stdout, say, warn
    from autoft.files import write_text
    from autoft.tuner.as_json import to_json
    from autoft.tuner.place import read_recipe
    from autoft.tuner.replay import fine_tune

    chosen = read_recipe(recipe).override(parse_assignments(assignments), where=recipe)
    if out:
        chosen.save(out / RECIPE_FILE)  # a disk that refuses does so before the training
    with reserved_stdout() if as_json else nullcontext():
        fitted = fine_tune(chosen, data, metric=metric, report=_reporter(quiet), reuse=reuse)
    for text in fitted.notes:
        note(text)
    for text in fitted.warnings:
        warn(text)
    result = to_json(result_of(fitted))
    if out:
        fitted.save(out)
        write_text(out / METRICS_FILE, result + "\n")
    if as_json:
        say(result)
    else:
        _print(chosen, fitted, out)


def result_of(fitted: "Fitted") -> dict[str, Any]:
    """The content of metrics.json."""
    return {
        "metric": fitted.objective.metric,
        "value": fitted.value,
        "reproduced": fitted.reproduced,
        "validation": dict(fitted.metrics),
        "test": dict(fitted.test) if fitted.test is not None else None,
        "classes": list(fitted.classes),
    }


def _reporter(quiet: bool) -> "Callable[[Evaluation], Decision]":
    from autoft.cli.output import note, number
    from autoft.record import CONTINUE

    def report(evaluation: "Evaluation") -> "Decision":
        if not quiet:
            losses = f"loss {number(evaluation.train_loss)} train, {number(evaluation.val_loss)} validation"
            note(f"{evaluation.stage} epoch {evaluation.epoch:g}: value {number(evaluation.value)}, {losses}")
        return CONTINUE

    return report


def _print(chosen: "Recipe", fitted: "Fitted", out: Path | None) -> None:
    from autoft.cli.output import number, say, warn

    metric = fitted.objective.metric
    say(f"validation  {metric} {fitted.value!r}{_compared(chosen, fitted)}")
    say(f"test        {metric} {number(fitted.test[metric])}" if fitted.test else "test        no test split")
    if out:
        say(f"written     {out}")
    if fitted.reproduced is False and not fitted.warnings:  # which say why
        warn("the value differs from the recipe's: other data, settings, versions or hardware than in the search")


def _compared(chosen: "Recipe", fitted: "Fitted") -> str:
    match fitted.reproduced:
        case True:
            return ", exactly the recipe's value"
        case False if chosen.provenance:
            return f", the recipe's value is {chosen.provenance.value!r}"
        case _:
            return ""
