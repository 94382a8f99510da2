"""A question to a cluster: a small job whose log is the answer, and which is gone afterwards."""

from autoft.errors import ClusterError
from autoft.jobs.job import VERB, new_id
from autoft.jobs.package import packaged
from autoft.jobs.submitter import Submitter
from autoft.jobs.watch import PACE, Pace, last_error, wait_for_end, wait_for_start

DOCTOR = "cd && exec python -P -m autoft doctor --json --address auto"
"""The doctor's: it asks every node, and looks at the runs in the home folder of who runs the cluster."""
_START_S, _ANSWER_S, _STOP_S = 120.0, 400.0, 150.0


def answer(submitter: Submitter, question: str = DOCTOR, pace: Pace = PACE) -> str:
    """The last line that a command writes on a node of the cluster.

    Raises:
        ClusterError: the command cannot start, does not end in time, or has nothing to say.
    """
    job = new_id("doctor")
    with packaged({}) as package:
        submitter.submit(job, question, package, {VERB: "doctor"})
    try:
        wait_for_start(submitter, job, _START_S, pace)
        ended = wait_for_end(submitter, job, _ANSWER_S, pace)
        told = [line for line in submitter.log(job).splitlines() if line.startswith("{")]
        if not told:
            raise ClusterError(f"{submitter.address}: tells nothing: {last_error(ended, submitter.log(job))}")
        return told[-1]
    finally:
        submitter.stop(job)
        wait_for_end(submitter, job, _STOP_S, pace)
        submitter.forget(job)
