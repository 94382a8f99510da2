"""The doctor asked from elsewhere: a job that answers and is gone."""

import json

import pytest

from autoft.doctor import Report, reports_in
from autoft.doctor.finding import ok
from autoft.errors import ClusterError
from autoft.jobs.memory import MemorySubmitter
from autoft.jobs.question import DOCTOR, answer
from autoft.jobs.watch import Pace


def asked(*lines, code=0):
    """The answer of a cluster whose job writes these lines, and what is left of it."""

    def play(entrypoint, _package):
        assert entrypoint == DOCTOR
        yield from (f"{line}\n" for line in lines)
        if code:
            raise SystemExit(code)

    submitter = MemorySubmitter(play, "2.0.0")
    pace = Pace(sleep=lambda _seconds: list(submitter.follow(submitter.jobs()[-1].id)))
    try:
        return answer(submitter, pace=pace)
    finally:
        assert list(submitter.jobs()) == []


def test_the_answer_is_what_the_job_printed_last():
    reports = [Report("a", (ok("disk", "fine"),), {"ray": "2.60.0"}), Report("b", (ok("gpu", "none"),))]
    line = json.dumps({"counts": {"ok": 2}, "cluster": [], "nodes": [report.plain() for report in reports]})
    assert reports_in(asked("a word of Ray's", line, "", code=1)) == reports


def test_a_job_that_says_nothing_is_one_sentence():
    with pytest.raises(ClusterError, match="tells nothing: No module named autoft"):
        asked("starting", "error: No module named autoft", code=1)
