"""``autoft init``: a search.yaml to begin with."""

from pathlib import Path
from typing import Annotated

import typer

from autoft.cli.options import DataSource, ModelName
from autoft.errors import ConfigError


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it.")] = Path("search.yaml"),
    model: ModelName = None,
    data: DataSource = None,
) -> None:
    """Write a search.yaml in which every setting stands with its meaning and the value that it has by default."""
    from autoft.cli.output import say
    from autoft.files import write_text
    from autoft.tuner.config import resolve_config
    from autoft.tuner.template import search_yaml

    if file.exists():
        raise ConfigError(f"{file}: is there already; give another file name, or take it away")
    options = {"model.name": model or "resnet18", "data.source": data or "photos/"}
    write_text(file, search_yaml(resolve_config(None, [], options)))
    say(f"{file}: model and data are set, all else is as it is without the file; autoft search -c {file}")
