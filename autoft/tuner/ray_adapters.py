"""Where Ray Tune meets the conductor: its searcher and its scheduler."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from autoft.errors import AutoftError
from autoft.record import Action
from autoft.tuner.conductor import Assignment, Conductor, Turn
from autoft.tuner.confirmation.relay import Relay
from autoft.tuner.ray_loss import leave_at_once
from autoft.tuner.ray_memory import bear_memory_kills
from autoft.tuner.ray_trainable import REPORT
from autoft.tuner.silence import Silence
from autoft.tuner.worker import Report

WORKER_RESTARTS = 2
"""Of a trial whose worker dies again and again before the next evaluation."""
_OUT_OF_MEMORY = "low on memory"
"""What stands in Ray's error where its memory monitor has ended a process."""
_CAUSES = {
    _OUT_OF_MEMORY: "the worker process was ended because its node ran out of memory",
    "its node has died": "the node of the worker process died",
}
"""What stands in Ray's error, and what is said of it."""
_NOT_SHARED = "set up cluster storage"
"""The same, where Ray Tune does not find its folder on a node."""
_COUNTED_EVERY_S = 5.0
_STARTING_S = 20.0
"""Without a worker, as it is when the first ones start."""
_STARVED_S = 120.0
"""Without a worker, until that is said."""


class StarvedError(Exception):
    """The budget is used up, and no worker is there to hear of it."""


class ConductedSearcher(Searcher):
    """Asks the conductor for trials. Holds no state of its own: the ledger is the memory.

    Args:
        conductor: opened.
        alive: called before; raises when Ray is no more.
    """

    def __init__(self, conductor: Conductor | Relay, alive: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self._conductor, self._alive = conductor, alive

    def suggest(self, trial_id: str) -> Any:  # noqa: ARG002
        """The next trial's number and recipe; None while there is none."""
        self._alive()
        match self._conductor.next_trial():
            case Assignment(number, recipe, known, run, until):
                more = {name: value for name, value in (("run", run), ("until", until)) if value is not None}
                return {"number": number, "recipe": dict(recipe), "known": known, **more}
            case Turn.WAIT:
                return None
            case Turn.FINISHED:
                return Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:  # noqa: FBT001, FBT002
        """The scheduler has told the conductor."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


def nothing() -> None:
    """Do nothing."""


def not_for_memory(_config: Mapping[str, Any], _said: bool) -> None:  # noqa: FBT001 - positional, as the seam's
    """No worker was ended for lack of memory."""


class ConductedScheduler(TrialScheduler):
    """Carries reports to the conductor and its decisions back.

    Args:
        conductor: opened.
        ask: called in every turn of Tune's loop; raises what is to end it.
        room: asked now and then how many trials there is room for; None where no node can join or leave.
        mourn: has a trial, by its configuration, need less memory if its worker was ended for the lack of it, of which
            Ray may have said so; gives what the user is told, if anything follows.
        alive: called in every turn too; raises when Ray is no more.
    """

    def __init__(
        self,
        conductor: Conductor | Relay,
        ask: Callable[[], None] = nothing,
        room: Callable[[], int] | None = None,
        mourn: Callable[[Mapping[str, Any], bool], str | None] = not_for_memory,
        alive: Callable[[], None] = nothing,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._conductor, self._ask, self._mourn, self._alive = conductor, ask, mourn, alive
        self.refusal: AutoftError | None = None
        """What ended the search here, of which Tune tells no more than a traceback."""
        self._stopped: set[str] = set()
        self._reached: dict[str, int] = {}
        """By trial of Tune, its newest evaluation."""
        self._not_begun: Counter[int] = Counter()
        """By trial, how many workers were dead before they began with it."""
        self._waiting_since: float | None = None
        self._silence = Silence()
        self._room, self._counted_at = room, time.monotonic()
        self._controller: TuneController | None = None

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:  # noqa: ARG002
        """Metric and mode are the conductor's business."""
        return True

    def on_trial_add(self, tune_controller: TuneController, trial: Trial) -> None:  # noqa: ARG002
        """Remember who runs the trials."""
        if self._controller is None:
            bear_memory_kills(tune_controller)
        self._controller = tune_controller

    def give_back(self) -> None:
        """End the workers and give back what they hold; Tune does not after an interruption."""
        if self._controller:
            self._controller.cleanup()  # type: ignore[no-untyped-call]

    def on_trial_error(self, tune_controller: TuneController, trial: Trial) -> None:  # noqa: ARG002
        """A worker process died; Tune starts the trial again, and it restores itself, unless that happens too often.

        A trial that was stopped or paused here is no business of its worker any more. Where a worker that Tune kept for
        the next trial was dead when it was given that one, Tune (2.60) hears of the death twice: it starts the trial
        again, and gives up the trial that it has just started. Then the conductor hands it out anew.
        """
        if trial.trial_id not in self._stopped:
            with self._remembered():
                self._hear_of_death(trial)

    def _hear_of_death(self, trial: Trial) -> None:
        told, number = _told(trial), trial.config["number"]
        given_up = trial.status == Trial.PENDING
        self._not_begun[number] += given_up
        if max(trial.run_metadata.num_failures - given_up, self._not_begun[number]) > WORKER_RESTARTS:
            self._stopped.add(trial.trial_id)
            self._lose(number, told)
        elif given_up:
            self._stopped.add(trial.trial_id)
            self._conductor.put_back(number)
        elif halved := self._mourn(trial.config, _OUT_OF_MEMORY in told):
            self._conductor.say(halved)
            trial.run_metadata.num_failures = 0  # a single item is the end of halving

    def _lose(self, number: int, told: str) -> None:
        if _NOT_SHARED in told:
            refused = "a node does not see the run folder; give a --storage-path on storage that all nodes share"
            self._conductor.hear(number, Report(refused=refused, done=True))
        else:
            causes = (cause for sign, cause in _CAUSES.items() if sign in told)
            self._conductor.lost(number, next(causes, "the worker process died"))

    def on_trial_result(self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]) -> str:  # noqa: ARG002
        """Judge an evaluation.

        Tune starts a trial again whose worker dies just after it was told to stop. Such a one tells what is known.
        """
        self._ask()
        if trial.trial_id in self._stopped:
            return str(TrialScheduler.STOP)
        self._silence.broken(trial.trial_id)
        with self._remembered():
            return self._hear(trial, Report.from_plain(json.loads(result[REPORT])))

    def _hear(self, trial: Trial, report: Report) -> str:
        if report.evaluations and report.evaluations[-1].index > self._reached.get(trial.trial_id, 0):
            self._reached[trial.trial_id] = report.evaluations[-1].index
            trial.run_metadata.num_failures = 0  # a machine may fail any number of times while a trial gets on
            self._not_begun.pop(trial.config["number"], None)
        if self._conductor.hear(trial.config["number"], report) is Action.CONTINUE:
            return str(TrialScheduler.CONTINUE)
        self._stopped.add(trial.trial_id)
        if actor := trial.temporary_state.ray_actor:
            actor.rest.remote()
        return str(TrialScheduler.STOP)

    @contextmanager
    def _remembered(self) -> Iterator[None]:
        try:
            yield
        except AutoftError as error:
            self.refusal = self.refusal or error
            raise

    def on_trial_complete(self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]) -> None:
        """The conductor decided it."""

    def on_trial_remove(self, tune_controller: TuneController, trial: Trial) -> None:
        """A trial that never started."""

    def choose_trial_to_run(self, tune_controller: TuneController) -> Trial | None:
        """First come, first served."""
        self._ask()
        self.look_for_ray()
        trials: list[Trial] = tune_controller.get_trials()  # type: ignore[no-untyped-call]
        pending = [trial for trial in trials if trial.status == Trial.PENDING]
        self._look_for_nodes()
        self._look_for_silence([trial for trial in trials if trial.status == Trial.RUNNING])
        self._look_for_workers(waiting=bool(pending) and not any(trial.status == Trial.RUNNING for trial in trials))
        return pending[0] if pending else None

    def look_for_ray(self) -> None:
        """End the search when Ray is no more: what Tune would ask of it, also at the end, is never answered.

        Raises:
            SearchFailedError: it is.
        """
        try:
            self._alive()
        except AutoftError:
            if self._controller:
                leave_at_once(self._controller)
            raise

    def _look_for_silence(self, running: Sequence[Trial]) -> None:
        """End the workers that hang, and their trials as if they had said that their time is up."""
        for trial in running:
            silent_s = self._silence.too_long_s(trial.trial_id, trial.config.get("until"))
            if silent_s is not None and trial.trial_id not in self._stopped:
                self._stopped.add(trial.trial_id)
                self._conductor.say(
                    f"a worker did not stop when the time was up, said nothing for {silent_s:.0f} s and was ended; "
                    "does the data set or the model wait for something?"
                )
                with self._remembered():
                    self._conductor.hear(trial.config["number"], Report(out_of_time=True, done=True))
                trial.max_failures = 0  # so that Tune does not start it again
                if trial.temporary_state.ray_actor:
                    ray.kill(trial.temporary_state.ray_actor)

    def _look_for_nodes(self) -> None:
        """Let more trials run at a time when nodes have joined, and fewer when some have left."""
        now = time.monotonic()
        if self._room and now - self._counted_at > _COUNTED_EVERY_S:
            self._counted_at = now
            self._conductor.resize(self._room())

    def _look_for_workers(self, *, waiting: bool) -> None:
        """Say when all trials have been waiting for a while, as they do when all nodes are gone.

        Raises:
            StarvedError: the budget is used up meanwhile.
        """
        now = time.monotonic()
        if not waiting:
            self._waiting_since = None
            return
        self._waiting_since = self._waiting_since or now
        waited_s = now - self._waiting_since
        if waited_s > _STARTING_S and self._conductor.used_up:
            raise StarvedError
        if waited_s > _STARVED_S:
            self._conductor.say(f"for {_STARVED_S:.0f} s no node had room for a trial; the search waits for one")

    def debug_string(self) -> str:
        """Ray shows this in its own status, which is off."""
        return "conducted"

    def __getstate__(self) -> dict[str, Any]:
        return {}


def _told(trial: Trial) -> str:
    """What Ray said when a trial's worker died for the last time, in lower case."""
    try:
        return Path(trial.error_file or "").read_text(encoding="utf-8").rpartition("Failure #")[2].lower()
    except OSError:
        return ""
