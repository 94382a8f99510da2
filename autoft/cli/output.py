"""Standard output and standard error, kept apart."""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import typer

_STDOUT, _STDERR = 1, 2


@contextmanager
def reserved_stdout() -> Iterator[None]:
    """Until the block ends, what anything (a worker process too) writes to standard output goes to standard error."""
    sys.stdout.flush()
    kept = os.dup(_STDOUT)
    os.dup2(_STDERR, _STDOUT)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, _STDOUT)
        os.close(kept)


def print_json(value: Mapping[str, Any]) -> None:
    """Print one line of JSON on standard output."""
    typer.echo(json.dumps(value, allow_nan=False))


def say(text: str) -> None:
    """Print on standard output."""
    typer.echo(text)


def note(text: str) -> None:
    """Print on standard error."""
    typer.echo(text, err=True)


def warn(text: str) -> None:
    """Print a warning on standard error."""
    typer.secho("warning: ", fg=typer.colors.YELLOW, err=True, nl=False)
    note(text)


def duration(seconds: float) -> str:
    """Seconds as people read them: ``8.4s``, ``3m05s``, ``1h02m``."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


def size(nbytes: int) -> str:
    """Bytes as people read them: ``640 kB``, ``1.2 GB``."""
    amount = float(nbytes)
    for unit in ("bytes", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.3g} GB"


def few(names: Sequence[str]) -> str:
    """The first three, and whether there are more."""
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def number(value: Any) -> str:
    """A metric or a setting in a table: four significant digits for floats."""
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
