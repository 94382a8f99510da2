"""The job that sends, as the process that it is on the cluster: its log is a file."""

import os
import signal
import subprocess
import sys
import time

import pytest

from autoft.jobs.order import Order
from autoft.jobs.transfer import received

CONTENT = {"search.yaml": b"model: m\n", "trials.csv": b"trial\n0\n"}


@pytest.fixture
def sender(tmp_path):
    """Starts a job that sends a run, in a folder with its order; gives the process and its log."""
    processes = []

    def start(run):
        package = tmp_path / "package"
        for name, text in Order(verb="send", run=run, storage_path="runs").files().items():
            (package / name).parent.mkdir(parents=True, exist_ok=True)
            (package / name).write_text(text)
        log = tmp_path / "log"
        with log.open("a") as file:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "autoft", "job"],
                cwd=package,
                env={**os.environ, "HOME": str(tmp_path), "PYTHONUNBUFFERED": "1"},
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        processes.append(process)
        return process, log

    yield start
    for process in processes:
        process.kill()
        process.wait()


def test_a_run_is_written_to_the_log_which_is_emptied_when_the_job_is_stopped(sender, tmp_path):
    run = tmp_path / "runs" / "one"
    run.mkdir(parents=True)
    for name, content in CONTENT.items():
        (run / name).write_bytes(content)
    process, log = sender("one")
    until = time.monotonic() + 120
    while "autoft-end\n" not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < until
        time.sleep(0.05)
    assert set(received([log.read_text()], tmp_path / "here").files) == set(CONTENT)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0
    assert log.read_text() == ""


def test_what_cannot_be_sent_stays_in_the_log_as_a_sentence(sender):
    process, log = sender("none")
    assert process.wait(timeout=120) == 2
    assert "runs/none: is not a run" in log.read_text()
