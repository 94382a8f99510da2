"""``autoft fetch``: bring recipe, model and tables of a search here."""

from pathlib import Path
from typing import Annotated

import typer

from autoft.cli.options import Address, AsJson, JobId


def fetch(
    job: JobId,
    to: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Where to; default: runs/NAME.")] = None,
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Bring recipe, model and tables here, as far as they are written; what is here already is not sent again."""
    from autoft.cli.output import print_json, say, size, warn
    from autoft.jobs.submission import submission_of

    folder, found = submission_of(job, address).fetch(to)
    if as_json:
        print_json({"folder": str(folder), "files": list(found.names), "new": list(found.files), "bytes": found.nbytes})
        return
    say(f"{folder}: {len(found.files)} files fetched, {size(found.nbytes)}; {len(found.same)} were here already")
    if "best_recipe.yaml" not in found.names:
        warn("the search has no recipe yet; fetch again when it has ended")
        return
    say(f"look    autoft best {folder}")
    say(f"replay  autoft train {folder / 'best_recipe.yaml'} --data SOURCE")
