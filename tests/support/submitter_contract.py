"""What every submitter must do."""

import asyncio
import time
from contextlib import closing

import pytest

from autoft.errors import ClusterError, JobFailedError, UnknownNameError
from autoft.jobs.job import JobState, check_id, new_id
from autoft.jobs.submission import Submission

FAILING, ENDLESS = "cat greeting; exit 3", "cat greeting; exec sleep 600"


class SubmitterContract:
    """A module gives the fixture `submitter`; the others are in tests/jobs/conftest.py."""

    def test_a_job_is_followed_to_its_end_and_has_an_exit_code(self, submitter, failed):
        job, log = failed
        found = submitter.info(job)
        assert "hello\n" in log
        assert (found.id, found.state, found.exit_code) == (job, JobState.FAILED, 3)
        assert (found.run, found.verb) == ("contract", "")
        assert found.started_at is not None

    def test_the_whole_log_can_be_read_again(self, submitter, failed):
        job, log = failed
        assert submitter.log(job) == log

    def test_a_job_that_has_ended_is_followed_and_waited_for_in_a_notebook_too(self, submitter, failed):
        async def cell():
            submission = Submission(failed[0], submitter)
            with pytest.raises(JobFailedError, match="failed with exit code 3"):
                submission.wait()
            return "".join(submission.follow())

        assert asyncio.run(cell()) == failed[1]

    def test_an_id_is_given_once(self, submitter, failed, package):
        with pytest.raises(ClusterError, match="already"):
            submitter.submit(failed[0], FAILING, package, {})

    def test_jobs_are_listed_until_they_are_forgotten(self, submitter, failed):
        assert failed[0] in [job.id for job in submitter.jobs()]

    @pytest.mark.parametrize("verb", ["info", "log", "stop", "forget"])
    def test_an_unknown_job_is_told(self, submitter, verb):
        with pytest.raises(UnknownNameError, match="has no job 'nobody'; autoft jobs shows them"):
            getattr(submitter, verb)("nobody")

    def test_an_unknown_job_cannot_be_followed(self, submitter):
        with pytest.raises(UnknownNameError, match="has no job 'nobody'"):
            next(submitter.follow("nobody"))

    def test_a_job_is_stopped_and_then_forgotten_and_not_before(self, submitter, package):
        job = new_id("contract")
        submitter.submit(job, ENDLESS, package, {})
        with closing(submitter.follow(job)) as pieces:
            log = ""
            while "hello" not in log:
                log += next(pieces)
        with pytest.raises(ClusterError):
            submitter.forget(job)
        submitter.stop(job)
        until = time.monotonic() + 60
        while not submitter.info(job).state.ended and time.monotonic() < until:
            time.sleep(0.2)
        assert submitter.info(job).state is JobState.STOPPED
        submitter.stop(job)
        submitter.forget(job)
        assert job not in [each.id for each in submitter.jobs()]

    def test_the_version_of_ray_is_known(self, submitter):
        assert check_id(submitter.ray_version())

    def test_it_lets_in_nobody_without_a_token(self, submitter):
        assert not submitter.is_open
