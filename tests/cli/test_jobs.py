"""The verbs around jobs: what is refused before anything is sent, and what Ctrl-C means."""

import signal

import pytest

from autoft.cli.edge import guarded
from autoft.cli.following import follow
from autoft.cli.main import app
from autoft.errors import DetachedError, JobFailedError
from autoft.jobs.memory import MemorySubmitter
from autoft.jobs.order import FOLDER, ORDER_FILE, Order, versions
from autoft.jobs.submission import Submission


@pytest.fixture(autouse=True)
def _signal_handler_is_put_back():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def play(entrypoint, _package):
    yield "trial 0 started\n"
    if entrypoint == "interrupted":
        raise KeyboardInterrupt
    if entrypoint == "failing":
        yield "error: the disk is full\n"
        raise SystemExit(2)


def submission(entrypoint):
    submitter = MemorySubmitter(play, "2.0.0")
    submitter.submit("one-1", entrypoint, None, {})
    return Submission("one-1", submitter)


def test_the_log_is_printed_as_it_comes(capsys):
    follow(submission("well"))
    assert capsys.readouterr().out == "trial 0 started\n"


def test_a_failed_job_ends_the_following_with_its_error_and_exit_code(capsys):
    with pytest.raises(JobFailedError, match="one-1: failed with exit code 2: the disk is full") as error:
        follow(submission("failing"))
    assert error.value.exit_code == 2


def test_ctrl_c_leaves_the_job_running_and_says_how_to_stop_it(capsys):
    followed = submission("interrupted")
    with pytest.raises(DetachedError, match=r"one-1: goes on without .*autoft stop one-1") as error:
        follow(followed)
    assert error.value.exit_code == 130
    assert followed.info().state == "RUNNING"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["logs", "a/b", "--address=http://127.0.0.1:9"], "job: must be an id"),
        (["stop", "../a", "--address=http://127.0.0.1:9"], "job: must be an id"),
        (["jobs", "--address=ray://head:10001"], "must be the URL of a Ray dashboard"),
        (["fetch", "one-1", "--address=http://head.example.org"], "is another machine, and there is no token"),
        (["jobs", "--address=http://127.0.0.1:9"], "http://127.0.0.1:9: cannot be reached"),
        (["submit", "--data=digits", "--model=resnet18", "--start-timeout=soon"], "--start-timeout: must be a length"),
        (["submit", "--data=photos", "--model=resnet18"], "data.source: photos is relative"),
        (["job"], "autoft job: is what a submitted job runs"),
    ],
)
def test_bad_input_ends_with_exit_code_2_and_a_sentence(arguments, told, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    assert guarded(lambda: app(arguments, standalone_mode=False)) == 2
    told_now = capsys.readouterr()
    assert told in told_now.err
    assert (told_now.out, told_now.err.count("\n")) == ("", 1)


def test_a_job_refuses_other_versions_before_anything_else_is_read(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    order = Order(verb="search", run="one", storage_path="runs", versions={**versions(), "torch": "1.0.0"})
    (tmp_path / FOLDER).mkdir()
    (tmp_path / ORDER_FILE).write_text(order.files()[ORDER_FILE])
    assert guarded(lambda: app(["job"], standalone_mode=False)) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: versions differ: torch is 1.0.0 where it was submitted and")
    assert told.count("\n") == 1
