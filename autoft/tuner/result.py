"""The result of a search, read from its run folder."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pandas as pd

from autoft.errors import RunError, UnknownNameError
from autoft.recipe import Recipe
from autoft.record import Objective, TrialRecord
from autoft.study import OptunaLedger, shown_url, sqlite_url
from autoft.tuner.place import read_folder
from autoft.tuner.run_folder import CONFIRMATION, RunFolder

if TYPE_CHECKING:
    import optuna
    from torch import nn

    from autoft.tuner.predictor import Predictor

_NEEDED = ("metric", "mode", "best_value", "winner", "test", "baselines", "trials", "reasons", "wall_s", "compute_s")
"""What every summary says."""


@dataclass(frozen=True, repr=False)
class SearchResult:
    """What a search found.

    Example:
        >>> result = autoft.search(model="resnet18", data="photos/")  # doctest: +SKIP
        >>> result.best_recipe.save("best.yaml")  # doctest: +SKIP
        >>> result = autoft.SearchResult.load("runs/resnet18-photos")  # on another day  # doctest: +SKIP
    """

    path: Path
    """The run folder."""
    summary: dict[str, Any]
    """The content of summary.json."""
    url: str | None = None
    """Of the run, where it is kept at one; then ``path`` is this machine's copy."""

    @classmethod
    def load(cls, run: str | Path) -> Self:
        """Read the result of a run, from its folder or its URL.

        Raises:
            RunError: not a run, its search has not come to a result yet, or its summary was damaged.
            StorageError: its URL cannot be reached.
        """
        folder = read_folder(run)
        if not folder.exists:
            raise RunError(
                f"{folder.place}: is not a run: it has no {folder.config_file.name}; start one with autoft search"
            )
        summary = folder.read_json(folder.summary)
        lacking = [key for key in _NEEDED if key not in summary] if isinstance(summary, dict) else list(_NEEDED)
        if lacking:
            raise RunError(f"{folder.summary}: damaged: it has no {lacking[0]!r}; {folder.resuming} writes it again")
        return cls(path=folder.path, summary=summary, url=folder.place if folder.url else None)

    def __repr__(self) -> str:
        """The run, its winner and what that is worth."""
        metric, trials = self.summary["metric"], sum(self.summary["trials"].values())
        test = f", {self.test[metric]:.4g} on test" if self.test else ""
        return (
            f"SearchResult({self.place!r}: trial {self.summary['winner']} of {trials} won, {metric} "
            f"{self.best_value:.4g} on validation{test})"
        )

    @property
    def place(self) -> str:
        """The run as the command line takes it: its URL or its folder."""
        return self.url or str(self.path)

    @property
    def best_recipe(self) -> Recipe:
        """The winner's recipe, as run."""
        return Recipe.load(RunFolder(self.path).best_recipe)

    def recipe(self, trial: int) -> Recipe:
        """The recipe of any trial, as run: what to run to get its best evaluation again.

        Raises:
            UnknownNameError: there is no such trial.
            RunError: it was never evaluated.
        """
        from autoft.tuner.rerun import rerun_of

        if not 0 <= trial < len(self.records):
            raise UnknownNameError(f"{self.place}: has no trial {trial}; it has trials 0 to {len(self.records) - 1}")
        record, objective = self.records[trial], self.ledger.objective
        if record.best(objective) is None:
            why = f": {record.reason_text}" if record.reason_text else ""
            raise RunError(f"{self.place}: trial {trial} has no evaluation to come to again{why}; name another one")
        known = self.best_recipe.provenance
        if known is None:
            raise RunError(
                f"{RunFolder(self.path).best_recipe}: has no provenance any more; {self._resuming} writes it again"
            )
        return rerun_of(
            record,
            objective,
            search=known.search,
            data_fingerprint=known.data_fingerprint,
            threads=known.threads,
            versions=known.versions,
        )

    @property
    def best_value(self) -> float:
        """The winner's metric on the validation split."""
        return float(self.summary["best_value"])

    @property
    def test(self) -> dict[str, float] | None:
        """Metrics on the test split of the model that was written; None without one."""
        test: dict[str, float] | None = self.summary["test"]
        return test

    @property
    def confirmation(self) -> dict[str, Any] | None:
        """What the runs with fresh seeds said: candidates, winner, why, what unfreezing bought; None without any."""
        confirmation: dict[str, Any] | None = self.summary.get("confirmation")
        return confirmation

    @property
    def cost(self) -> dict[str, float | None]:
        """Seconds: ``wall_s`` from start to end, ``compute_s`` of all trials, ``saved_s`` by reuse, ``predicted_s``.

        None is what could not be predicted.
        """
        return {name: self.summary.get(name) for name in ("wall_s", "compute_s", "saved_s", "predicted_s")}

    @property
    def pareto(self) -> dict[str, Any]:
        """The objectives with their modes, and the trials that no other betters in all of them.

        Raises:
            RunError: the search had one objective.
        """
        if "pareto" not in self.summary:
            raise RunError(
                f"{self.place}: had one objective, {self.summary['metric']}; for a front of its trials: autoft resume "
                f"{self.place} --set search.objectives=[{self.summary['metric']},cost]"
            )
        front: dict[str, Any] = self.summary["pareto"]
        return front

    def predictor(self, module: "nn.Module | None" = None) -> "Predictor":
        """Predicts new items with the model that was written.

        Args:
            module: what was searched, if that was a module of one's own.

        Raises:
            AutoftError: as `Predictor.load`.
        """
        from autoft.tuner.predictor import Predictor

        return Predictor.load(self.path, module=module)

    def trials_dataframe(self) -> pd.DataFrame:
        """One row per trial: state, reason, value, stage, epochs, seconds, parameters.

        Raises:
            RunError: trials.csv is not there or was damaged.
        """
        return self._table(RunFolder(self.path).trials_csv, "trial")

    def history(self) -> pd.DataFrame:
        """The learning curves: one row per evaluation, in the order of time, with its losses.

        Raises:
            RunError: history.csv is not there or was damaged.
        """
        return self._table(RunFolder(self.path).history_csv, "wall_s")

    @property
    def _resuming(self) -> str:
        return RunFolder(self.path, url=self.url).resuming

    def _table(self, path: Path, column: str) -> pd.DataFrame:
        """A table of the run that has the column."""
        resuming = self._resuming
        try:
            frame = pd.read_csv(path)
        except FileNotFoundError:
            raise RunError(f"{path}: is missing; {resuming} writes it again") from None
        except ValueError as error:  # pandas' own errors and those of text that is not UTF-8
            raise RunError(f"{path}: damaged: {' '.join(str(error).split())}; {resuming} writes it again") from None
        if column not in frame.columns:
            raise RunError(f"{path}: damaged: it has no column {column!r}; {resuming} writes it again")
        return frame

    @cached_property
    def ledger(self) -> OptunaLedger:
        """The study with autoft's records."""
        folder = RunFolder(self.path)
        objective = Objective(self.summary["metric"], self.summary["mode"])
        return open_ledger(folder, objective, folder.read_config().search.storage)

    @property
    def study(self) -> "optuna.Study":
        """The Optuna study."""
        return self.ledger.study

    @property
    def records(self) -> tuple[TrialRecord, ...]:
        """All trials with their curves."""
        return self.ledger.trials()


def open_confirmation(folder: RunFolder, objective: Objective, storage: str | None) -> OptunaLedger:
    """The ledger of a run's confirmation: a study of its own beside that of the trials."""
    return _ledger(folder, objective, storage, CONFIRMATION)


def open_ledger(folder: RunFolder, objective: Objective, storage: str | None) -> OptunaLedger:
    """The ledger of a run: study.db in its folder, or the study of its name in another Optuna storage.

    Raises:
        RunError: the run begins, and the storage has a study of that name already; or the run goes on, and what it has
            tried is gone.
    """
    if folder.exists and storage is None and not folder.database.is_file():
        raise RunError(
            f"{folder.database}: is missing, and with it all that was tried; put it back, or start anew under another "
            "--name"
        )
    ledger = _ledger(folder, objective, storage)
    if folder.best_recipe.is_file() and not ledger.trials():
        with ledger:
            raise RunError(
                f"{folder.place}: has a result, but study {ledger.study.study_name!r} at {shown_url(ledger.url)} has "
                "no trials; a run with a search.storage keeps the name it began with: rename its folder back, or start "
                "anew under another --name"
            )
    if not folder.exists and (trials := len(ledger.trials())):
        with ledger:
            raise RunError(
                f"search.storage: {shown_url(ledger.url)} has a study {folder.name!r} of another run, with "
                f"{trials} trial{'s' * (trials != 1)}; choose another --name, or go on with that run by autoft resume"
            )
    return ledger


def _ledger(folder: RunFolder, objective: Objective, storage: str | None, ending: str = "") -> OptunaLedger:
    if storage is not None:
        return OptunaLedger(storage, folder.name + ending, objective)
    return OptunaLedger(sqlite_url(folder.database.resolve()), folder.study + ending, objective)
