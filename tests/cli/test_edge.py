import errno
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from autoft.cli.edge import guarded
from autoft.errors import ConfigError, FreezeError, RunLockedError, SearchInterruptedError, UnknownNameError


@pytest.fixture(autouse=True)
def _signal_handler_is_put_back():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def raising(error):
    def body():
        raise error

    return body


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        pytest.param(
            ConfigError("a: must be > 0, got -1\nb: is required"),
            2,
            "a: must be > 0, got -1\nb: is required",
            id="config",
        ),
        pytest.param(
            UnknownNameError("no 'x' (did you mean 'y'?)"), 2, "no 'x' (did you mean 'y'?)", id="unknown name"
        ),
        pytest.param(RunLockedError("another process"), 2, "another process", id="locked"),
        pytest.param(SearchInterruptedError("resume with X"), 130, "resume with X", id="interrupted search"),
        pytest.param(FreezeError("stem changed"), 1, "stem changed", id="broken law"),
        pytest.param(
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/a"),
            2,
            "runs/a: No space left on device; free some space, then run the same command again",
            id="full disk",
        ),
        pytest.param(
            OSError(errno.EROFS, os.strerror(errno.EROFS), "runs/a"),
            2,
            "runs/a: Read-only file system; choose a folder that can be written to",
            id="read-only disk",
        ),
        pytest.param(
            KeyboardInterrupt(),
            130,
            "interrupted before there was anything to keep; start the command again",
            id="ctrl-c",
        ),
    ],
)
def test_an_error_is_a_sentence_on_standard_error_and_an_exit_code(error, code, text, capsys):
    assert guarded(raising(error)) == code
    printed = capsys.readouterr()
    assert printed.err == f"error: {text}\n"
    assert printed.out == ""


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("division\nby zero"), ConnectionResetError(104, "reset"), OSError("odd")], ids=type
)
def test_anything_else_is_called_a_bug_and_its_traceback_is_kept(error, capsys):
    assert guarded(raising(error)) == 1
    printed = capsys.readouterr().err
    assert printed.startswith("error: this is a bug in autoft: ")
    assert printed.count("\n") == 1
    kept = Path(re.search(r"traceback, which is (\S+)$", printed.strip())[1])
    assert "in body" in kept.read_text()
    kept.unlink()


def test_without_a_place_for_the_traceback_it_is_printed(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    assert guarded(raising(ZeroDivisionError("x"))) == 1
    printed = capsys.readouterr().err
    assert "Traceback" in printed
    assert printed.strip().endswith("which is above")


def test_success_is_zero_and_a_code_is_passed_on():
    assert guarded(lambda: None) == 0
    assert guarded(lambda: 0) == 0


def test_a_wrong_option_says_where_help_is(capsys):
    app = typer.Typer()

    @app.command()
    def verb(count: int = 1):
        raise AssertionError

    assert guarded(lambda: app(["--count", "many"], standalone_mode=False, prog_name="verb")) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: Invalid value for '--count'")
    assert printed.endswith("; see verb --help\n")


def test_without_a_command_the_help_is_all_that_is_said(capsys):
    app = typer.Typer(no_args_is_help=True)
    app.command()(lambda: None)
    app.command("other")(lambda: None)
    assert guarded(lambda: app([], standalone_mode=False, prog_name="verb")) == 2
    printed = capsys.readouterr()
    assert "Usage: verb" in printed.out
    assert printed.err == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_interrupts_and_the_exit_code_is_130(number):
    program = (
        "import sys, time\nfrom autoft.cli.edge import guarded\n"
        "def body():\n print('ready', flush=True)\n time.sleep(60)\nsys.exit(guarded(body))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        _, printed = process.communicate(timeout=30)
    assert process.returncode == 130
    assert printed.startswith("error: interrupted")
