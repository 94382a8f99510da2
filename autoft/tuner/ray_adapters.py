"""Where Ray Tune meets the conductor: its searcher and its scheduler."""

import json
from collections.abc import Callable
from typing import Any

from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from autoft.record import Action
from autoft.tuner.conductor import Assignment, Conductor, Turn
from autoft.tuner.confirmation.relay import Relay
from autoft.tuner.ray_trainable import REPORT
from autoft.tuner.worker import Report


class ConductedSearcher(Searcher):
    """Asks the conductor for trials. Holds no state of its own: the ledger is the memory."""

    def __init__(self, conductor: Conductor | Relay) -> None:
        super().__init__()
        self._conductor = conductor
        self._numbers: dict[str, int] = {}

    def suggest(self, trial_id: str) -> Any:
        """The next trial's number and recipe; None while there is none."""
        match self._conductor.next_trial():
            case Assignment(number, recipe, known, run):
                self._numbers[trial_id] = number
                again = {} if run is None else {"run": run}
                return {"number": number, "recipe": dict(recipe), "known": known, **again}
            case Turn.WAIT:
                return None
            case Turn.FINISHED:
                return Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:  # noqa: FBT001, FBT002, ARG002
        """A worker process died more often than it may; anything else the scheduler has told the conductor.

        A trial that is thawed comes as another trial of Tune: what happens to the old one's worker is not its business.
        """
        number = self._numbers.pop(trial_id, None)
        if error and number is not None:
            self._conductor.lost(number, "the worker process died (killed, or out of memory)")

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


def nothing() -> None:
    """Do nothing."""


class ConductedScheduler(TrialScheduler):
    """Carries reports to the conductor and its decisions back.

    Args:
        conductor: opened.
        ask: called in every turn of Tune's loop; raises what is to end it.
    """

    def __init__(self, conductor: Conductor | Relay, ask: Callable[[], None] = nothing) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._conductor, self._ask = conductor, ask
        self._stopped: set[str] = set()
        self._controller: TuneController | None = None

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:  # noqa: ARG002
        """Metric and mode are the conductor's business."""
        return True

    def on_trial_add(self, tune_controller: TuneController, trial: Trial) -> None:  # noqa: ARG002
        """Remember who runs the trials."""
        self._controller = tune_controller

    def give_back(self) -> None:
        """End the workers and give back what they hold; Tune does not after an interruption."""
        if self._controller:
            self._controller.cleanup()  # type: ignore[no-untyped-call]

    def on_trial_error(self, tune_controller: TuneController, trial: Trial) -> None:
        """A worker process died; Tune starts the trial again, and it restores itself."""

    def on_trial_result(self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]) -> str:  # noqa: ARG002
        """Judge an evaluation.

        Tune starts a trial again whose worker dies just after it was told to stop. Such a one tells what is known.
        """
        self._ask()
        if trial.trial_id not in self._stopped:
            report = Report.from_plain(json.loads(result[REPORT]))
            if self._conductor.hear(trial.config["number"], report) is Action.CONTINUE:
                return str(TrialScheduler.CONTINUE)
            self._stopped.add(trial.trial_id)
        return str(TrialScheduler.STOP)

    def on_trial_complete(self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]) -> None:
        """The conductor decided it."""

    def on_trial_remove(self, tune_controller: TuneController, trial: Trial) -> None:
        """A trial that never started."""

    def choose_trial_to_run(self, tune_controller: TuneController) -> Trial | None:
        """First come, first served."""
        self._ask()
        trials: list[Trial] = tune_controller.get_trials()  # type: ignore[no-untyped-call]
        for trial in trials:
            if trial.status == Trial.PENDING:
                return trial
        return None

    def debug_string(self) -> str:
        """Ray shows this in its own status, which is off."""
        return "conducted"

    def __getstate__(self) -> dict[str, Any]:
        return {}
