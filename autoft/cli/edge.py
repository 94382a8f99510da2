"""The error edge: whatever a verb raises becomes one clear sentence and an exit code."""

import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any

import typer

from autoft.errors import AutoftError, SearchInterruptedError, described
from autoft.files import storage_error

# Typer once used click and now carries its own copy, so the base of all usage errors has two homes.
_USAGE_ERROR: type = typer.BadParameter.mro()[1]
_INTERRUPTED = SearchInterruptedError.exit_code
_BUG, _USAGE = 1, 2


def guarded(body: Callable[[], Any]) -> int:
    """Run the command line and return its exit code; nothing but an exit request gets past.

    0 is success, 2 wrong input or a disk that refuses, 130 an interruption (Ctrl-C or SIGTERM), 1 anything else.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        code = body()
    except AutoftError as error:
        _say(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except OSError as error:
        if error.errno is None or isinstance(error, ConnectionError):
            return _bug(error)
        _say(str(storage_error(error)))
        return _USAGE
    except Exception as error:  # noqa: BLE001 - the edge of the program
        return _usage(error) if isinstance(error, _USAGE_ERROR) else _bug(error)
    if code == _INTERRUPTED:  # typer turns an interruption into this code
        _say("interrupted before there was anything to keep; start the command again")
    return code if isinstance(code, int) else 0


def _interrupt(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler's signature
    raise KeyboardInterrupt


def _usage(error: Any) -> int:
    if not error.format_message():  # no command was given: its help is shown
        return _USAGE
    command = error.ctx.command_path if error.ctx else "autoft"
    _say(f"{error.format_message().rstrip('.')}; see {command} --help")
    return _USAGE


def _bug(error: Exception) -> int:
    try:
        handle, path = tempfile.mkstemp(prefix="autoft-bug-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            traceback.print_exception(error, file=file)
    except OSError:
        traceback.print_exception(error, file=sys.stderr)
        path = "above"
    _say(f"this is a bug in autoft: {described(error)}; please report it with the traceback, which is {path}")
    return _BUG


def _say(message: str) -> None:
    typer.secho("error: ", fg=typer.colors.RED, err=True, nl=False)
    typer.echo(message, err=True)
