"""The command ``autoft``: its verbs, and the version."""

import sys
from typing import Annotated

import typer

from autoft.cli.best import best
from autoft.cli.cache import cache
from autoft.cli.compare import compare
from autoft.cli.doctor import doctor
from autoft.cli.edge import guarded
from autoft.cli.evaluate import evaluate
from autoft.cli.fetch import fetch
from autoft.cli.groups import groups
from autoft.cli.init import init
from autoft.cli.job import job
from autoft.cli.jobs import jobs
from autoft.cli.logs import logs
from autoft.cli.plan import plan
from autoft.cli.predict import predict
from autoft.cli.resume import resume
from autoft.cli.search import search
from autoft.cli.stop import stop
from autoft.cli.submit import submit
from autoft.cli.train import train

app = typer.Typer(
    name="autoft",
    help="Find the best fine-tuning recipe for a pretrained model on your own data.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
for verb in (
    init,
    plan,
    search,
    resume,
    best,
    train,
    predict,
    evaluate,
    compare,
    groups,
    submit,
    jobs,
    logs,
    stop,
    fetch,
    doctor,
):
    app.command()(verb)
app.command(hidden=True)(job)
app.add_typer(cache, name="cache")


@app.callback(invoke_without_command=True)
def autoft(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    """Find the best fine-tuning recipe for a pretrained model on your own data."""
    if version:
        import autoft as package

        typer.echo(f"autoft {package.__version__}")
        raise typer.Exit


def run() -> None:
    """The program ``autoft``."""
    sys.exit(guarded(lambda: app(standalone_mode=False)))
