"""Runs a conducted search on Ray Tune: start Ray, one actor per slot, no word on the terminal."""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray import tune

from autoft.errors import SearchFailedError
from autoft.interrupts import remembered
from autoft.tuner.conductor import Conductor
from autoft.tuner.confirmation.relay import Relay
from autoft.tuner.layout import Slots, core_count
from autoft.tuner.ray_adapters import ConductedScheduler, ConductedSearcher
from autoft.tuner.ray_token import provide_token
from autoft.tuner.ray_trainable import Meeting, Parcel, TrialActor
from autoft.tuner.worker import WorkerContext

_QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
    "TUNE_WARN_SLOW_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "1000000",
}
_OBJECT_STORE_BYTES = 200 * 2**20
_WORKER_RESTARTS = 2
_HEAD_START_S = 0.2
"""Data that are not there are found within this time; then Ray is not started at all."""


class RaySession:
    """Ray, started in the background while the driver imports and decodes, and stopped if it was started here."""

    def __init__(self) -> None:
        self._mine = not ray.is_initialized()
        self._error: Exception | None = None
        self._unwanted, self._up, self._over = threading.Event(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._live, daemon=True)
        logging.getLogger("ray").setLevel(logging.ERROR)
        os.environ.update({key: value for key, value in _QUIET.items() if key not in os.environ})
        if self._mine:
            self._thread.start()

    @property
    def borrowed(self) -> bool:
        """Whether Ray was running before, and will be afterwards."""
        return not self._mine

    def ready(self) -> None:
        """Wait until Ray is up.

        Raises:
            SearchFailedError: it did not start.
        """
        if self._mine:
            self._up.wait()
        _take_sigterm_back()
        if self._error is not None:
            raise SearchFailedError(f"Ray could not be started: {self._error}") from self._error

    def close(self) -> None:
        """Stop Ray, unless it was running before."""
        if self._mine:
            self._unwanted.set()
            self._up.wait()
            ray.shutdown()
            self._over.set()
            self._thread.join()

    def _live(self) -> None:
        """Start Ray and stay: the kernel ends Ray's processes with the thread that started them."""
        if self._unwanted.wait(_HEAD_START_S):
            self._up.set()
            return
        try:
            provide_token()
            ray.init(
                address="local",
                num_cpus=core_count(),
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=False,
                object_store_memory=_OBJECT_STORE_BYTES,
            )
        except Exception as error:  # noqa: BLE001 - carried to the thread that waits
            self._error = error
        self._up.set()
        self._over.wait()


def _take_sigterm_back() -> None:
    """Install the program's own handler again: Ray's, which aborts, has taken its place below Python."""
    handler = signal.getsignal(signal.SIGTERM)
    if handler is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


@contextmanager
def ray_session() -> Iterator[RaySession]:
    """A `RaySession` that is closed whatever happens."""
    session = RaySession()
    try:
        yield session
    finally:
        session.close()


def run_on_ray(
    conductor: Conductor | Relay, context: WorkerContext, slots: Slots, scratch: Path, *, borrowed: bool = False
) -> None:
    """Run until the conductor has no more trials.

    Args:
        conductor: opened.
        context: what the workers need; put once into Ray's object store.
        slots: trials at a time.
        scratch: a folder for Ray Tune's own files, of no use afterwards.
        borrowed: Ray goes on when the search is over, so that nothing may be left in it.

    Raises:
        SearchFailedError: trials crash for one cause, or Ray Tune itself failed.
    """
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(slots.count)  # all workers start at once, not one after the other
    with remembered() as ask:
        scheduler = ConductedScheduler(conductor, ask)
        tuner = _tuner(conductor, scheduler, context, slots, scratch)
        try:
            tuner.fit()
        except tune.TuneError as error:
            raise SearchFailedError(f"Ray Tune failed: {error}; resume the run to go on") from error
        except BaseException:
            if borrowed:
                scheduler.give_back()
            raise
        ask()
    conductor.raise_if_failed()


def _tuner(
    conductor: Conductor | Relay, scheduler: ConductedScheduler, context: WorkerContext, slots: Slots, scratch: Path
) -> tune.Tuner:
    meeting = Meeting(scratch.resolve() / "workers", min(slots.count, conductor.trials_to_come))
    trainable: Any = tune.with_parameters(TrialActor, parcel=Parcel.pack(context, meeting))
    return tune.Tuner(
        tune.with_resources(trainable, _bundles(slots)),
        tune_config=tune.TuneConfig(
            search_alg=ConductedSearcher(conductor),
            scheduler=scheduler,
            num_samples=-1,
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(scratch.resolve()),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=_WORKER_RESTARTS),
        ),
    )


def _bundles(slots: Slots) -> tune.PlacementGroupFactory:
    """What Ray reserves for a trial: a bundle for each of its workers, of which the actor has the first."""
    bundle = {"CPU": float(slots.cpus), **({"GPU": slots.gpus} if slots.gpus else {})}
    return tune.PlacementGroupFactory([bundle] * slots.workers, strategy="PACK")


def _trial_name(trial: Any) -> str:
    """A trial that was paused and thawed is two trials to Tune."""
    return f"trial-{trial.config['number']:04d}-{trial.trial_id}"
