import pytest

from autoft.errors import ClusterError, JobFailedError
from autoft.jobs.job import Job, JobState
from autoft.jobs.order import TAKEN
from autoft.jobs.watch import Pace, last_error, raise_unless_successful, wait_for_end, wait_for_start, wait_until_taken


class Scripted:
    """Tells one state after the other."""

    def __init__(self, *jobs):
        self._jobs = list(jobs)

    def info(self, _job):
        return self._jobs.pop(0) if len(self._jobs) > 1 else self._jobs[0]


class Clock:
    def __init__(self):
        self.at = 0.0

    @property
    def pace(self):
        return Pace(lambda: self.at, self.sleep, every_s=1.0)

    def sleep(self, seconds):
        self.at += seconds


PENDING = Job("a", JobState.PENDING, "Job has not started yet.\nIt may be waiting for resources.")
RUNNING = Job("a", JobState.RUNNING)


def test_a_job_that_starts_is_waited_for():
    clock = Clock()
    assert wait_for_start(Scripted(PENDING, PENDING, RUNNING), "a", 10, clock.pace) is RUNNING
    assert clock.at == 2.0


def test_a_job_that_does_not_start_in_time_is_told_with_the_clusters_reason_and_the_remedies():
    with pytest.raises(
        ClusterError, match=r"not started within 10 s.*waiting for resources\..*autoft stop a.*--start-t"
    ):
        wait_for_start(Scripted(PENDING), "a", 10, Clock().pace)


def test_a_job_that_cannot_start_is_told_with_the_clusters_reason():
    failed = Job("a", JobState.FAILED, "Traceback\n  File\nRuntimeEnvSetupError: the disk is full")
    with pytest.raises(
        ClusterError, match="a: could not start; the cluster says: RuntimeEnvSetupError: the disk is full"
    ):
        wait_for_start(Scripted(PENDING, failed), "a", 10, Clock().pace)


def test_a_job_that_fails_at_once_has_started():
    failed = Job("a", JobState.FAILED, exit_code=2)
    assert wait_for_start(Scripted(failed), "a", 10, Clock().pace) is failed


class Talking(Scripted):
    """Has said one more of its sentences each time it is read."""

    def __init__(self, *jobs, log):
        super().__init__(*jobs)
        self._log, self._said = log, 0

    def log(self, _job):
        self._said += 1
        return "".join(self._log[: self._said])


def test_a_search_has_begun_when_its_job_has_taken_the_order():
    clock = Clock()
    talking = Talking(PENDING, RUNNING, log=["setting up\n", f"{TAKEN}runs/one\n"])
    assert wait_until_taken(talking, "a", 10, clock.pace) is RUNNING
    assert clock.at == 2.0


def test_a_job_that_refuses_its_order_is_not_waited_for():
    failed = Job("a", JobState.FAILED, exit_code=2)
    assert wait_until_taken(Talking(RUNNING, RUNNING, failed, log=["", ""]), "a", 10, Clock().pace) is failed


def test_a_job_that_says_nothing_is_waited_for_as_long_as_asked():
    with pytest.raises(ClusterError, match=r"has not taken its order within 10 s; it goes on.*--start-timeout"):
        wait_until_taken(Talking(RUNNING, log=["python starts"]), "a", 10, Clock().pace)


def test_the_end_is_waited_for_and_no_longer_than_asked():
    ended = Job("a", JobState.STOPPED)
    assert wait_for_end(Scripted(RUNNING, ended), "a", pace=Clock().pace) is ended
    with pytest.raises(ClusterError, match="not ended within 5 s"):
        wait_for_end(Scripted(RUNNING), "a", 5, Clock().pace)


LOG = "trial 0 started\nerror: versions differ: ray is 2 there\ninstall the same\n"


@pytest.mark.parametrize(
    ("job", "code", "told"),
    [
        (Job("a", JobState.FAILED, exit_code=2), 2, "failed with exit code 2: versions differ: ray is 2 there install"),
        (Job("a", JobState.FAILED, "the node died"), 1, "exit code 1: versions"),
        (Job("a", JobState.FAILED, exit_code=127), 127, "the cluster finds no python; start Ray"),
        (Job("a", JobState.STOPPED), 130, "was stopped; nothing is lost, submit under the same name"),
    ],
)
def test_the_end_of_a_job_becomes_an_error_with_its_exit_code(job, code, told):
    with pytest.raises(JobFailedError) as error:
        raise_unless_successful(job, LOG)
    assert error.value.exit_code == code
    assert told in str(error.value)


def test_success_is_no_error():
    raise_unless_successful(Job("a", JobState.SUCCEEDED, exit_code=0), "")


def test_without_an_error_in_the_log_the_cluster_is_quoted_and_not_at_any_length():
    assert last_error(Job("a", JobState.FAILED, "it died"), "all well") == "it died"
    assert len(last_error(Job("a", JobState.FAILED, "x" * 5000), "")) < 700
