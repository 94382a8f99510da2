"""How the values of options are read, and the options that several verbs share."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from autoft.errors import ConfigError
from autoft.recipe import parse_assignment

_NUMBER = r"\d+(?:\.\d+)?"
_SECONDS = re.compile(_NUMBER)
_UNITS = re.compile(rf"(?:(?P<h>{_NUMBER})h)?(?:(?P<m>{_NUMBER})m)?(?:(?P<s>{_NUMBER})s)?")
_UNIT_S = {"h": 3600.0, "m": 60.0, "s": 1.0}

Assignments: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Change any setting by its dotted path; may be given many times."),
]
AsJson: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print the result as one line of JSON, and nothing else, on standard output.")
]
Budget: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Wall-clock time until the recipe is written: 600, 90s, 10m, 1h, 1h30m."),
]
Cluster: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="ADDRESS",
        help="Ray cluster to run on, from one of its nodes: auto or HOST:PORT; default: $RAY_ADDRESS, or no cluster.",
    ),
]
DataSource: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="SOURCE", help="Image folder, .csv, .parquet or .npz file, or a built-in name (digits)."),
]
Device: TypeAlias = Annotated[
    str | None, typer.Option(metavar="NAME", help="cpu or cuda; default: cuda where there is one.")
]
FittedModel: TypeAlias = Annotated[
    str, typer.Argument(metavar="MODEL", help="A run or its URL, a folder of autoft train --out, or a model file.")
]
NumSamples: TypeAlias = Annotated[
    int | None, typer.Option(metavar="N", help="How many recipes to try, the baselines included.")
]
ConfigFile: TypeAlias = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="A search.yaml; options come on top of it.")
]
ModelName: TypeAlias = Annotated[str | None, typer.Option(metavar="NAME", help="A timm model, for example resnet18.")]
SpaceName: TypeAlias = Annotated[
    str | None, typer.Option(metavar="NAME", help="A shipped search space or a YAML file; default: freeze_depth.")
]
Quiet: TypeAlias = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
RunFolder: TypeAlias = Annotated[
    str, typer.Argument(metavar="RUN", help="The folder of a run, for example runs/photos, or its URL.")
]

Address: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Dashboard of the Ray cluster, http://head:8265; default: RAY_API_SERVER_ADDRESS, else this machine.",
    ),
]
JobId: TypeAlias = Annotated[str, typer.Argument(metavar="JOB", help="The id of a job, as autoft jobs shows it.")]


def parse_budget(text: str | None, *, option: str = "--time-budget") -> float | None:
    """Seconds in ``600``, ``90s``, ``10m``, ``1h`` or ``1h30m``; None stays None.

    Raises:
        ConfigError: another form, or no time at all.
    """
    if text is None:
        return None
    given = text.strip().lower()
    if _SECONDS.fullmatch(given):
        seconds = float(given)
    elif given and (found := _UNITS.fullmatch(given)):
        seconds = sum(float(amount) * _UNIT_S[unit] for unit, amount in found.groupdict().items() if amount)
    else:
        raise ConfigError(f"{option}: must be a length of time such as 600, 90s, 10m, 1h or 1h30m, got {text!r}")
    if seconds <= 0:
        raise ConfigError(f"{option}: must be longer than zero, got {text!r}; give for example 10m")
    return seconds


def parse_assignments(texts: Iterable[str] | None) -> dict[str, Any]:
    """The ``--set`` options as dotted path to value; the last one given for a path counts.

    Raises:
        ConfigError: one line for each that is not ``path=value``.
    """
    changes: dict[str, Any] = {}
    errors: list[str] = []
    for text in texts or ():
        try:
            path, value = parse_assignment(text)
        except ConfigError as error:
            errors.append(str(error))
        else:
            changes[path] = value
    if errors:
        raise ConfigError("\n".join(errors))
    return changes


def given(**options: Any) -> dict[str, Any]:
    """The options that were given: those that are not None."""
    return {name: value for name, value in options.items() if value is not None}
