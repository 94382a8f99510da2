"""Bringing a run's files here: a small job on the cluster writes them into its log, see `autoft.jobs.transfer`."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from autoft.errors import ClusterError, RunError
from autoft.jobs.job import STORAGE_PATH, Job, new_id
from autoft.jobs.order import ENTRYPOINT, Order
from autoft.jobs.package import packaged
from autoft.jobs.submitter import STOP_WAIT_S, Submitter
from autoft.jobs.transfer import Received, digests, received
from autoft.jobs.watch import Pace, last_error, wait_for_end, wait_for_start
from autoft.remote import is_url, joined

_START_TIMEOUT_S, _NEW_S = 300.0, 60.0
_STUDY = "study.db"


def fetch(submitter: Submitter, job: Job, to: Path | None, pace: Pace) -> tuple[Path, Received]:
    """Bring recipe, model and tables of a search here; the folder, and what came.

    Raises:
        RunError: the job is no search, or the folder is that of a search on this machine.
        ClusterError: the run cannot be sent, or comes damaged; then nothing was changed.
    """
    if job.verb != "search":
        raise RunError(f"{job.id}: is no search of autoft; autoft jobs shows them")
    storage_path = job.metadata.get(STORAGE_PATH, "")
    if is_url(storage_path):
        url = joined(storage_path, job.run)
        raise RunError(f"{job.id}: its run is kept at {url}, and read from there: autoft best {url}")
    folder = to or Path("runs") / job.run
    if (folder / _STUDY).exists():
        raise RunError(f"{folder}: is the run of a search on this machine; give another folder: --to FOLDER")
    order = Order(verb="send", run=job.run, storage_path=storage_path, have=digests(folder))
    _forget_old_senders(submitter)
    with _sender(submitter, order, pace) as sender:
        with closing(submitter.follow(sender)) as pieces:
            found = received(pieces, folder)
        if found is None:
            ended = wait_for_end(submitter, sender, STOP_WAIT_S, pace)
            raise ClusterError(f"{job.id}: its files could not be sent: {last_error(ended, submitter.log(sender))}")
    return folder, found


@contextmanager
def _sender(submitter: Submitter, order: Order, pace: Pace) -> Iterator[str]:
    """The id of a job that sends, and is stopped after the block."""
    sender = new_id(f"{order.run}-send")
    with packaged(order.files()) as package:
        submitter.submit(sender, ENTRYPOINT, package, order.metadata())
    try:
        wait_for_start(submitter, sender, _START_TIMEOUT_S, pace)
        yield sender
    finally:
        submitter.stop(sender)


def _forget_old_senders(submitter: Submitter) -> None:
    """Take those of earlier fetches out of the cluster's list; a new one is left there, to lose no time."""
    for job in submitter.jobs():
        if job.verb == "send" and job.state.ended and time.time() - (job.ended_at or 0.0) > _NEW_S:
            submitter.forget(job.id)
